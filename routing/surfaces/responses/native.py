"""Between the hub and a provider of the dialect itself: what was written goes out as it is, with
the earlier turns in it, and what comes back gets the hub's ids.

The ids are what a client refers by later (`previous_response_id`, `item_reference`, GET and
DELETE), whichever provider answers then. All else is left as the provider wrote it.
"""

from __future__ import annotations

from typing import Any

from routing.adapters.base import NativeCall
from routing.adapters.jsonio import dict_of, dicts_in, text_of
from routing.adapters.openai_responses.adapter import DIALECT
from routing.surfaces.responses.carried import MARK
from routing.surfaces.responses.ids import renamed_item_id, response_of_item
from routing.surfaces.responses.store import Item, is_reference

_OURS = frozenset({"provider", "models", "previous_response_id", "store"})
# Items that a provider takes without an id; others are known by theirs, whoever gave it.
_NAMELESS = frozenset(
    {
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
    }
)
REFERRING = ("id", "approval_request_id")  # fields of an item that hold the id of one


def native_call(body: dict[str, Any], items: list[Item]) -> NativeCall:
    """`items` is all that the model is to see, the turns before this request's own included.

    The provider is asked to keep nothing unless the client says in so many words that it may: what
    the hub keeps it keeps sealed, can delete, and can take to another provider, and a copy at one
    provider would outlive all of that. Thoughts come sealed instead, for the next turn.
    """
    sent = {name: value for name, value in body.items() if name not in _OURS}
    sent["store"] = body.get("store") is True
    written = sent.pop("input", None)
    if isinstance(written, str) and not body.get("previous_response_id"):
        sent["input"] = written
    elif turns := _turns(written, items):
        sent["input"] = turns
    return NativeCall(DIALECT, sent, returns_thoughts=body.get("store") is not False)


def _turns(written: Any, items: list[Item]) -> list[Item]:
    """A provider knows neither our ids nor what we kept: the turns themselves are sent."""
    if isinstance(written, list):
        earlier = len(items) - len(written)
        own = [items[earlier + i] if is_reference(w) else w for i, w in enumerate(written)]
        items = [*items[:earlier], *own]
    found = [_without_our_marks(item) for item in items]
    return [item for item in found if item]


def _without_our_marks(item: Item) -> Item | None:
    """None for thoughts that only other dialects can read again."""
    kind = item.get("type", "message")
    if kind == "reasoning":
        sealed = text_of(item.get("encrypted_content"))
        if not sealed or sealed.startswith(MARK):
            return None
    if kind not in _NAMELESS or not response_of_item(text_of(item.get("id"))):
        return item
    return {name: value for name, value in item.items() if name != "id"}


class Renaming:
    """The ids of one answer: a provider's item by its place, and ours for it."""

    def __init__(self, response_id: str) -> None:
        self.response_id = response_id
        self.known: dict[str, str] = {}

    def item(self, item: Item, index: int) -> Item:
        """With our ids; `index` is its place in the output."""
        given = text_of(item.get("id"))
        if given and given not in self.known:
            kind = text_of(item.get("type"))
            self.known[given] = renamed_item_id(given, kind, self.response_id, index)
        named = {n: self.known[item[n]] for n in REFERRING if text_of(item.get(n)) in self.known}
        return {**item, **named}

    def response(self, response: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
        """`base` has what only the hub knows: the id, what came before, and whether it keeps it."""
        output = [self.item(item, i) for i, item in enumerate(dicts_in(response.get("output")))]
        ours = {name: base[name] for name in ("id", "previous_response_id", "store")}
        return {**dict_of(response), **ours, "output": output}
