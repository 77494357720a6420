"""Rate-limit headers in the words of each client dialect."""

from __future__ import annotations

from routing.adapters.base import Headers
from routing.core.limits import RateLimited, Standings, anthropic_headers, openai_headers

_ANTHROPIC_SURFACES = frozenset({"messages"})


def limit_headers(surface: str, standings: Standings, now_unix_s: float) -> Headers:
    """Where the caller stands after this request."""
    if surface in _ANTHROPIC_SURFACES:
        return anthropic_headers(standings, now_unix_s)
    return openai_headers(standings)


def refusal_headers(surface: str, error: Exception, now_unix_s: float) -> Headers:
    """Nothing for errors that are no rate limit."""
    if not isinstance(error, RateLimited):
        return []
    return limit_headers(surface, error.denied.standings, now_unix_s)
