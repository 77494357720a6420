"""Mistral's way: files as OpenAI's, and jobs that read some of them for one model."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID, uuid4, uuid5

import msgspec

from routing.simulator.asks import text_of, wants
from routing.simulator.batches.book import Batch, Line
from routing.simulator.batches.openai_way import files_table, keep_upload, result_lines
from routing.simulator.batches.visit import Visit, batches_table, begin

_STATES = {
    "validating": "QUEUED",
    "in_progress": "RUNNING",
    "completed": "SUCCESS",
    "failed": "FAILED",
    "expired": "TIMEOUT_EXCEEDED",
    "cancelling": "CANCELLATION_REQUESTED",
    "cancelled": "CANCELLED",
}
_FIELDS = frozenset(
    {"input_files", "requests", "endpoint", "model", "agent_id", "metadata", "timeout_hours"}
)


def _upload(visit: Visit) -> dict[str, Any]:
    file = keep_upload(visit, str(uuid4()))
    return {**file, "sample_type": "batch_request", "source": "upload", "num_lines": None}


def _create(visit: Visit) -> dict[str, Any]:
    asked = msgspec.json.decode(visit.request.body, type=dict[str, Any])
    wants(asked.keys() <= _FIELDS, "Extra inputs are not permitted", status=422)
    wants(asked.get("input_files"), "input_files: at least one file", status=422)
    model, url = text_of(asked.get("model")), text_of(asked.get("endpoint"))
    wants(model, "model is required", status=422)
    lines: list[Line] = []
    for file_id in asked["input_files"]:
        found = visit.book.files.get(text_of(file_id))
        wants(found is not None, f"File {file_id} was not found", status=404)
        lines += [_line(text, url, model) for text in (found or b"").splitlines() if text.strip()]
    return _job(visit, begin(visit, str(uuid4()), lines, asked))


def _line(text: bytes, url: str, model: str) -> Line:
    line = msgspec.json.decode(text, type=dict[str, Any])
    wants("url" not in line and "method" not in line, "a line has custom_id and body", status=422)
    return Line(str(line["custom_id"]), {**line["body"], "model": model}, url, model)


def _job(visit: Visit, batch: Batch) -> dict[str, Any]:
    succeeded, failed = batch.count(good=True), batch.count(good=False)
    output = _file(visit, batch, "output", good=True)
    error = _file(visit, batch, "error", good=False)
    problems = [{"message": batch.problem, "count": 1}] if batch.problem else []
    return {
        "id": batch.id,
        "object": "batch",
        "input_files": batch.asked["input_files"],
        "endpoint": batch.asked.get("endpoint"),
        "model": batch.asked.get("model"),
        "metadata": batch.asked.get("metadata"),
        "output_file": output,
        "error_file": error,
        "errors": problems,
        "status": _STATES[batch.state(visit.now)],
        "created_at": int(batch.created_at),
        "total_requests": len(batch.lines),
        "completed_requests": succeeded + failed,
        "succeeded_requests": succeeded,
        "failed_requests": failed,
    }


def _file(visit: Visit, batch: Batch, name: str, *, good: bool) -> str | None:
    found = b"".join(result_lines(batch, good)) if batch.has_ended else b""
    file_id = str(uuid5(UUID(batch.id), name))
    return visit.book.keep_file(found, file_id) if found else None


def _list(visit: Visit) -> dict[str, Any]:
    query = parse_qs(visit.request.query)
    since = dt.datetime.fromisoformat(query.get("created_after", ["1970-01-01T00:00:00Z"])[0])
    found = [one for one in visit.all_batches() if one.created_at >= since.timestamp()]
    page = found[: int(query.get("page_size", ["100"])[0])]
    return {"object": "list", "total": len(found), "data": [_job(visit, one) for one in page]}


FILES = files_table(_upload)
JOBS = batches_table(_create, _list, _job)
