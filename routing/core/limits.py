"""Rate limits of keys and projects: the words, the verdicts, and what a client is told of them.

    core.limits         limits, verdicts, error, headers
    core.limit_pool     what all processes share of one limit: uses of the last minute and leases
    core.limit_shares   what one process holds of it, and draws on without asking anybody

A minute is a sliding one: what was used counts for 60 s, and never more than the limit does.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from routing.core.errors import HubError

if TYPE_CHECKING:
    from routing.core.limit_share import Share

WINDOW_S = 60.0
CODE = "rate_limit_exceeded"

Headers = list[tuple[bytes, bytes]]


class Limit(msgspec.Struct, frozen=True):
    """Of one key or one project. None is unlimited."""

    scope: str  # key | project
    subject_id: int
    name: str  # the key's or the project's, as the client knows it
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None  # input and output together
    concurrent_requests: int | None = None

    @property
    def pool(self) -> str:
        return f"{self.scope}:{self.subject_id}"


class Limits(msgspec.Struct, frozen=True):
    """All that one caller is held to: the key's own limit, its project's, or both."""

    key_id: int
    parts: tuple[Limit, ...]
    most_tokens: int | None = None  # the smallest of the parts' tokens per minute


def limits_of(key_id: int, *parts: Limit | None) -> Limits | None:
    """None where nothing is limited, so that the request path has one thing to ask."""
    held = tuple(part for part in parts if part is not None and is_limited(part))
    if not held:
        return None
    tokens = [part.tokens_per_minute for part in held if part.tokens_per_minute is not None]
    return Limits(key_id, held, min(tokens, default=None))


def is_limited(limit: Limit) -> bool:
    caps = (limit.requests_per_minute, limit.tokens_per_minute, limit.concurrent_requests)
    return any(cap is not None for cap in caps)


class Grant:
    """Leave for one request. Owed back by exactly one of `settle` and `release`; a second call of
    either changes nothing."""

    __slots__ = ("at", "ended", "second", "shares", "tokens")

    def __init__(self, shares: tuple[Share, ...], tokens: int, at: float, second: int) -> None:
        self.shares = shares
        self.tokens = tokens  # reserved
        self.at = at
        self.second = second  # of the database's clock, in which the use is counted
        self.ended = False


class Standing(msgspec.Struct, frozen=True):
    """How one meter stands, as headers tell it."""

    limit: int
    remaining: int
    reset_s: float  # until all of it is there again


class Standings(msgspec.Struct, frozen=True):
    """None where the caller has no such limit; else the tighter of the key's and the project's."""

    requests: Standing | None = None
    tokens: Standing | None = None


REQUESTS, TOKENS, RUNNING = "requests", "tokens", "running"


class Denied(msgspec.Struct, frozen=True):
    limit: Limit  # the one that has to be waited for longest
    meter: str  # REQUESTS | TOKENS | RUNNING
    retry_after_s: float | None  # None: never, the request alone is larger than the limit
    needed: int = 1
    left: int = 0
    standings: Standings = Standings()


class RateLimited(HubError):
    """Carries what the headers of the answer need: see `openai_headers`, `anthropic_headers`."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(
            429,
            CODE,
            _message(denied),
            kind="rate_limit_error",
            retry_after_s=denied.retry_after_s,
            should_retry=denied.retry_after_s is not None,
            detail={"limit": denied.meter, "scope": denied.limit.scope, "name": denied.limit.name},
        )
        self.denied = denied


class Limiter(Protocol):
    """What the request path asks. All of it runs on the event loop; only `wait` may take time."""

    trouble: str  # why leases cannot be renewed now, "" when they can

    def take(self, limits: Limits, input_tokens: int, output_tokens: int) -> Grant | None:
        """From what this process holds; None when others have to be asked: `wait` then."""
        ...

    async def wait(self, limits: Limits, input_tokens: int, output_tokens: int) -> Grant:
        """Asks the shared pool, for about a second at most. Raises RateLimited."""
        ...

    def refuse_early(self, limits: Limits) -> None:
        """Raises RateLimited if it is known by now that no request passes, however small."""
        ...

    def settle(self, grant: Grant, tokens: int) -> None:
        """The request ended; `tokens` is what it really used, input and output."""
        ...

    def release(self, grant: Grant) -> None:
        """The request ended before any provider was asked: as if it had never been."""
        ...

    def standings(self, grant: Grant) -> Standings: ...


# --- words ----------------------------------------------------------------------------------------


