"""The ways to rank endpoints. Each takes eligible candidates and says in which order to try them.

A share is the probability of being tried first; for objectives that do not draw it is 1 or 0.
Nothing is drawn here: an objective that shares requests out gives weights (see core.draw).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from routing.core import exploration
from routing.core.catalog import Endpoint, PolicyDocument
from routing.core.exploration import Spread
from routing.core.measures import Numbers
from routing.core.policies import Exploration, ServiceLevel

PRICE_EXPONENT = 2.0
TIME_EXPONENT = 1.0
SUCCESS_EXPONENT = 8.0
ASSUMED_TTFT_MS = 800.0  # where no candidate has been measured at all
ASSUMED_SPEED_TPS = 60.0
UNMEASURED = 1e12  # sorts last, and is a number in every format


class Eligible(msgspec.Struct, frozen=True):
    endpoint: Endpoint
    cost_pico: int  # expected cost of this request, 10**-12 USD
    numbers: Numbers


class RankContext(msgspec.Struct, frozen=True):
    document: PolicyDocument
    output_tokens: int
    may_explore: bool = True  # not where the request says itself whom it wants first


class Ranking(msgspec.Struct, frozen=True):
    order: Sequence[int]  # indexes of the candidates, first to be tried first
    scores: Sequence[float]  # by index; lower is better, in the objective's own unit
    shares: Sequence[float]  # by index
    weights: Sequence[float] | None = None  # by index: drawn by these, zeros last and in order
    notes: Sequence[str] = ()  # by index: what keeps a candidate from being ranked higher
    explored: Spread | None = None  # without weights: whom to try first for their own sake
    spread: Spread | None = None  # how the shares were changed in order to explore


Objective = Callable[[Sequence[Eligible], RankContext], Ranking]
OBJECTIVES: dict[str, Objective] = {}


def objective(name: str) -> Callable[[Objective], Objective]:
    def register(function: Objective) -> Objective:
        OBJECTIVES[name] = function
        return function

    return register


@objective("cheapest")
def rank_cheapest(candidates: Sequence[Eligible], context: RankContext) -> Ranking:
    """Expected cost of this request; ties go to the faster."""
    ranking = _sorted_by([(float(c.cost_pico), -_speed(c)) for c in candidates])
    return _explored(ranking, candidates, context, exploration.NONE)


@objective("fastest")
def rank_fastest(candidates: Sequence[Eligible], context: RankContext) -> Ranking:
    """Output speed; endpoints without a measurement come last."""
    ranking = _sorted_by([(-_speed(c), float(c.cost_pico)) for c in candidates])
    return _explored(ranking, candidates, context, exploration.NONE)


@objective("lowest-latency")
def rank_lowest_latency(candidates: Sequence[Eligible], context: RankContext) -> Ranking:
    """Time to first token; endpoints without a measurement come last."""
    ranking = _sorted_by([(_ttft(c), float(c.cost_pico)) for c in candidates])
    return _explored(ranking, candidates, context, exploration.NONE)


@objective("ordered")
def rank_ordered(candidates: Sequence[Eligible], context: RankContext) -> Ranking:
    """The policy's `order` of providers, then the rest by cost."""
    order = context.document.order
    return _sorted_by([(float(c.endpoint.place_in(order)), float(c.cost_pico)) for c in candidates])


OBJECTIVES["preferred"] = rank_ordered


@objective("slo-cheapest")
def rank_slo_cheapest(candidates: Sequence[Eligible], context: RankContext) -> Ranking:
    """The cheapest of those that keep the service level; the others follow, the nearest first."""
    wanted = context.document.slo or ServiceLevel()
    misses = [_misses(candidate.numbers, wanted) for candidate in candidates]
    worst = [max((miss for miss, _ in found), default=0.0) for found in misses]
    costs = [float(candidate.cost_pico) for candidate in candidates]
    order = sorted(
        range(len(candidates)), key=lambda i: (worst[i], costs[i], -_speed(candidates[i]))
    )
    notes = ["; ".join(note for _, note in found) for found in misses]
    ranking = Ranking(order, costs, _first_takes_all(order), notes=notes)
    return _explored(ranking, candidates, context, exploration.SERVICE_LEVEL)


def _explored(
    ranking: Ranking, candidates: Sequence[Eligible], context: RankContext, usual: Exploration
) -> Ranking:
    """The same order, but now and then another candidate is tried before it."""
    found = _spread(ranking.shares, candidates, context, usual)
    if found is None:
        return ranking
    return Ranking(
        order=ranking.order,
        scores=ranking.scores,
        shares=exploration.mixed(ranking.shares, found),
        notes=ranking.notes,
        explored=found,
        spread=found,
    )


def _spread(
    shares: Sequence[float],
    candidates: Sequence[Eligible],
    context: RankContext,
    usual: Exploration,
) -> Spread | None:
    wanted = context.document.exploration or usual
    if not (wanted.share > 0 and context.may_explore) or len(candidates) < 2:
        return None
    costs_pico = [candidate.cost_pico for candidate in candidates]
    needs = [exploration.need(candidate.numbers.seen_lately) for candidate in candidates]
    return exploration.spread(wanted, shares, costs_pico, needs)


