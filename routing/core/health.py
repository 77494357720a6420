"""What this process has seen of each endpoint, mixed with what the rollups say of it.

The measured `Stats` of the snapshot weigh as a limited number of observations, so a quiet process
starts from them and a busy one follows its own traffic and what the other processes tell.
"""

from __future__ import annotations

import math
from collections.abc import ItemsView, Sequence
from math import log
from random import Random

from routing.core.breaker import WINDOW_S, Breaker
from routing.core.capacity import Capacity
from routing.core.catalog import Endpoint, Stats
from routing.core.conversations import Conversations
from routing.core.endpoint_health import (
    HALF_LIFE_S,
    REBASE_S,
    RETRY_TOKENS,
    SLOW,
    EndpointHealth,
)
from routing.core.errors import (
    COUNTS_AGAINST_HEALTH,
    REFUSES_THE_HUB,
    SPENDS_RETRIES,
    FailureClass,
)
from routing.core.measures import Z95, DecayedMean, Numbers
from routing.core.peers import numbers_among_peers
from routing.core.rate_headers import read_allowances
from routing.core.sightings import Sighting
from routing.core.validity import FormCounts

__all__ = ["HALF_LIFE_S", "REBASE_S", "RETRY_TOKENS", "Z95", "HealthBook", "Numbers"]

REUSE_S = 1.0
CACHE_PRIOR_KTOKENS = 20.0  # thousands of input tokens that the rollups' share counts as
VALID_PRIOR = 5.0  # answers of sound form that are assumed of every endpoint
STATS_WEIGHT = 20.0  # observations that the rollups count as, at most,
STATS_SUCCESS_WEIGHT = 100.0  # and for success, of which a few observations say little
RETRY_COST = 1.0
RETRY_EARNED = 0.1
RETRY_FLOOR = 5.0
RETRY_TRUSTED = 8.0
HEADERS_EVERY_S = 0.25  # how often an endpoint's rate-limit headers are read,
HEADERS_WITHOUT_EVERY_S = 30.0  # and where it sends none
NEARLY_USED_UP = 0.25  # share of a limit that is left: with more there is nothing to watch


