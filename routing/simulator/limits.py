"""Rate-limit headers, counted per provider in fixed windows. Nothing is refused unless a limit
was set over the control address."""

from __future__ import annotations

import datetime as dt

import msgspec

from routing.simulator.http11 import Headers
from routing.simulator.world import Provider

TOKENS_WINDOW_S = 60


class Window(msgspec.Struct):
    length_s: int
    limit: int
    started: float = 0.0
    used: int = 0

    def spend(self, amount: int, now: float) -> None:
        if now - self.started >= self.length_s:
            self.started, self.used = now, 0
        self.used += amount

    def remaining(self) -> int:
        return max(self.limit - self.used, 0)

    def reset_s(self, now: float) -> float:
        return max(self.started + self.length_s - now, 0.0)


class Limits:
    def __init__(self) -> None:
        self._windows: dict[str, tuple[Window, Window]] = {}
        self._enforced: dict[str, Window] = {}

    def enforce(self, slug: str, requests_per_minute: int | None) -> None:
        """Answer 429 beyond so many requests a minute; None lifts it."""
        if requests_per_minute is None:
            self._enforced.pop(slug, None)
        else:
            self._enforced[slug] = Window(60, requests_per_minute)

    def admit(self, slug: str, now: float) -> float | None:
        """None, or the seconds after which the next request may come."""
        window = self._enforced.get(slug)
        if window is None:
            return None
        window.spend(0, now)
        if window.remaining() == 0:
            return window.reset_s(now)
        window.spend(1, now)
        return None

    def spend(self, provider: Provider, tokens: int, now: float) -> None:
        requests, token_window = self._of(provider)
        requests.spend(1, now)
        token_window.spend(tokens, now)

    def headers(self, provider: Provider, now: float) -> Headers:
        """Named as the provider's quirk record says; none when it says nothing."""
        names = provider.traits.ratelimit_headers
        if not names:
            return []
        requests, tokens = self._of(provider)
        style = provider.persona.reset_style
        values = {
            "limit_requests": str(requests.limit),
            "remaining_requests": str(requests.remaining()),
            "reset_requests": _reset(requests.reset_s(now), style, now),
            "limit_tokens": str(tokens.limit),
            "remaining_tokens": str(tokens.remaining()),
            "reset_tokens": _reset(tokens.reset_s(now), style, now),
        }
        return [
            (name.lower().encode(), values[key].encode())
            for key, name in names.items()
            if key in values
        ]

    def _of(self, provider: Provider) -> tuple[Window, Window]:
        if provider.slug not in self._windows:
            persona = provider.persona
            self._windows[provider.slug] = (
                Window(persona.requests_window_s, persona.requests_limit),
                Window(TOKENS_WINDOW_S, persona.tokens_limit),
            )
        return self._windows[provider.slug]


def _reset(seconds: float, style: str, now: float) -> str:
    if style == "rfc3339":
        moment = dt.datetime.fromtimestamp(now + seconds, dt.UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    if style == "duration":
        return _duration(round(seconds * 1000))
    return f"{seconds:.3f}"


def _duration(milliseconds: int) -> str:
    """As Go prints it: 12ms, 1.5s, 6m0s, 24h0m0s."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest_ms = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    lead = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{lead}{rest_ms / 1000:g}s"
