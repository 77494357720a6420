"""Request ids: UUID version 7 (RFC 9562), so that an id tells its UTC day and sorts by arrival."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from uuid import UUID

_UNIX_MS_BITS = 48


def uuid7(unix_ms: int, random_bits: Callable[[int], int]) -> UUID:
    """`unix_ms` milliseconds since 1970 UTC; `random_bits(k)` gives k random bits."""
    value = (unix_ms & ((1 << _UNIX_MS_BITS) - 1)) << 80
    value |= 0x7 << 76
    value |= random_bits(12) << 64
    value |= 0b10 << 62
    value |= random_bits(62)
    return UUID(int=value)


def unix_ms_of(request_id: UUID) -> int:
    return request_id.int >> 80


def utc_day_of(request_id: UUID) -> dt.date:
    """The log partition a request belongs to. The id decides, so a replay lands in the same one."""
    return dt.datetime.fromtimestamp(unix_ms_of(request_id) / 1000, dt.UTC).date()


def charge_key(request_id: UUID, attempt_no: int) -> str:
    """Unique for ever: what makes shipping an attempt twice harmless."""
    return f"{request_id}:{attempt_no}"
