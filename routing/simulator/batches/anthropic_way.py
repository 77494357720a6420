"""Anthropic's way: one request with all the requests."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import msgspec

from routing.simulator.asks import wants
from routing.simulator.batches.book import Batch, Line
from routing.simulator.batches.visit import Table, Visit, batches_table, begin, iso
from routing.simulator.session import ENCODER

_STATES = {"validating": "in_progress", "in_progress": "in_progress", "cancelling": "canceling"}


def _create_anthropic(visit: Visit) -> dict[str, Any]:
    wants(visit.request.has_header(b"anthropic-version"), "anthropic-version: header is required")
    asked = msgspec.json.decode(visit.request.body, type=dict[str, Any])
    lines = [Line(str(one["custom_id"]), dict(one["params"])) for one in asked["requests"]]
    wants(lines, "requests: List should have at least 1 item")
    wants(
        all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", line.custom_id) for line in lines),
        "requests: custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
    )
    return _anthropic(visit, begin(visit, f"msgbatch_{uuid4().hex[:24]}", lines, {}))


def _anthropic(visit: Visit, batch: Batch) -> dict[str, Any]:
    succeeded, errored = batch.count(good=True), batch.count(good=False)
    left = len(batch.lines) - succeeded - errored
    ended = batch.has_ended
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": _STATES.get(batch.state(visit.now), "ended"),
        "request_counts": {
            "processing": 0 if ended else left,
            "succeeded": succeeded,
            "errored": errored,
            "canceled": left if ended and batch.end != "expired" else 0,
            "expired": left if ended and batch.end == "expired" else 0,
        },
        "created_at": iso(batch.created_at),
        "expires_at": iso(batch.created_at + 86_400),
        "ended_at": iso(visit.now) if ended else None,
        "cancel_initiated_at": iso(visit.now) if batch.cancelled else None,
        "archived_at": None,
        "results_url": f"{visit.provider.traits.chat_path}/batches/{batch.id}/results"
        if ended
        else None,
    }


def _results(visit: Visit) -> bytes:
    batch = visit.batch()
    wants(batch.has_ended, "The batch has not ended yet", status=404)
    return b"".join(
        ENCODER.encode({"custom_id": line.custom_id, "result": _result(batch, line)}) + b"\n"
        for line in reversed(batch.lines)
    )


def _result(batch: Batch, line: Line) -> dict[str, Any]:
    if line.status is None:
        return {"type": "expired" if batch.end == "expired" else "canceled"}
    if line.status == 200:
        return {"type": "succeeded", "message": msgspec.Raw(line.answer)}
    return {"type": "errored", "error": msgspec.Raw(line.answer)}


def _list_anthropic(visit: Visit) -> dict[str, Any]:
    return {"data": [_anthropic(visit, one) for one in visit.all_batches()], "has_more": False}


BATCHES: Table = {
    **batches_table(_create_anthropic, _list_anthropic, _anthropic),
    ("GET", True, "results"): _results,
}
