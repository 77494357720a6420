"""Plans of one question that differ in the order of attempts alone."""

from __future__ import annotations

import msgspec

from routing.core.catalog import Endpoint
from routing.core.decision import Decision, Plan
from routing.core.policies import PolicyDocument

_encode = msgspec.json.Encoder().encode
_ORDER = Decision.__struct_fields__.index("order")


class Splicer:
    """Plans that differ in nothing but the order: the rest is encoded once."""

    __slots__ = ("_after", "_before", "_max_attempts", "_shadow", "_special", "_undecided")

    def __init__(
        self,
        undecided: Decision,
        shadow: Endpoint | None = None,
        max_attempts: int = 1,
        special: PolicyDocument | None = None,
    ) -> None:
        self._undecided = undecided
        self._shadow = shadow
        self._special = special
        self._max_attempts = max_attempts
        fields = msgspec.structs.astuple(undecided)
        self._before = _encode(fields[:_ORDER])[:-1] + b","
        self._after = b"," + _encode(fields[_ORDER + 1 :])[1:]

    def plan(self, attempts: tuple[Endpoint, ...]) -> Plan:
        order = tuple([endpoint.id for endpoint in attempts])
        decision = msgspec.structs.replace(self._undecided, order=order)
        record = self._before + _encode(order) + self._after
        return Plan(attempts, decision, record, self._shadow, self._max_attempts, self._special)
