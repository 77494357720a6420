"""Rate limits around a request, and their headers in the words of each client dialect."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from routing.adapters.base import Headers
from routing.core.limits import (
    Grant,
    Limiter,
    Limits,
    RateLimited,
    Standings,
    anthropic_headers,
    openai_lines,
    pairs_in,
)
from routing.core.request import RequestFacts
from routing.gateway.fixed_headers import FixedHeaders

if TYPE_CHECKING:
    from routing.gateway.scribe import Scribe

_ANTHROPIC_SURFACES = frozenset({"messages"})


def limit_lines(surface: str, standings: Standings, now_unix_s: float) -> bytes:
    """Where the caller stands after this request, as header lines."""
    if surface in _ANTHROPIC_SURFACES:
        return FixedHeaders(anthropic_headers(standings, now_unix_s)).lines
    return openai_lines(standings)


def limit_headers(surface: str, standings: Standings, now_unix_s: float) -> Headers:
    return pairs_in(limit_lines(surface, standings, now_unix_s))


def refusal_headers(surface: str, error: Exception, now_unix_s: float) -> Headers:
    """Nothing for errors that are no rate limit."""
    if not isinstance(error, RateLimited):
        return []
    return limit_headers(surface, error.denied.standings, now_unix_s)


async def run_within(
    limiter: Limiter,
    limits: Limits,
    scribe: Scribe,
    facts: RequestFacts,
    work: Coroutine[Any, Any, None],
) -> None:
    """For work that the leases in this process did not cover at once: asks for more, or waits."""
    scribe.facts = facts
    try:
        n_in, n_out = facts.input_tokens, facts.output_tokens
        grant = limiter.take(limits, n_in, n_out) or await limiter.wait(limits, n_in, n_out)
    except BaseException:
        work.close()
        raise
    scribe.standings = limiter.standings(grant)
    try:
        await work
    finally:
        give_back(limiter, grant, scribe)


def give_back(limiter: Limiter, grant: Grant, scribe: Scribe) -> None:
    """What was reserved is settled with what was really used, or was as if it had never been."""
    if scribe.attempt is None:
        limiter.release(grant)
    else:
        limiter.settle(grant, scribe.tokens)