def _message(denied: Denied) -> str:
    limit = denied.limit
    who = f'{limit.scope} "{limit.name}"'
    if denied.retry_after_s is None:
        return (
            f"This request needs about {denied.needed:,} tokens of input, more than the "
            f"{limit.tokens_per_minute:,} tokens per minute that {who} is limited to. Shorten the "
            "prompt, or ask an administrator for a higher limit"
        )
    when = f"Try again in {seconds_text(denied.retry_after_s)}"
    if denied.meter == REQUESTS:
        return f"The {who} is limited to {_requests(limit.requests_per_minute)} per minute. {when}"
    if denied.meter == RUNNING:
        most = _requests(limit.concurrent_requests)
        return f"The {who} is limited to {most} at a time, and as many are running. {when}"
    return (
        f"The {who} is limited to {limit.tokens_per_minute:,} tokens per minute; this request needs "
        f"about {denied.needed:,} and {denied.left:,} are left. {when}"
    )


def _requests(count: int | None) -> str:
    return f"{count:,} request{'' if count == 1 else 's'}"


def seconds_text(seconds: float) -> str:
    """Rounded up, so that nobody comes too early."""
    return f"{math.ceil(seconds * 10) / 10:g} s" if seconds < 10 else f"{math.ceil(seconds)} s"


# --- headers --------------------------------------------------------------------------------------


def openai_headers(standings: Standings, retry_after_s: float | None = None) -> Headers:
    """`x-ratelimit-*` as OpenAI's clients read them; resets are durations such as `1m0s`."""
    return pairs_in(openai_lines(standings)) + retry_headers(retry_after_s)


def openai_lines(standings: Standings) -> bytes:
    """As header lines."""
    requests, tokens = standings.requests, standings.tokens
    if requests is None:
        return b"" if tokens is None else _TOKEN_LINES % _told(tokens)
    if tokens is None:
        return _REQUEST_LINES % _told(requests)
    told = _told(requests)
    if tokens.reset_s == requests.reset_s:
        return _BOTH_LINES % (*told, tokens.limit, tokens.remaining, told[2])
    return _BOTH_LINES % (*told, *_told(tokens))


def _told(standing: Standing) -> tuple[int, int, bytes]:
    return standing.limit, standing.remaining, duration(standing.reset_s)


_REQUEST_LINES = (
    b"x-ratelimit-limit-requests: %d\r\n"
    b"x-ratelimit-remaining-requests: %d\r\n"
    b"x-ratelimit-reset-requests: %b\r\n"
)
_TOKEN_LINES = _REQUEST_LINES.replace(b"requests", b"tokens")
_BOTH_LINES = _REQUEST_LINES + _TOKEN_LINES


def pairs_in(lines: bytes) -> Headers:
    pairs = [line.split(b": ", 1) for line in lines.split(b"\r\n")[:-1]]
    return [(name, value) for name, value in pairs]


def anthropic_headers(
    standings: Standings, now_unix_s: float, retry_after_s: float | None = None
) -> Headers:
    """`anthropic-ratelimit-*` as Anthropic's clients read them; resets are RFC 3339 moments."""
    headers: Headers = []
    for kind, standing in _kinds(standings):
        name = b"anthropic-ratelimit-" + kind
        headers += [
            (name + b"-limit", b"%d" % standing.limit),
            (name + b"-remaining", b"%d" % standing.remaining),
            (name + b"-reset", moment(now_unix_s + standing.reset_s)),
        ]
    return headers + retry_headers(retry_after_s)


def retry_headers(retry_after_s: float | None) -> Headers:
    if retry_after_s is None:
        return []
    return [
        (b"retry-after", b"%d" % math.ceil(retry_after_s)),
        (b"retry-after-ms", b"%d" % math.ceil(retry_after_s * 1000)),
    ]


def duration(seconds: float) -> bytes:
    """Go's form, as OpenAI sends it: `120ms`, `1s`, `6m0s`. Rounded up."""
    if seconds < 1:
        return b"%dms" % math.ceil(seconds * 1000)
    minutes, rest = divmod(math.ceil(seconds), 60)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest


def moment(unix_s: float) -> bytes:
    utc = dt.datetime.fromtimestamp(math.ceil(unix_s), dt.UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def _kinds(standings: Standings) -> Sequence[tuple[bytes, Standing]]:
    pairs = ((b"requests", standings.requests), (b"tokens", standings.tokens))
    return [(kind, standing) for kind, standing in pairs if standing is not None]
