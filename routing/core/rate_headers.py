"""Rate-limit headers of providers, read into one form.

`x-ratelimit-remaining-requests` (OpenAI, Groq), `x-ratelimit-remaining-tokens-minute` (Cerebras),
`x-ratelimit-remaining` with `x-tokenlimit-remaining` (Together), `ratelimit-remaining`,
`anthropic-ratelimit-input-tokens-remaining`: one word says what the number is, the others say of
what. A reset is a duration (`6m0s`, `120ms`), a number of seconds, or an instant.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Sequence

import msgspec

REQUESTS, TOKENS = "requests", "tokens"
LONGEST_RESET_S = 31 * 86400.0

_NAME = re.compile(rb"(?:x-|anthropic-)?(ratelimit|tokenlimit)((?:-[a-z]+)*)")
_ROLES = {b"limit": "limit", b"remaining": "remaining", b"reset": "reset"}
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_OLDEST_UNIX_S = 1e9  # larger numbers are instants, not durations
_UNIX_IN_MS = 1e12


class Allowance(msgspec.Struct, frozen=True):
    """What is left of one limit."""

    of: str  # REQUESTS or TOKENS
    name: str  # what tells it from the provider's other limits
    limit: float
    remaining: float
    reset_s: float | None  # until all of it is there again, as far as the provider says


def read_allowances(headers: Sequence[tuple[bytes, bytes]], wall_s: float) -> list[Allowance]:
    """Limits that are told in full and make sense; names are lower-case. `wall_s` is Unix time."""
    found: dict[tuple[str, str], dict[str, bytes]] = {}
    for name, value in headers:
        match = _NAME.fullmatch(name) if b"limit" in name else None
        if match is not None:
            kind, words = match[1], match[2].split(b"-")[1:]
            roles = [word for word in words if word in _ROLES]
            if len(roles) == 1:
                words.remove(roles[0])
                key = _key(kind, words)
                found.setdefault(key, {})[_ROLES[roles[0]]] = value
    read = [_allowance(key, fields, wall_s) for key, fields in found.items()]
    return [one for one in read if one is not None]


def _key(kind: bytes, words: list[bytes]) -> tuple[str, str]:
    of = TOKENS if kind == b"tokenlimit" or b"tokens" in words else REQUESTS
    return of, b"-".join([kind, *words]).decode()


def _allowance(key: tuple[str, str], fields: dict[str, bytes], wall_s: float) -> Allowance | None:
    limit, remaining = _number(fields.get("limit")), _number(fields.get("remaining"))
    if limit is None or remaining is None or limit <= 0 or not 0 <= remaining <= limit:
        return None
    return Allowance(key[0], key[1], limit, remaining, reset_s(fields.get("reset"), wall_s))


def _number(value: bytes | None) -> float | None:
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def reset_s(value: bytes | None, wall_s: float) -> float | None:
    """Seconds from now; None where it is not said, or nonsense."""
    if not value:
        return None
    text = value.decode("latin-1").strip()
    number = _number(text.encode("latin-1"))
    if number is None:
        seconds = _duration(text) if text[:1].isdigit() and "-" not in text else None
        seconds = _until_instant(text, wall_s) if seconds is None else seconds
    elif number > _OLDEST_UNIX_S:
        seconds = (number / 1000.0 if number > _UNIX_IN_MS else number) - wall_s
    else:
        seconds = number
    return None if seconds is None or not 0 <= seconds <= LONGEST_RESET_S else seconds


def _duration(text: str) -> float | None:
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    parts = zip(match.groups(), _UNITS_S, strict=True)
    return sum(float(part) * unit_s for part, unit_s in parts if part)


def _until_instant(text: str, wall_s: float) -> float | None:
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.timestamp() - wall_s if at.tzinfo is not None else None
