"""OpenAI's way, which Groq and Nebius follow: a file of requests, and a batch that reads it."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from typing_extensions import override

from routing.adapters.jsonio import dict_of, dumps, text_of
from routing.batches.providers.file_way import (
    MARK,
    FileWay,
    is_marked,
    problem_in,
    results_in,
    uploaded,
)
from routing.batches.providers.ways import (
    LOOK_BACK,
    Entry,
    Job,
    Lost,
    Page,
    Status,
    search,
    whole,
)
from routing.batches.providers.wire import Wire

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


class OpenAIWay(FileWay):
    batches = "/batches"

    @override
    def line(self, entry: Entry) -> bytes:
        head = dumps(
            {"custom_id": entry.custom_id, "method": "POST", "url": _url(entry.path), "body": 0}
        )
        return head[:-2] + entry.body + b"}"

    @override
    async def submit(self, wire: Wire, job: Job) -> str:
        asked = {
            "input_file_id": await uploaded(wire, job),
            "endpoint": _url(job.path),
            "completion_window": "24h",
            "metadata": {MARK: job.tag},
        }
        return text_of((await wire.post(self.batches, asked)).get("id"))

    @override
    async def find(self, wire: Wire, lost: Lost) -> str:
        first = f"{self.batches}?limit=100"
        earliest = (lost.since - LOOK_BACK).timestamp()

        def next_path(page: Page) -> str:
            listed, found = page
            is_past = 0 < whole(found[-1].get("created_at")) < earliest
            if listed.get("has_more") is not True or is_past:
                return ""
            return f"{first}&after={quote(text_of(found[-1].get('id')), safe='')}"

        fits = partial(is_marked, lost=lost)
        return text_of((await search(wire, first, "data", fits, next_path)).get("id"))

    @override
    async def status(self, wire: Wire, native_id: str) -> Status:
        batch = await wire.get(f"{self.batches}/{native_id}")
        state, counts = text_of(batch.get("status")), dict_of(batch.get("request_counts"))
        results = results_in(wire, batch.get("output_file_id"), batch.get("error_file_id"))
        has_failed = state == "failed" and not results
        return Status(
            native_id,
            has_ended=state in ENDED,
            problem=problem_in(dict_of(batch.get("errors")).get("data")) if has_failed else "",
            completed=whole(counts.get("completed")),
            failed=whole(counts.get("failed")),
            results=results,
        )


def _url(path: str) -> str:
    """Lines name the address without what comes before the version."""
    return f"/v1{path}"