Miss = tuple[float, str]  # how far off, as a ratio less 1, and in words


def _misses(numbers: Numbers, wanted: ServiceLevel) -> list[Miss]:
    """What is not measured yet is not known to keep a level."""
    found = (
        _too_high("p95 TTFT ms", numbers.ttft_ms_at(95), wanted.ttft_p95_ms),
        _too_low("output tokens/s", numbers.speed_tps, wanted.speed_p50_tps),
        _too_low("success rate", numbers.success_rate, wanted.success_rate),
    )
    return [miss for miss in found if miss is not None]


def _too_high(name: str, figure: float | None, limit: float | None) -> Miss | None:
    if limit is None or (figure is not None and figure <= limit):
        return None
    if figure is None:
        return UNMEASURED, f"{name} not measured"
    return figure / limit - 1.0, f"{name} {figure:.4g} > {limit:.4g}"


def _too_low(name: str, figure: float | None, limit: float | None) -> Miss | None:
    if limit is None or (figure is not None and figure >= limit):
        return None
    if figure is None:
        return UNMEASURED, f"{name} not measured"
    return limit / max(figure, 1e-9) - 1.0, f"{name} {figure:.4g} < {limit:.4g}"


@objective("weighted")
def rank_weighted(candidates: Sequence[Eligible], context: RankContext) -> Ranking:
    """Shares as the policy's `weights` say; providers it does not name are fallbacks only."""
    weights = [float(context.document.weights.get(c.endpoint.provider.slug, 0)) for c in candidates]
    return _drawn(weights)


@objective("balanced")
def rank_balanced(candidates: Sequence[Eligible], context: RankContext) -> Ranking:
    """Shares by price, time and reliability: cheaper, quicker and steadier endpoints get more."""
    if len(candidates) == 1:
        return Ranking((0,), (1.0,), (1.0,))
    times = _expected_times_ms(candidates, context.output_tokens)
    costs = _smoothed_costs(candidates)
    least_cost, least_time = min(costs), min(times)
    weights = [
        (least_cost / cost) ** PRICE_EXPONENT
        * (least_time / time) ** TIME_EXPONENT
        * _success(candidate) ** SUCCESS_EXPONENT
        for candidate, cost, time in zip(candidates, costs, times, strict=True)
    ]
    return _drawn_or_explored(weights, candidates, context)


def _drawn_or_explored(
    weights: Sequence[float], candidates: Sequence[Eligible], context: RankContext
) -> Ranking:
    drawn = _drawn(weights if sum(weights) > 0 else [1.0] * len(weights))
    found = _spread(drawn.shares, candidates, context, exploration.BALANCED)
    if found is None:
        return drawn
    shares = exploration.mixed(drawn.shares, found)
    return Ranking(
        order=drawn.order,
        scores=[-share for share in shares],
        shares=shares,
        weights=shares,
        spread=found,
    )


def _expected_times_ms(candidates: Sequence[Eligible], output_tokens: int) -> list[float]:
    """Unmeasured endpoints are taken for typical ones."""
    answer_ms = 1000.0 * output_tokens
    times: list[float] = []
    for candidate in candidates:
        ttft, speed = candidate.numbers.ttft_ms, candidate.numbers.speed_tps
        if not ttft or not speed:
            return _guessed_times_ms(candidates, answer_ms)
        times.append(ttft + answer_ms / speed)
    return times


def _guessed_times_ms(candidates: Sequence[Eligible], answer_ms: float) -> list[float]:
    ttfts = _filled([c.numbers.ttft_ms for c in candidates], ASSUMED_TTFT_MS)
    speeds = _filled([c.numbers.speed_tps for c in candidates], ASSUMED_SPEED_TPS)
    return [ttft + answer_ms / speed for ttft, speed in zip(ttfts, speeds, strict=True)]


def _filled(values: list[float | None], assumed: float) -> list[float]:
    measured = sorted(value for value in values if value)
    typical = measured[len(measured) // 2] if measured else assumed
    return [value or typical for value in values]


def _smoothed_costs(candidates: Sequence[Eligible]) -> list[float]:
    """A free endpoint must not take everything: 5 % of the mean cost is added to each."""
    costs = [c.cost_pico for c in candidates]
    floor = sum(costs) / len(costs) * 0.05 + 1.0
    return [cost + floor for cost in costs]


def _drawn(weights: Sequence[float]) -> Ranking:
    total = sum(weights) or 1.0
    shares = [weight / total for weight in weights]
    return Ranking(range(len(weights)), [-share for share in shares], shares, weights)


def _sorted_by(keys: Sequence[tuple[float, float]]) -> Ranking:
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return Ranking(order, [key[0] for key in keys], _first_takes_all(order))


def _first_takes_all(order: Sequence[int]) -> list[float]:
    shares = [0.0] * len(order)
    if order:
        shares[order[0]] = 1.0
    return shares


def _speed(candidate: Eligible) -> float:
    return candidate.numbers.speed_tps or 0.0


def _ttft(candidate: Eligible) -> float:
    ttft = candidate.numbers.ttft_ms
    return UNMEASURED if ttft is None else ttft


def _success(candidate: Eligible) -> float:
    rate = candidate.numbers.success_rate
    return 1.0 if rate is None else max(rate, 0.05)
