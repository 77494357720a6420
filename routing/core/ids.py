"""Request ids: UUID version 7 (RFC 9562), so that an id tells its UTC day and sorts by arrival.

On the request path and in records an id is its 16 bytes; `UUID` objects are for the edge.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from uuid import UUID

REQUEST_ID_BYTES = 16

_UNIX_MS_MASK = (1 << 48) - 1
_RANDOM_BITS = 80  # of which version and variant take 6
_RANDOM_MASK = ((1 << 76) - 1) & ~(0b11 << 62)
_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)


def new_request_id(unix_ms: int, random_bits: Callable[[int], int]) -> bytes:
    """`unix_ms` milliseconds since 1970 UTC; `random_bits(k)` gives k random bits."""
    value = random_bits(_RANDOM_BITS) & _RANDOM_MASK | _VERSION_AND_VARIANT
    return (value | (unix_ms & _UNIX_MS_MASK) << _RANDOM_BITS).to_bytes(REQUEST_ID_BYTES, "big")


def request_id_text(request_id: bytes) -> str:
    """As `str` of the UUID."""
    text = request_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def uuid7(unix_ms: int, random_bits: Callable[[int], int]) -> UUID:
    """As `new_request_id`, where a UUID object is wanted."""
    return UUID(bytes=new_request_id(unix_ms, random_bits))


def unix_ms_of(request_id: UUID | bytes) -> int:
    data = request_id if isinstance(request_id, bytes) else request_id.bytes
    return int.from_bytes(data[:6], "big")


def utc_day_of(request_id: UUID | bytes) -> dt.date:
    """The log partition a request belongs to. The id decides, so a replay lands in the same one."""
    return dt.datetime.fromtimestamp(unix_ms_of(request_id) / 1000, dt.UTC).date()


def charge_key(request_id: bytes, attempt_no: int) -> str:
    """Unique for ever: what makes shipping an attempt twice harmless."""
    return f"{request_id_text(request_id)}:{attempt_no}"
