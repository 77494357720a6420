"""Batches at providers, in the two ways they are offered: OpenAI's and Anthropic's.

`Send` makes one request at the provider, with its credential, and gives the body of the answer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec
from typing_extensions import override

from routing.adapters.base import Upload
from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dumps, loads, text_of
from routing.adapters.kinds.multipart import write_form

JSON = b"application/json"
LOOK_BACK_S = 60.0  # the provider's clock may be behind ours

Send = Callable[[str, str, bytes, bytes], Awaitable[bytes]]
"""(method, path, content type, body) -> body. Raises UpstreamError."""


class Entry(msgspec.Struct, frozen=True):
    custom_id: str
    path: str  # as the adapter gave it, below the provider's base URL
    body: bytes


class Status(msgspec.Struct, frozen=True):
    native_id: str
    has_ended: bool = False
    problem: str = ""  # why the provider refused the whole batch
    completed: int = 0
    failed: int = 0
    results: tuple[str, ...] = ()  # where the answers are


class Answer(msgspec.Struct, frozen=True):
    """`status` is None where the provider never came to the request."""

    custom_id: str
    status: int | None
    body: bytes = b""


class Format(Protocol):
    async def submit(self, send: Send, tag: str, entries: Sequence[Entry]) -> str:
        """The provider's id of the new batch. `tag` is ours, for `find`."""
        ...

    async def find(self, send: Send, tag: str, since: dt.datetime, count: int) -> str:
        """The id of a batch that was made while nobody lived to write it down; "" if none was."""
        ...

    async def status(self, send: Send, native_id: str) -> Status: ...

    async def answers(self, send: Send, status: Status) -> list[Answer]:
        """In any order."""
        ...

    async def cancel(self, send: Send, native_id: str) -> None: ...


class OpenAIBatches(Format):
    """A file of requests, and a batch that reads it."""

    @override
    async def submit(self, send: Send, tag: str, entries: Sequence[Entry]) -> str:
        content = b"".join(_openai_line(entry) for entry in entries)
        upload = Upload(f"{tag}.jsonl", "application/jsonl", content)
        content_type, form = write_form([("purpose", "batch")], "file", upload)
        file = _document(await send("POST", "/files", content_type, form))
        asked = {
            "input_file_id": text_of(file.get("id")),
            "endpoint": _openai_url(entries[0].path),
            "completion_window": "24h",
            "metadata": {"panelboard": tag},
        }
        made = _document(await send("POST", "/batches", JSON, dumps(asked)))
        return text_of(made.get("id"))

    @override
    async def find(self, send: Send, tag: str, since: dt.datetime, count: int) -> str:
        listed = _document(await send("GET", "/batches?limit=100", JSON, b""))
        for batch in dicts_in(listed.get("data")):
            if dict_of(batch.get("metadata")).get("panelboard") == tag:
                return text_of(batch.get("id"))
        return ""

    @override
    async def status(self, send: Send, native_id: str) -> Status:
        batch = _document(await send("GET", f"/batches/{native_id}", JSON, b""))
        state, counts = text_of(batch.get("status")), dict_of(batch.get("request_counts"))
        problem = ""
        if state == "failed":
            errors = dicts_in(dict_of(batch.get("errors")).get("data"))
            problem = "; ".join(text_of(error.get("message")) for error in errors[:3]) or state
        files = (text_of(batch.get(name)) for name in ("output_file_id", "error_file_id"))
        return Status(
            native_id,
            has_ended=state in ("completed", "expired", "cancelled"),
            problem=problem,
            completed=_whole(counts.get("completed")),
            failed=_whole(counts.get("failed")),
            results=tuple(f"/files/{file}/content" for file in files if file),
        )

    @override
    async def answers(self, send: Send, status: Status) -> list[Answer]:
        found: list[Answer] = []
        for path in status.results:
            found += map(_openai_answer, _lines(await send("GET", path, JSON, b"")))
        return found

    @override
    async def cancel(self, send: Send, native_id: str) -> None:
        await send("POST", f"/batches/{native_id}/cancel", JSON, b"{}")


