"""Anthropic's way: one request with all the requests. It carries no mark of ours, but the ids of its
requests do."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from typing_extensions import override

from routing.adapters.jsonio import dict_of, dumps, text_of
from routing.batches.providers.paper import Answer, Body
from routing.batches.providers.ways import (
    Entry,
    Job,
    Lost,
    Page,
    Status,
    Way,
    is_since,
    search,
    whole,
)
from routing.batches.providers.wire import JSON, Wire

BATCHES = "/v1/messages/batches"
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}


class AnthropicWay(Way):
    separator = b","

    @override
    def line(self, entry: Entry) -> bytes:
        return b'{"custom_id":%b,"params":%b}' % (dumps(entry.custom_id), entry.body)

    @override
    async def submit(self, wire: Wire, job: Job) -> str:
        body: Body = [b'{"requests":[', job.lines, b"]}"]
        made = await wire.send("POST", wire.base + _at(wire), [JSON], body)
        return text_of(made.document.get("id"))

    @override
    async def find(self, wire: Wire, lost: Lost) -> str:
        """By size and time; whether it is ours shows in the ids of its answers."""
        first = f"{_at(wire)}?limit=100"

        def fits(batch: dict[str, Any]) -> bool:
            count = sum(map(whole, dict_of(batch.get("request_counts")).values()))
            is_new = is_since(batch.get("created_at"), lost.since)
            return is_new and count == lost.count and text_of(batch.get("id")) not in lost.known

        def next_path(page: Page) -> str:
            listed, found = page
            if listed.get("has_more") is not True or not is_since(
                found[-1].get("created_at"), lost.since
            ):
                return ""
            return f"{first}&after_id={quote(text_of(found[-1].get('id')), safe='')}"

        return text_of((await search(wire, first, "data", fits, next_path)).get("id"))

    @override
    async def status(self, wire: Wire, native_id: str) -> Status:
        batch = await wire.get(f"{_at(wire)}/{native_id}")
        counts = dict_of(batch.get("request_counts"))
        has_ended = batch.get("processing_status") == "ended"
        return Status(
            native_id,
            has_ended=has_ended,
            completed=whole(counts.get("succeeded")),
            failed=whole(counts.get("errored")),
            results=(f"{wire.base}{_at(wire)}/{native_id}/results",) if has_ended else (),
        )

    @override
    def answer_of(self, line: dict[str, Any]) -> Answer:
        custom_id, result = text_of(line.get("custom_id")), dict_of(line.get("result"))
        kind = result.get("type")
        if kind == "succeeded":
            return Answer(custom_id, 200, dumps(result.get("message")))
        if kind != "errored":  # canceled or expired
            return Answer(custom_id, None)
        error = dict_of(result.get("error"))
        name = text_of(dict_of(error.get("error", error)).get("type"))
        return Answer(custom_id, _STATUS.get(name, 500), dumps(error))

    @override
    async def cancel(self, wire: Wire, native_id: str) -> None:
        await wire.post(f"{_at(wire)}/{native_id}/cancel", {})


def _at(wire: Wire) -> str:
    return BATCHES.removeprefix("/v1") if wire.base.endswith("/v1") else BATCHES
