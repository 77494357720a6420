"""What `/v1/responses/<id>` and its input items answer, from a response that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.adapters.jsonio import dumps, text_of
from routing.core.errors import HubError
from routing.surfaces.openai_envelope import refusal
from routing.surfaces.responses.store import Item, KeptResponse

DEFAULT_LIMIT, MOST_LIMIT = 20, 100


def response_body(kept: KeptResponse, query: Mapping[str, str]) -> bytes:
    """Raises HubError 400 for a replay of the events, which are not kept."""
    if query.get("stream", "").lower() in ("true", "1"):
        raise refusal(
            "stream",
            "The events of a response are not kept: read it without 'stream'",
            "unsupported_parameter",
        )
    return dumps(kept.response)


def deleted_body(response_id: str) -> bytes:
    return dumps({"id": response_id, "object": "response", "deleted": True})


def input_items_body(kept: KeptResponse, query: Mapping[str, str]) -> bytes:
    """One page; the newest item first unless `order` says otherwise. Raises HubError 400."""
    items = list(kept.input) if _order(query) == "asc" else kept.input[::-1]
    items = _after(items, query.get("after", ""))
    limit = _limit(query.get("limit", ""))
    page = items[:limit]
    return dumps(
        {
            "object": "list",
            "data": page,
            "first_id": _id_of(page[0]) if page else "",
            "last_id": _id_of(page[-1]) if page else "",
            "has_more": len(items) > limit,
        }
    )


def cannot_cancel() -> HubError:
    return refusal(
        "response_id",
        "Only background responses can be cancelled, and this hub answers while you wait: close "
        "the connection instead",
        "unsupported_operation",
    )


def _order(query: Mapping[str, str]) -> str:
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise refusal("order", "'order' must be asc or desc")
    return order


def _after(items: list[Item], item_id: str) -> list[Item]:
    if not item_id:
        return items
    for place, item in enumerate(items):
        if _id_of(item) == item_id:
            return items[place + 1 :]
    raise refusal("after", f"'after' names {item_id[:80]!r}, which is no item of this response")


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not text.isdecimal() or len(text) > 3 or not 1 <= int(text) <= MOST_LIMIT:
        raise refusal("limit", f"'limit' must be between 1 and {MOST_LIMIT}")
    return int(text)


def _id_of(item: dict[str, Any]) -> str:
    return text_of(item.get("id"))
