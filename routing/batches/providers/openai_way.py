"""OpenAI's way, which Groq and Nebius follow: a file of requests, and a batch that reads it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

from typing_extensions import override

from routing.adapters.jsonio import dict_of, dicts_in, dumps, text_of
from routing.batches.providers.paper import Answer
from routing.batches.providers.ways import (
    LOOK_BACK,
    MOST_PAGES,
    Entry,
    Job,
    Lost,
    Status,
    Way,
    form,
    whole,
)
from routing.batches.providers.wire import Wire

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


class OpenAIWay(Way):
    kinds = frozenset({"chat", "embedding"})
    separator = b"\n"

    @override
    def line(self, entry: Entry) -> bytes:
        head = dumps(
            {"custom_id": entry.custom_id, "method": "POST", "url": _url(entry.path), "body": 0}
        )
        return head[:-2] + entry.body + b"}"

    @override
    async def submit(self, wire: Wire, job: Job) -> str:
        content_type, body = form({"purpose": "batch"}, f"{job.tag}.jsonl", job.lines)
        uploaded = await wire.send("POST", f"{wire.base}/files", [content_type], body)
        asked = {
            "input_file_id": text_of(uploaded.document.get("id")),
            "endpoint": _url(job.path),
            "completion_window": "24h",
            "metadata": {"panelboard": job.tag},
        }
        return text_of((await wire.post("/batches", asked)).get("id"))

    @override
    async def find(self, wire: Wire, lost: Lost) -> str:
        path = "/batches?limit=100"
        for _ in range(MOST_PAGES):
            listed = await wire.get(path)
            found = dicts_in(listed.get("data"))
            for batch in found:
                if dict_of(batch.get("metadata")).get("panelboard") == lost.tag:
                    return text_of(batch.get("id"))
            earliest = (lost.since - LOOK_BACK).timestamp()
            is_past = bool(found) and 0 < whole(found[-1].get("created_at")) < earliest
            if listed.get("has_more") is not True or not found or is_past:
                return ""
            path = f"/batches?limit=100&after={quote(text_of(found[-1].get('id')), safe='')}"
        return ""

    @override
    async def status(self, wire: Wire, native_id: str) -> Status:
        batch = await wire.get(f"/batches/{native_id}")
        state, counts = text_of(batch.get("status")), dict_of(batch.get("request_counts"))
        files = (text_of(batch.get(name)) for name in ("output_file_id", "error_file_id"))
        results = tuple(f"/files/{file}/content" for file in files if file)
        problem = ""
        if state == "failed" and not results:
            errors = dicts_in(dict_of(batch.get("errors")).get("data"))
            problem = "; ".join(text_of(error.get("message")) for error in errors[:3]) or state
        return Status(
            native_id,
            has_ended=state in ENDED,
            problem=problem,
            completed=whole(counts.get("completed")),
            failed=whole(counts.get("failed")),
            results=results,
        )

    @override
    async def answers(self, wire: Wire, status: Status) -> AsyncGenerator[Answer, None]:
        for path in status.results:
            async for line in wire.lines(wire.base + path):
                yield answer_of(line)

    @override
    async def cancel(self, wire: Wire, native_id: str) -> None:
        await wire.post(f"/batches/{native_id}/cancel", {})


def _url(path: str) -> str:
    """Lines name the address without what comes before the version."""
    return f"/v1{path}"


def answer_of(line: dict[str, Any]) -> Answer:
    custom_id, response = text_of(line.get("custom_id")), line.get("response")
    status = whole(response.get("status_code")) if isinstance(response, dict) else 0
    if not isinstance(response, dict) or not status:
        return Answer(custom_id, None)
    return Answer(custom_id, status, dumps(response.get("body")))