class HealthBook:
    """One per gateway process. All methods take monotonic seconds."""

    __slots__ = (
        "_books",
        "_cache",
        "_figures",
        "_known",
        "changes",
        "conversations",
        "forms",
        "rng",
    )

    def __init__(self, rng: Random) -> None:
        self.changes = 0  # grows whenever a brake is put on or let go by an event
        self.conversations = Conversations()
        self.forms = FormCounts()  # for the rollups; whoever writes them takes them out
        self.rng = rng
        self._known: frozenset[int] | None = None  # endpoints that exist, once that was said
        self._books: dict[int, EndpointHealth] = {}
        self._cache: dict[int, tuple[float, Endpoint, Numbers]] = {}
        self._figures: dict[str, tuple[float, Sequence[Endpoint], Sequence[Numbers]]] = {}

    def of(self, endpoint_id: int) -> EndpointHealth:
        book = self._books.get(endpoint_id)
        if book is None:
            book = self._books[endpoint_id] = EndpointHealth()
        return book

    def books(self) -> ItemsView[int, EndpointHealth]:
        """Of the endpoints that anything is known of, by their ids."""
        return self._books.items()

    def figures(self, endpoints: Sequence[Endpoint], now: float) -> Sequence[Numbers]:
        """What endpoints of one model are ranked by, and shown with: their numbers among peers.

        All of the model's endpoints are to be given, whichever a request can use, so that every
        reader sees the same. Worked out at most once a second.
        """
        if not endpoints:
            return ()
        model = endpoints[0].model.name
        known = self._figures.get(model)
        if known is not None and now - known[0] < REUSE_S and known[1] is endpoints:
            return known[2]
        fresh = numbers_among_peers([self.numbers(endpoint, now) for endpoint in endpoints])
        self._figures[model] = (now, endpoints, fresh)
        return fresh

    def numbers(self, endpoint: Endpoint, now: float) -> Numbers:
        """Of one endpoint for itself. Worked out at most once a second."""
        cached = self._cache.get(endpoint.id)
        if cached is not None and now - cached[0] < REUSE_S and cached[1] is endpoint:
            return cached[2]
        fresh = self._work_out(endpoint, now)
        self._cache[endpoint.id] = (now, endpoint, fresh)
        return fresh

    def _work_out(self, endpoint: Endpoint, now: float) -> Numbers:
        book, stats = self.of(endpoint.id), endpoint.stats
        book.mark_seen(now)
        weight = min(stats.evidence, STATS_WEIGHT)
        fade = book.fade(now)
        slow_fade = book.fade(now, SLOW)
        seen_lately = book.success.weight * fade
        return Numbers(
            weight=weight + seen_lately,
            seen_lately=seen_lately,
            cached_share=_towards(
                book.cached, stats.cached_share or 0.0, CACHE_PRIOR_KTOKENS, slow_fade
            ),
            valid_rate=_valid_rate(book, stats, slow_fade),
            valid_samples=stats.valid_n + book.formed,
            ttft_ms=_exp(book.log_ttft.mixed_with(_log(stats.ttft_p50_ms), weight, fade)),
            speed_tps=_exp(book.log_speed.mixed_with(_log(stats.speed_p50_tps), weight, fade)),
            success_rate=book.success.mixed_with(
                stats.success_rate, min(stats.evidence, STATS_SUCCESS_WEIGHT), fade
            ),
            samples=stats.n + book.seen + round(book.heard),
            ttft_spread=book.log_ttft.spread(
                _spread(stats.ttft_p50_ms, stats.ttft_p95_ms), weight, fade
            ),
            speed_spread=book.log_speed.spread(
                _spread(stats.speed_p95_tps, stats.speed_p50_tps), weight, fade
            ),
        )

    def tell(self, now: float) -> list[Sighting]:
        """What this process saw since the last call, for the other processes."""
        told = [book.tell(endpoint_id, now) for endpoint_id, book in self._books.items()]
        return [one for one in told if one is not None]

    def hear(self, sightings: Sequence[Sighting], now: float, age_s: float) -> None:
        """What another process told `age_s` ago."""
        for one in sightings:
            if self.is_known(one.endpoint_id):
                self.of(one.endpoint_id).hear(one, now, max(age_s, 0.0))

    def is_known(self, endpoint_id: int) -> bool:
        """Of others nothing is taken in that is told about them, so that memory stays bounded."""
        return self._known is None or endpoint_id in self._known

    def is_quiet(self, endpoint_id: int, now: float) -> bool:
        """No brake is on: the common case, asked for every candidate of every plan."""
        book = self._books.get(endpoint_id)
        if book is None:
            return True
        capacity = book.capacity
        return book.breaker.is_quiet(now) and (capacity is None or capacity.is_open(now))

    def next_release(self, endpoint_id: int, now: float) -> float:
        """The next moment at which time alone lets a try through; infinite where none is held."""
        book = self._books.get(endpoint_id)
        if book is None:
            return math.inf
        released = book.breaker.next_release(now)
        if book.capacity is not None and book.capacity.closed_until > now:
            released = min(released, book.capacity.closed_until)
        return released

    def on_start(self, endpoint_id: int, now: float) -> bool:
        """Whether a try may begin now: the last endpoint that is left is held back, not out."""
        book = self._books.get(endpoint_id) or self.of(endpoint_id)
        if book.capacity is not None:
            self.changes += book.capacity.take(now)
        breaker = book.breaker
        if breaker.is_calm:
            return True
        before = breaker.gate
        may_start = breaker.on_start(now, self.rng.random())
        self.changes += breaker.gate != before
        return may_start

    def on_success(
        self, endpoint_id: int, now: float, ttft_ms: float | None, speed_tps: float | None
    ) -> None:
        book = self._books.get(endpoint_id) or self.of(endpoint_id)
        book.seen += 1
        if not book.breaker.is_calm:
            self._on_success_after_trouble(book.breaker, now)
        if book.capacity is not None:
            book.capacity.on_success()
        if book.retry_tokens < RETRY_TOKENS:
            book.retry_tokens = min(book.retry_tokens + RETRY_EARNED, RETRY_TOKENS)
        # Spelled out, because this runs once per request: `mean.add(x, gain)` three times.
        gain = book.gain(now)
        mean = book.success
        mean.total += gain
        mean.weight += gain
        if ttft_ms is not None and ttft_ms > 0:
            mean, x = book.log_ttft, log(ttft_ms)
            mean.total += gain * x
            mean.squares += gain * x * x
            mean.weight += gain
        if speed_tps is not None and speed_tps > 0:
            mean, x = book.log_speed, log(speed_tps)
            mean.total += gain * x
            mean.squares += gain * x * x
            mean.weight += gain

    def _on_success_after_trouble(self, breaker: Breaker, now: float) -> None:
        before = breaker.gate
        breaker.on_success(now)
        self.changes += breaker.gate != before

    def on_failure(
        self, endpoint_id: int, now: float, failure: FailureClass, retry_after_s: float | None
    ) -> None:
        book = self.of(endpoint_id)
        before = book.brakes
        if failure is FailureClass.CAPACITY:
            self._on_refusal(book, now, retry_after_s)
        elif failure in COUNTS_AGAINST_HEALTH:
            book.breaker.on_failure(now, self.rng.random(), book.seen_within(WINDOW_S, now))
            book.seen += 1
            book.success.add(0.0, book.gain(now))
        elif failure in REFUSES_THE_HUB:
            book.breaker.on_refused(now, self.rng.random())
        else:
            book.breaker.on_neutral()
        self.changes += book.brakes != before
        if failure in SPENDS_RETRIES:
            book.retry_tokens = max(book.retry_tokens - RETRY_COST, 0.0)

    def _on_refusal(self, book: EndpointHealth, now: float, retry_after_s: float | None) -> None:
        if book.capacity is None:
            book.capacity = Capacity()
        rest_s = book.capacity.on_refusal(now, book.seen_per_s(now))
        book.breaker.on_capacity(now, rest_s if retry_after_s is None else retry_after_s)
        book.note_rest(0.0 if retry_after_s is None else now + retry_after_s)

    def on_input(self, endpoint_id: int, now: float, input_tokens: int, cached: int) -> None:
        """Of an answer whose provider said how much of the input it read from its cache."""
        book = self.of(endpoint_id)
        gain = book.gain(now, SLOW) / 1000.0
        book.cached.weight += gain * input_tokens
        book.cached.total += gain * min(cached, input_tokens)

    def on_form(self, endpoint_id: int, now: float, is_sound: bool) -> None:
        """Of an answer with tool calls, or one that was to follow a schema. See core.validity."""
        book = self.of(endpoint_id)
        book.valid.add(1.0 if is_sound else 0.0, book.gain(now, SLOW))
        book.formed += 1
        self.forms.note(endpoint_id, is_sound)

    def wants_headers(self, endpoint_id: int, now: float) -> bool:
        """Whether `on_headers` has use for the headers of an answer that came now."""
        book = self._books.get(endpoint_id)
        return book is not None and now >= book.headers_next_at

    def on_headers(
        self, endpoint_id: int, now: float, wall_s: float, headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        """The provider's rate-limit headers; names are lower-case. `wall_s` is Unix time."""
        book = self.of(endpoint_id)
        allowances = read_allowances(headers, wall_s)
        book.headers_next_at = now + (HEADERS_EVERY_S if allowances else HEADERS_WITHOUT_EVERY_S)
        scarce = [one for one in allowances if one.remaining <= one.limit * NEARLY_USED_UP]
        if scarce and book.capacity is None:
            book.capacity = Capacity()
        if book.capacity is not None:
            self.changes += book.capacity.tell(scarce, now)

    def may_retry(self, endpoint_id: int) -> bool:
        """The retry budget of gRPC A6: retries stop when failures outrun successes."""
        return self.of(endpoint_id).retry_tokens > RETRY_FLOOR

    def is_trusted(self, endpoint_id: int) -> bool:
        """It hardly failed of late, so that going there instead cannot feed a storm of retries."""
        return self.of(endpoint_id).retry_tokens >= RETRY_TRUSTED

    def outcomes(self, endpoint_id: int) -> int:
        """How many tries there ended well or badly, since this process began."""
        return self.of(endpoint_id).seen

    def forget_missing(self, endpoint_ids: frozenset[int]) -> None:
        """Called when the snapshot changes, so that memory stays bounded."""
        self.changes += 1
        self._known = endpoint_ids
        self._figures.clear()
        for gone in set(self._books) - endpoint_ids:
            del self._books[gone]
            self._cache.pop(gone, None)


def _valid_rate(book: EndpointHealth, stats: Stats, fade: float) -> float:
    weight, total = VALID_PRIOR, VALID_PRIOR
    if stats.valid_share is not None:
        measured = min(stats.valid_weight, STATS_WEIGHT)
        weight, total = weight + measured, total + measured * stats.valid_share
    return _towards(book.valid, total / weight, weight, fade)


def _towards(mean: DecayedMean, prior: float, prior_weight: float, fade: float) -> float:
    live = mean.weight * fade
    return (mean.total * fade + prior * prior_weight) / (live + prior_weight)


def _spread(lower: float | None, upper: float | None) -> float | None:
    """Of the logarithm, from the median and a value that 5 of 100 are beyond."""
    low, high = _log(lower), _log(upper)
    return None if low is None or high is None else max(high - low, 0.0) / Z95


def _log(value: float | None) -> float | None:
    return math.log(value) if value is not None and value > 0 else None


def _exp(value: float | None) -> float | None:
    return math.exp(value) if value is not None else None
