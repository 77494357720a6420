"""OpenAI's way: a file of requests, and a batch that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec

from routing.simulator.asks import Refusal, text_of, wants
from routing.simulator.batches.book import Batch, Line
from routing.simulator.batches.visit import Handler, Table, Visit, batches_table, begin
from routing.simulator.kinds.audio import read_form
from routing.simulator.session import ENCODER


def _upload(visit: Visit) -> dict[str, Any]:
    return {**keep_upload(visit), "status": "processed"}


def keep_upload(visit: Visit, file_id: str = "") -> dict[str, Any]:
    """What all that follow this way say of a file."""
    reading = read_form(visit.request)
    wants(reading.fields.get("purpose") == "batch", "'purpose' must be 'batch'", param="purpose")
    wants(reading.has_file, "'file' is missing", param="file")
    file_id = visit.book.keep_file(reading.file, file_id)
    return {
        "id": file_id,
        "object": "file",
        "bytes": len(reading.file),
        "created_at": int(visit.service.wall()),
        "filename": "batch.jsonl",
        "purpose": "batch",
    }


def files_table(upload: Handler) -> Table:
    return {("POST", False, ""): upload, ("GET", True, ""): _content}


def _content(visit: Visit) -> bytes:
    found = visit.book.files.get(visit.id)
    if found is None:
        raise Refusal(404, f"No such File object: {visit.id}", code="not_found")
    return found


def _create_openai(visit: Visit) -> dict[str, Any]:
    asked = msgspec.json.decode(visit.request.body, type=dict[str, Any])
    content = visit.book.files.get(text_of(asked.get("input_file_id")))
    wants(content is not None, "No such input file", param="input_file_id")
    wants(asked.get("completion_window") == "24h", "only 24h", param="completion_window")
    lines = [_openai_line(line) for line in (content or b"").splitlines() if line.strip()]
    batch = begin(visit, f"batch_{uuid4().hex[:24]}", lines, asked)
    if any(line.url != asked.get("endpoint") for line in lines):
        batch.problem = "The URL of a line does not match the batch's endpoint."
    elif len({line.custom_id for line in lines}) != len(lines):
        batch.problem = "A custom_id is used twice."
    return _openai(visit, batch)


def _openai_line(data: bytes) -> Line:
    line = msgspec.json.decode(data, type=dict[str, Any])
    wants(line.get("method") == "POST", "method must be POST")
    return Line(str(line["custom_id"]), dict(line["body"]), str(line["url"]))


def _openai(visit: Visit, batch: Batch) -> dict[str, Any]:
    files = _openai_files(visit, batch) if batch.has_ended else (None, None)
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.asked.get("endpoint"),
        "input_file_id": batch.asked.get("input_file_id"),
        "completion_window": "24h",
        "status": batch.state(visit.now),
        "output_file_id": files[0],
        "error_file_id": files[1],
        "errors": {"object": "list", "data": [{"code": "invalid", "message": batch.problem}]}
        if batch.problem
        else None,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.created_at) + 86_400,
        "request_counts": {
            "total": len(batch.lines),
            "completed": batch.count(good=True),
            "failed": batch.count(good=False),
        },
        "metadata": batch.asked.get("metadata"),
    }


def _openai_files(visit: Visit, batch: Batch) -> tuple[str | None, str | None]:
    """The files are made once, under names that follow from the batch's."""
    names: list[str | None] = []
    for name, good in (("output", True), ("error", False)):
        file_id = f"file-{name}-{batch.id}"
        # In no order of ours.
        content = b"".join(result_lines(batch, good))
        if content:
            visit.book.files[file_id] = content
        names.append(file_id if content else None)
    return names[0], names[1]


def result_lines(batch: Batch, good: bool) -> Iterator[bytes]:
    """Backwards: callers find theirs by its id alone."""
    for number, line in reversed(list(enumerate(batch.lines))):
        if line.status and (line.status == 200) is good:
            answer = {
                "status_code": line.status,
                "request_id": f"req_{number}",
                "body": msgspec.Raw(line.answer),
            }
            yield _result_line(number, line, answer, None)
        elif not line.status and not good and batch.end == "expired":
            yield _result_line(number, line, None, _EXPIRED)


_EXPIRED = {"code": "batch_expired", "message": "This request could not be executed in time."}


def _result_line(number: int, line: Line, response: Any, error: Any) -> bytes:
    found = {
        "id": f"batch_req_{number}",
        "custom_id": line.custom_id,
        "response": response,
        "error": error,
    }
    return ENCODER.encode(found) + b"\n"


def _list_openai(visit: Visit) -> dict[str, Any]:
    return {"object": "list", "data": [_openai(visit, one) for one in visit.all_batches()]}


FILES = files_table(_upload)
BATCHES = batches_table(_create_openai, _list_openai, _openai)
