"""Mistral's way: files as OpenAI's, and a job that reads some of them for one model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlencode

from typing_extensions import override

from routing.adapters.jsonio import dict_of, dicts_in, dumps, text_of
from routing.batches.providers.openai_way import answer_of
from routing.batches.providers.paper import Answer
from routing.batches.providers.ways import LOOK_BACK, Entry, Job, Lost, Status, Way, form, whole
from routing.batches.providers.wire import Wire

JOBS = "/batch/jobs"
ENDED = frozenset({"SUCCESS", "FAILED", "TIMEOUT_EXCEEDED", "CANCELLED"})
WITHIN_HOURS = 24


class MistralWay(Way):
    kinds = frozenset({"chat", "embedding"})
    separator = b"\n"

    @override
    def line(self, entry: Entry) -> bytes:
        return b'{"custom_id":%b,"body":%b}' % (dumps(entry.custom_id), entry.body)

    @override
    async def submit(self, wire: Wire, job: Job) -> str:
        content_type, body = form({"purpose": "batch"}, f"{job.tag}.jsonl", job.lines)
        uploaded = await wire.send("POST", f"{wire.base}/files", [content_type], body)
        asked = {
            "input_files": [text_of(uploaded.document.get("id"))],
            "endpoint": f"/v1{job.path}",
            "model": job.model,
            "metadata": {"panelboard": job.tag},
            "timeout_hours": WITHIN_HOURS,
        }
        return text_of((await wire.post(JOBS, asked)).get("id"))

    @override
    async def find(self, wire: Wire, lost: Lost) -> str:
        since = (lost.since - LOOK_BACK).isoformat()
        listed = await wire.get(f"{JOBS}?{urlencode({'page_size': 100, 'created_after': since})}")
        for job in dicts_in(listed.get("data")):
            if dict_of(job.get("metadata")).get("panelboard") == lost.tag:
                return text_of(job.get("id"))
        return ""

    @override
    async def status(self, wire: Wire, native_id: str) -> Status:
        job = await wire.get(f"{JOBS}/{native_id}")
        state = text_of(job.get("status"))
        files = (text_of(job.get(name)) for name in ("output_file", "error_file"))
        results = tuple(f"/files/{file}/content" for file in files if file)
        return Status(
            native_id,
            has_ended=state in ENDED,
            problem=_problem(job) if state == "FAILED" and not results else "",
            completed=whole(job.get("succeeded_requests")),
            failed=whole(job.get("failed_requests")),
            results=results,
        )

    @override
    async def answers(self, wire: Wire, status: Status) -> AsyncGenerator[Answer, None]:
        for path in status.results:
            async for line in wire.lines(wire.base + path):
                yield answer_of(line)

    @override
    async def cancel(self, wire: Wire, native_id: str) -> None:
        await wire.post(f"{JOBS}/{native_id}/cancel", {})


def _problem(job: dict[str, Any]) -> str:
    errors = dicts_in(job.get("errors"))
    return "; ".join(text_of(error.get("message")) for error in errors[:3]) or "FAILED"
