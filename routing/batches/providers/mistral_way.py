"""Mistral's way: files as OpenAI's, and a job that reads some of them for one model."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlencode

from typing_extensions import override

from routing.adapters.jsonio import dumps, text_of
from routing.batches.providers.file_way import (
    MARK,
    FileWay,
    is_marked,
    problem_in,
    results_in,
    uploaded,
)
from routing.batches.providers.ways import LOOK_BACK, Entry, Job, Lost, Status, search, whole
from routing.batches.providers.wire import Wire

ENDED = frozenset({"SUCCESS", "FAILED", "TIMEOUT_EXCEEDED", "CANCELLED"})
WITHIN_HOURS = 24


class MistralWay(FileWay):
    batches = "/batch/jobs"

    @override
    def line(self, entry: Entry) -> bytes:
        return b'{"custom_id":%b,"body":%b}' % (dumps(entry.custom_id), entry.body)

    @override
    async def submit(self, wire: Wire, job: Job) -> str:
        asked = {
            "input_files": [await uploaded(wire, job)],
            "endpoint": f"/v1{job.path}",
            "model": job.model,
            "metadata": {MARK: job.tag},
            "timeout_hours": WITHIN_HOURS,
        }
        return text_of((await wire.post(self.batches, asked)).get("id"))

    @override
    async def find(self, wire: Wire, lost: Lost) -> str:
        since = (lost.since - LOOK_BACK).isoformat()
        path = f"{self.batches}?{urlencode({'page_size': 100, 'created_after': since})}"
        return text_of((await search(wire, path, "data", partial(is_marked, lost=lost))).get("id"))

    @override
    async def status(self, wire: Wire, native_id: str) -> Status:
        job = await wire.get(f"{self.batches}/{native_id}")
        state = text_of(job.get("status"))
        results = results_in(wire, job.get("output_file"), job.get("error_file"))
        return Status(
            native_id,
            has_ended=state in ENDED,
            problem=problem_in(job.get("errors")) if state == "FAILED" and not results else "",
            completed=whole(job.get("succeeded_requests")),
            failed=whole(job.get("failed_requests")),
            results=results,
        )
