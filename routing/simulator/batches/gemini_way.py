"""Gemini's way: files that are uploaded in two steps, and operations that read them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import msgspec

from routing.simulator.asks import Refusal, text_of, wants
from routing.simulator.batches.book import Batch, Line
from routing.simulator.batches.visit import Given, Table, Visit, begin, iso
from routing.simulator.http11 import Request
from routing.simulator.session import ENCODER

_STATES = {
    "validating": "PENDING",
    "in_progress": "RUNNING",
    "completed": "SUCCEEDED",
    "failed": "FAILED",
    "expired": "EXPIRED",
    "cancelling": "RUNNING",
    "cancelled": "CANCELLED",
}
_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main"


# --- files --------------------------------------------------------------------------------------------
def is_known_upload(request: Request) -> bool:
    """The address that the first step gave is all that the second one needs."""
    return "/upload/" in request.path and "upload_id=" in request.query


def _upload(visit: Visit) -> Any:
    request = visit.request
    command = request.header(b"x-goog-upload-command")
    upload_id = parse_qs(request.query).get("upload_id", [""])[0]
    if command == "start":
        wants(request.header(b"x-goog-upload-protocol") == "resumable", "unknown upload protocol")
        name = uuid4().hex[:12]
        host = request.header(b"host")
        address = f"http://{host}{request.path}?upload_id={name}&upload_protocol=resumable"
        size = request.header(b"x-goog-upload-header-content-length")
        visit.book.keep_file(size.encode(), f"upload-{name}")
        return Given({}, [(b"x-goog-upload-url", address.encode())])
    wants(command == "upload, finalize", "unknown upload command")
    wants(request.header(b"x-goog-upload-offset") == "0", "the offset is wrong")
    size_text = visit.book.files.pop(f"upload-{upload_id}", None)
    wants(size_text is not None, "unknown upload", status=404)
    wants(size_text == b"%d" % len(request.body), "the size is not what was announced")
    visit.book.keep_file(request.body, f"files/{upload_id}")
    file = {
        "name": f"files/{upload_id}",
        "mimeType": "application/jsonl",
        "sizeBytes": str(len(request.body)),
        "state": "ACTIVE",
    }
    return Given({"file": file}, [(b"x-goog-upload-status", b"final")])


def _download(visit: Visit) -> bytes:
    wants(visit.request.query == "alt=media", "only alt=media")
    found = visit.book.files.get(f"files/{visit.id}")
    if found is None:
        raise Refusal(404, f"File {visit.id} was not found")
    return found


# --- batches --------------------------------------------------------------------------------------------
def _create(visit: Visit) -> dict[str, Any]:
    asked = msgspec.json.decode(visit.request.body, type=dict[str, Any])["batch"]
    wants(text_of(asked.get("displayName")), "batch.displayName is required")
    name = text_of(asked["inputConfig"].get("fileName"))
    content = visit.book.files.get(name)
    wants(content is not None, f"File {name} was not found")
    lines = [_line(text, visit.id) for text in (content or b"").splitlines() if text.strip()]
    batch = begin(visit, uuid4().hex[:16], lines, {**asked, "model": f"models/{visit.id}"})
    return _operation(visit, batch)


def _line(text: bytes, model: str) -> Line:
    line = msgspec.json.decode(text, type=dict[str, Any])
    wants(line.keys() == {"key", "request"}, "a line has key and request")
    url = f"/models/{model}:generateContent"
    return Line(str(line["key"]), dict(line["request"]), url, model)


def _operation(visit: Visit, batch: Batch) -> dict[str, Any]:
    succeeded, failed = batch.count(good=True), batch.count(good=False)
    state = batch.state(visit.now)
    output = _output(visit, batch) if state == "completed" else None
    stats = {
        "requestCount": len(batch.lines),
        "successfulRequestCount": succeeded,
        "failedRequestCount": failed,
        "pendingRequestCount": len(batch.lines) - succeeded - failed,
    }
    metadata = {
        "@type": f"{_TYPE}.GenerateContentBatch",
        "name": f"batches/{batch.id}",
        "model": batch.asked["model"],
        "displayName": batch.asked["displayName"],
        "inputConfig": batch.asked["inputConfig"],
        "createTime": iso(batch.created_at),
        "updateTime": iso(visit.now),
        "batchStats": {key: str(count) for key, count in stats.items() if count},
        "state": f"BATCH_STATE_{_STATES[state]}",
    }
    found: dict[str, Any] = {"name": f"batches/{batch.id}", "metadata": metadata}
    if batch.has_ended:
        found["done"] = True
    if output is not None:
        metadata["output"] = output
        found["response"] = {"@type": f"{_TYPE}.GenerateContentBatchOutput", **output}
    if batch.problem and batch.has_ended:
        found["error"] = {"code": 13, "message": batch.problem}
    return found


def _output(visit: Visit, batch: Batch) -> dict[str, str]:
    name = f"files/batch-{batch.id}"
    content = b"".join(ENCODER.encode(_result(line)) + b"\n" for line in reversed(batch.lines))
    visit.book.keep_file(content, name)
    return {"responsesFile": name}


def _result(line: Line) -> dict[str, Any]:
    if line.status == 200:
        return {"key": line.custom_id, "response": msgspec.Raw(line.answer)}
    if line.status is None:
        return {
            "key": line.custom_id,
            "error": {"code": 1, "message": "The request was cancelled."},
        }
    error = msgspec.json.decode(line.answer, type=dict[str, Any]).get("error", {})
    return {
        "key": line.custom_id,
        "error": {
            "code": 3 if line.status == 400 else 13,
            "message": text_of(error.get("message")),
        },
    }


def _show(visit: Visit) -> dict[str, Any]:
    return _operation(visit, visit.batch())


def _list(visit: Visit) -> dict[str, Any]:
    size = int(parse_qs(visit.request.query).get("pageSize", ["50"])[0])
    return {"operations": [_operation(visit, one) for one in visit.all_batches()[:size]]}


def _cancel(visit: Visit) -> dict[str, Any]:
    visit.cancelled()
    return {}


UPLOADS: Table = {("POST", False, ""): _upload}
DOWNLOADS: Table = {("GET", True, "download"): _download}
MODELS: Table = {("POST", True, "batchGenerateContent"): _create}
BATCHES: Table = {
    ("GET", False, ""): _list,
    ("GET", True, ""): _show,
    ("POST", True, "cancel"): _cancel,
}