class AnthropicBatches(Format):
    """One request with all the requests. It carries no mark of ours, but each request's id does."""

    @override
    async def submit(self, send: Send, tag: str, entries: Sequence[Entry]) -> str:
        requests = b",".join(
            b'{"custom_id":%b,"params":%b}' % (dumps(entry.custom_id), entry.body)
            for entry in entries
        )
        body = b'{"requests":[%b]}' % requests
        made = _document(await send("POST", "/v1/messages/batches", JSON, body))
        return text_of(made.get("id"))

    @override
    async def find(self, send: Send, tag: str, since: dt.datetime, count: int) -> str:
        """By size and time; whether it is ours shows in the ids of its answers."""
        listed = _document(await send("GET", "/v1/messages/batches?limit=100", JSON, b""))
        for batch in dicts_in(listed.get("data")):
            counts = dict_of(batch.get("request_counts")).values()
            if sum(map(_whole, counts)) == count and _is_since(batch.get("created_at"), since):
                return text_of(batch.get("id"))
        return ""

    @override
    async def status(self, send: Send, native_id: str) -> Status:
        batch = _document(await send("GET", f"/v1/messages/batches/{native_id}", JSON, b""))
        counts = dict_of(batch.get("request_counts"))
        has_ended = batch.get("processing_status") == "ended"
        return Status(
            native_id,
            has_ended=has_ended,
            completed=_whole(counts.get("succeeded")),
            failed=_whole(counts.get("errored")),
            results=(f"/v1/messages/batches/{native_id}/results",) if has_ended else (),
        )

    @override
    async def answers(self, send: Send, status: Status) -> list[Answer]:
        found: list[Answer] = []
        for path in status.results:
            found += map(_anthropic_answer, _lines(await send("GET", path, JSON, b"")))
        return found

    @override
    async def cancel(self, send: Send, native_id: str) -> None:
        await send("POST", f"/v1/messages/batches/{native_id}/cancel", JSON, b"{}")


FORMATS: dict[str, Format] = {"openai": OpenAIBatches(), "anthropic": AnthropicBatches()}

_ANTHROPIC_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}


def _openai_url(path: str) -> str:
    """Lines name the address without what comes before the version."""
    return f"/v1{path}"


def _openai_line(entry: Entry) -> bytes:
    head = dumps(
        {"custom_id": entry.custom_id, "method": "POST", "url": _openai_url(entry.path), "body": 0}
    )
    return head[:-2] + entry.body + b"}\n"


def _openai_answer(line: dict[str, Any]) -> Answer:
    custom_id, response = text_of(line.get("custom_id")), line.get("response")
    if not isinstance(response, dict):
        return Answer(custom_id, None)
    return Answer(custom_id, _whole(response.get("status_code")), dumps(response.get("body")))


def _anthropic_answer(line: dict[str, Any]) -> Answer:
    custom_id, result = text_of(line.get("custom_id")), dict_of(line.get("result"))
    kind = result.get("type")
    if kind == "succeeded":
        return Answer(custom_id, 200, dumps(result.get("message")))
    if kind != "errored":  # canceled or expired
        return Answer(custom_id, None)
    error = dict_of(result.get("error"))
    name = text_of(dict_of(error.get("error", error)).get("type"))
    return Answer(custom_id, _ANTHROPIC_STATUS.get(name, 500), dumps(error))


def _document(body: bytes) -> dict[str, Any]:
    """Raises BadJson."""
    found = loads(body)
    if not isinstance(found, dict):
        raise BadJson("the answer is no JSON object")
    return found


def _lines(body: bytes) -> Iterator[dict[str, Any]]:
    for line in body.split(b"\n"):
        if line.strip():
            yield _document(line)


def _whole(value: Any) -> int:
    return value if type(value) is int else 0


def _is_since(value: Any, since: dt.datetime) -> bool:
    try:
        made_at = dt.datetime.fromisoformat(text_of(value))
    except ValueError:
        return False
    if made_at.tzinfo is None:
        return False
    return made_at >= since - dt.timedelta(seconds=LOOK_BACK_S)
