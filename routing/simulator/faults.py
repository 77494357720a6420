"""Faults on demand: what to break, where, how often."""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import msgspec

# fault -> the modes it makes sense in ("s" events, "w" whole answers, "b" bare bytes in pieces)
FAULTS = {
    # before any answer
    "status": "swb",
    "refuse": "swb",  # the connection is closed without a word
    "slow_headers": "swb",
    "html_200": "swb",
    "error_200": "swb",
    "empty_200": "swb",
    "wrong_length": "swb",
    # in the answer
    "slow_first_token": "swb",
    "error_first_frame": "s",
    "error_at": "s",
    "cut": "swb",
    "stall": "swb",
    "comments_only": "s",
    "malformed_frame": "sw",
    "no_usage": "sw",
    "usage_absurd": "sw",
    "broken_form": "sw",  # arguments of tools and JSON that nobody can use
    "no_done": "s",
    "double_done": "s",
    "pace": "sb",  # a fixed time between chunks, whatever the speed
    "byte_by_byte": "sb",
    # other ways to write the same stream, all allowed by the SSE standard
    "crlf": "s",
    "bare_cr": "s",
    "no_space": "s",
    "bom": "s",
}
NEEDS_SECONDS = frozenset({"slow_headers", "slow_first_token", "pace"})


class BadFault(ValueError):
    """The message says which field is wrong and what is possible."""


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """`provider` and `model` empty: any. `times` null: until cleared. `model` may be the
    provider's own id or the canonical name."""

    fault: str
    provider: str = ""
    model: str = ""
    status: int = 503
    code: str | None = None
    message: str = ""
    retry_after: str | int | float | None = None
    after_chunks: int = 0
    seconds: float | None = None
    times: int | None = None
    probability: float = 1.0
    # how `cut` ends: reset, EOF, EOF in the middle of a frame, or a proper end
    mode: Literal["rst", "close", "mid_frame", "clean"] = "rst"
    id: int = 0
    hits: int = 0


def parse_fault(data: Any) -> Fault:
    """Raises BadFault."""
    try:
        fault = msgspec.convert(data, Fault)
    except msgspec.ValidationError as exc:
        raise BadFault(f"fault: {exc}") from None
    if fault.fault not in FAULTS:
        raise BadFault(f"fault {fault.fault!r} is not known; use one of {', '.join(FAULTS)}")
    if fault.fault in NEEDS_SECONDS and not fault.seconds:
        raise BadFault(f"fault {fault.fault!r} needs `seconds`")
    if not 200 <= fault.status <= 599:
        raise BadFault(f"status {fault.status} is not an HTTP status")
    return fault


class FaultBook:
    def __init__(self, rng: Random) -> None:
        self.rules: list[Fault] = []
        self._rng = rng
        self._next_id = 1

    def add(self, fault: Fault) -> Fault:
        fault.id = self._next_id
        self._next_id += 1
        self.rules.append(fault)
        return fault

    def clear(self, fault_id: int | None = None) -> None:
        self.rules = [rule for rule in self.rules if fault_id is not None and rule.id != fault_id]

    def pick(
        self, provider: str, models: tuple[str, str], *, stream: bool = False, mode: str = ""
    ) -> Fault | None:
        """The first rule that matches, counted as used. `mode` as in FAULTS, where it is known."""
        mode = mode or ("s" if stream else "w")
        for rule in self.rules:
            matches = (
                rule.provider in {"", "*", provider}
                and rule.model in {"", "*", *models}
                and mode in FAULTS[rule.fault]
                and (rule.times is None or rule.hits < rule.times)
            )
            if matches and self._rng.random() < rule.probability:
                rule.hits += 1
                return rule
        return None
