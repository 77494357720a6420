"""What a comparison may claim: pure rules from prices and measured intervals to words.

A measured figure leads only when its 95 % interval lies wholly beyond every other's. Where
intervals overlap the words are "cannot separate", never a winner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from analytics.queries.types import Measurement, Quantile, Share
from dashboard import formatting, list_prices
from dashboard.list_prices import ListPrice
from routing.core.kinds import CHAT
from routing.selectors.pages import EndpointFacts

MOST_SUBJECTS, FEWEST_SUBJECTS = 4, 2
JOINT = "-vs-"


def canonical(slugs: Iterable[str]) -> str:
    """One address for the same subjects in whatever order."""
    return JOINT.join(sorted(set(slugs)))


class Kind(StrEnum):
    PROVIDER = "provider"
    MODEL = "model"
    ENDPOINT = "endpoint"


@dataclass(frozen=True, slots=True)
class Subject:
    kind: Kind
    id: int
    slug: str
    name: str
    detail: str  # what it is, in half a line
    url: str
    simulated: bool
    endpoints: tuple[EndpointFacts, ...]  # live ones; of an endpoint, itself
    measurement: Measurement | None
    facts: tuple[tuple[str, str], ...] = ()  # what its card says
    model_kind: str = ""  # of its models; "" for a provider, which may serve several kinds

    @property
    def writes_text(self) -> bool:
        return self.model_kind in ("", CHAT)


@dataclass(frozen=True, slots=True)
class Interval:
    value: float
    low: float
    high: float


def shortened(subjects: Sequence[Subject]) -> tuple[list[Subject], str]:
    """Endpoints of one model are told apart by provider, of one provider by model.

    Returns the subjects with such names, and what they share ("" when nothing).
    """
    if all(subject.kind is Kind.ENDPOINT for subject in subjects):
        rows = [subject.endpoints[0] for subject in subjects]
        models = {row.model.name for row in rows}
        providers = {row.provider.name for row in rows}
        if len(models) == 1 and len(providers) == len(rows):
            return _renamed(subjects, [row.provider.name for row in rows]), models.pop()
        if len(providers) == 1 and len(models) == len(rows):
            return _renamed(subjects, [row.model.name for row in rows]), providers.pop()
    return list(subjects), ""


def _renamed(subjects: Sequence[Subject], names: Sequence[str]) -> list[Subject]:
    return [replace(subject, name=name) for subject, name in zip(subjects, names, strict=True)]


# --- capabilities ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capability:
    code: str
    has: tuple[bool, ...]  # in the order of the subjects; of a model, at any of its endpoints


def capabilities(subjects: Sequence[Subject]) -> tuple[list[Capability], list[str]]:
    """Those that tell the subjects apart, and those that all of them have."""
    sets = [{name for row in s.endpoints for name in row.capabilities} for s in subjects]
    common = set.intersection(*sets)
    differing = sorted(set.union(*sets) - common)
    rows = [Capability(code, tuple(code in found for found in sets)) for code in differing]
    return rows, sorted(common)


# --- separating measured figures -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """`leader` is set only where the intervals allow one; `gap` is its distance to the nearest."""

    leader: str = ""
    rival: str = ""
    gap: tuple[float, float] | None = None
    measured: int = 0
    missing: tuple[str, ...] = ()

    @property
    def is_separable(self) -> bool:
        return bool(self.leader)


@dataclass(frozen=True, slots=True)
class Metric:
    key: str  # also the definition it is explained by
    label: str
    lower_is_better: bool
    read: Callable[[Measurement], Interval | None]
    write: Callable[[float], str]
    write_range: Callable[[float, float], str]
    leads: str  # "answers sooner"
    unit_words: str  # "of TTFT p50"
    noun: str  # "TTFT"
    point: Callable[[Measurement], float | None]  # also where `read` has no interval


def of_quantile(quantile: Quantile | None) -> Interval | None:
    """None also where n is too small for an interval: such a figure separates nothing."""
    if quantile is None or quantile.low is None or quantile.high is None:
        return None
    return Interval(quantile.value, quantile.low, quantile.high)


def value_of(quantile: Quantile | None) -> float | None:
    return None if quantile is None else quantile.value


def of_share(share: Share | None) -> Interval | None:
    return None if share is None else Interval(share.value, share.low, share.high)


def _points_range(low: float, high: float) -> str:
    return f"{low * 100:.1f}\N{EN DASH}{high * 100:.1f} points"


TTFT = Metric(
    "ttft",
    "TTFT p50",
    True,  # noqa: FBT003  # named by the field
    lambda m: of_quantile(m.ttft_p50),
    formatting.duration,
    formatting.duration_range,
    "answers sooner",
    "less to the first token",
    "TTFT",
    lambda m: value_of(m.ttft_p50),
)
SPEED = Metric(
    "speed",
    "Output speed p50",
    False,  # noqa: FBT003  # named by the field
    lambda m: of_quantile(m.speed_p50),
    formatting.speed,
    formatting.speed_range,
    "writes faster",
    "more",
    "output speed",
    lambda m: value_of(m.speed_p50),
)
END_TO_END = Metric(
    "e2e",
    "End to end p50",
    True,  # noqa: FBT003  # named by the field
    lambda m: of_quantile(m.e2e_p50),
    formatting.duration,
    formatting.duration_range,
    "is done sooner",
    "less to the whole answer",
    "time to the whole answer",
    lambda m: value_of(m.e2e_p50),
)
SUCCESS = Metric(
    "success",
    "Success of attempts",
    False,  # noqa: FBT003  # named by the field
    lambda m: of_share(m.success),
    formatting.percent,
    _points_range,
    "fails less",
    "more success",
    "success",
    lambda m: m.success.value if m.success else None,
)
METRICS = (TTFT, SPEED, SUCCESS)
WHOLE_METRICS = (END_TO_END, SUCCESS)  # of answers that come all at once


def metrics_of(subjects: Sequence[Subject]) -> tuple[Metric, ...]:
    """Those that mean something for all of them."""
    return METRICS if all(subject.writes_text for subject in subjects) else WHOLE_METRICS


def separate(
    intervals: Mapping[str, Interval | None],
    lower_is_better: bool,
    points: Mapping[str, float | None] | None = None,
) -> Finding:
    """Nobody leads whom the bare figure of another outdoes, measured too seldom for an interval."""
    known = {name: interval for name, interval in intervals.items() if interval is not None}
    missing = tuple(name for name in intervals if name not in known)
    if len(known) < FEWEST_SUBJECTS:
        return Finding(measured=len(known), missing=missing)
    sign = 1.0 if lower_is_better else -1.0
    ranked = sorted(known, key=lambda name: sign * known[name].value)
    best = known[ranked[0]]
    if outdone(best, [(points or {}).get(name) for name in missing], lower_is_better):
        return Finding(measured=len(known), missing=missing)
    nearest = min(ranked[1:], key=lambda name: _gap(best, known[name], lower_is_better)[0])
    gap = _gap(best, known[nearest], lower_is_better)
    if gap[0] <= 0:
        return Finding(rival=nearest, gap=gap, measured=len(known), missing=missing)
    return Finding(ranked[0], nearest, gap, len(known), missing)


def outdone(best: Interval, points: Iterable[float | None], lower_is_better: bool) -> bool:
    sign = 1.0 if lower_is_better else -1.0
    return any(point is not None and sign * point < sign * best.value for point in points)


def _gap(best: Interval, other: Interval, lower_is_better: bool) -> tuple[float, float]:
    """By how much `best` leads, from the pessimistic to the optimistic ends of both intervals."""
    if lower_is_better:
        return other.low - best.high, other.high - best.low
    return best.low - other.high, best.high - other.low


def findings(subjects: Sequence[Subject]) -> dict[str, Finding]:
    found = {}
    for metric in metrics_of(subjects):
        measured = {s.name: s.measurement for s in subjects}
        intervals = {name: metric.read(m) if m else None for name, m in measured.items()}
        points = {name: metric.point(m) if m else None for name, m in measured.items()}
        found[metric.key] = separate(intervals, metric.lower_is_better, points)
    return found


def best_group(intervals: Mapping[int, Interval | None], lower_is_better: bool) -> frozenset[int]:
    """Ids that nothing is separated from at the top: one of them is the best, we cannot say which.

    Empty when fewer than two were measured: there is nothing to be best of.
    """
    known = {key: interval for key, interval in intervals.items() if interval is not None}
    if len(known) < FEWEST_SUBJECTS:
        return frozenset()
    if lower_is_better:
        bar = min(interval.high for interval in known.values())
        return frozenset(key for key, interval in known.items() if interval.low <= bar)
    bar = max(interval.low for interval in known.values())
    return frozenset(key for key, interval in known.items() if interval.high >= bar)


def least_success(measured: Iterable[Measurement | None]) -> float:
    """A round start, below all lower bounds, for an axis of success that ends at 100 %."""
    lows = [found.success.low for found in measured if found and found.success]
    return math.floor(min(lows, default=0.0) * 10) / 10


# --- prices ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SharedModel:
    """A model that all compared providers serve, with the price each is known by."""

    slug: str
    name: str
    prices: tuple[ListPrice | None, ...]  # in the order of the subjects
    cheapest: int | None  # index of the subject; None when equal, unpriced or of different units
    endpoint_slugs: tuple[str, ...]


def shared_models(subjects: Sequence[Subject]) -> list[SharedModel]:
    by_subject = [_cheapest_by_model(subject) for subject in subjects]
    common = set.intersection(*(set(models) for models in by_subject))
    rows = []
    for name in sorted(common):
        prices = tuple(list_prices.leading(models[name]) for models in by_subject)
        model = by_subject[0][name].model
        slugs = tuple(models[name].slug for models in by_subject)
        rows.append(SharedModel(model.slug, model.name, prices, cheapest_of(prices), slugs))
    return rows


def _cheapest_by_model(subject: Subject) -> dict[str, EndpointFacts]:
    best: dict[str, EndpointFacts] = {}
    for row in subject.endpoints:
        rival = best.get(row.model.name)
        if rival is None or _is_cheaper(list_prices.leading(row), list_prices.leading(rival)):
            best[row.model.name] = row
    return best


def _is_cheaper(price: ListPrice | None, rival: ListPrice | None) -> bool:
    if price is None or rival is None:
        return price is not None
    return list_prices.order(price) < list_prices.order(rival)


def cheapest_of(prices: Sequence[ListPrice | None]) -> int | None:
    """Its place; None where units differ, one is unknown or two are equal."""
    if len({price.meter for price in prices if price is not None}) > 1:
        return None
    return only_cheapest([price.usd if price is not None else None for price in prices])


def only_cheapest(prices: Sequence[Decimal | None]) -> int | None:
    """Its place; None where one is unknown or two are equal."""
    known = [price for price in prices if price is not None]
    if len(known) < len(prices) or known.count(min(known)) > 1:
        return None
    return prices.index(min(known))


# --- differences in the table --------------------------------------------------------------------------


def difference_words(metric: Metric, finding: Finding) -> str:
    if finding.gap is None:
        return "too little measured"
    low, high = finding.gap
    if finding.leader:
        return f"{finding.leader}: {metric.write_range(low, high)} {metric.unit_words}"
    return f"cannot separate ({_around_zero(metric, low, high)})"


def _around_zero(metric: Metric, low: float, high: float) -> str:
    if metric.key == "success":
        return f"\N{MINUS SIGN}{abs(low) * 100:.1f} to +{high * 100:.1f} points"
    write = formatting.duration if metric.lower_is_better else formatting.speed
    return f"\N{MINUS SIGN}{write(abs(low))} to +{write(high)}"
