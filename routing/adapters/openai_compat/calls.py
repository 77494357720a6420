"""Fragments of tool calls in a stream, put in the order that clients need.

Clients join fragments by `index` and concatenate every field. Hosts leave the index out, use one
twice, count in floats, give no id, or repeat id and name with every fragment.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routing.adapters.chunks import stable_call_id
from routing.adapters.jsonio import dict_of, dicts_in, text_of

MAX_INDEX = 10_000


class _OpenCall(msgspec.Struct):
    index: int
    id: str
    name: str


class CallBook:
    """The tool calls seen so far, by choice."""

    __slots__ = ("_by_id", "_by_index", "_last")

    def __init__(self) -> None:
        self._by_index: dict[tuple[int, int], _OpenCall] = {}
        self._by_id: dict[tuple[int, str], _OpenCall] = {}
        self._last: dict[int, int] = {}  # choice -> the highest index

    def has_any(self, choice: int) -> bool:
        return choice in self._last

    def knows(self, choice: int, index: int) -> bool:
        return (choice, index) in self._by_index

    def mend(self, delta: dict[str, Any], choice: int, answer_id: Any) -> bool:
        """Puts the delta's tool calls in order, in place; True if anything changed."""
        changed = False
        for call in dicts_in(delta.get("tool_calls")):
            changed = self._mend_one(call, choice, answer_id) or changed
        return changed

    def _mend_one(self, call: dict[str, Any], choice: int, answer_id: Any) -> bool:
        before = (type(call.get("index")), dict(call), dict(dict_of(call.get("function"))))
        known = self._find(call, choice)
        if known is None:
            self._open(call, choice, answer_id)
        else:
            _continue(call, known)
        return before != (int, call, dict_of(call.get("function")))

    def _find(self, call: dict[str, Any], choice: int) -> _OpenCall | None:
        """The call that this fragment continues: the one of its id, else of its place.

        A new id with a name is a new call, even at an index in use; without a name it is one of
        those hosts that make up an id for every fragment.
        """
        id, name = text_of(call.get("id")), text_of(dict_of(call.get("function")).get("name"))
        if id and (choice, id) in self._by_id:
            return self._by_id[choice, id]
        if id and name:
            return None
        index = _index_in(call)
        if index is None and not name:
            index = self._last.get(choice)
        return None if index is None else self._by_index.get((choice, index))

    def _open(self, call: dict[str, Any], choice: int, answer_id: Any) -> None:
        last = self._last.get(choice, -1)
        index = _index_in(call)
        if index is None or (choice, index) in self._by_index:
            index = last + 1
        call["index"] = index
        call["id"] = text_of(call.get("id")) or stable_call_id(answer_id, choice, index)
        call.setdefault("type", "function")
        opened = _OpenCall(index, call["id"], text_of(dict_of(call.get("function")).get("name")))
        self._by_index[choice, index] = self._by_id[choice, opened.id] = opened
        self._last[choice] = max(last, index)


def _continue(call: dict[str, Any], known: _OpenCall) -> None:
    """A repeated id or name must not go out again; a name may also come in pieces."""
    call["index"] = known.index
    call.pop("id", None)
    call.pop("type", None)
    function = dict_of(call.get("function"))
    name = text_of(function.get("name"))
    if name and name != known.name:
        known.name += name
    else:
        function.pop("name", None)


def _index_in(call: dict[str, Any]) -> int | None:
    index = call.get("index")
    if isinstance(index, int | float) and not isinstance(index, bool) and 0 <= index < MAX_INDEX:
        return int(index)
    return None
