"""The request for providers of the dialect itself: as it was written, with the earlier turns in it."""

from __future__ import annotations

from typing import Any

from routing.adapters.jsonio import text_of
from routing.surfaces.responses.carried import MARK
from routing.surfaces.responses.ids import response_of_item
from routing.surfaces.responses.store import Item, is_reference

_OURS = frozenset({"provider", "models", "previous_response_id", "store"})


def native_body(body: dict[str, Any], items: list[Item]) -> dict[str, Any]:
    """A provider knows neither our ids nor what we kept: the turns themselves are sent."""
    sent = {name: value for name, value in body.items() if name not in _OURS}
    written = body.get("input")
    if isinstance(written, list):
        earlier = len(items) - len(written)
        own = [items[earlier + i] if is_reference(w) else w for i, w in enumerate(written)]
        items = [*items[:earlier], *own]
    found = [_without_our_marks(item) for item in items]
    return {**sent, "input": [item for item in found if item], "store": False}


def _without_our_marks(item: Item) -> Item | None:
    """None for thoughts that only other dialects can read again."""
    if item.get("type") == "reasoning":
        sealed = text_of(item.get("encrypted_content"))
        if not sealed or sealed.startswith(MARK):
            return None
    if not response_of_item(text_of(item.get("id"))):
        return item
    return {name: value for name, value in item.items() if name != "id"}
