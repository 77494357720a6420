"""Rows of the tables that put endpoints side by side: order, scales and badges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from analytics.queries.types import Measurement
from dashboard import comparison, list_prices, model_kinds
from dashboard.list_prices import UNITS
from dashboard.model_kinds import KindWords
from routing.core.kinds import CHAT
from routing.selectors.pages import EndpointFacts


@dataclass(frozen=True, slots=True)
class Sort:
    """A column and a direction, from `?sort=key` or `?sort=-key`. Unknown columns fall back."""

    key: str
    is_descending: bool

    @classmethod
    def parse(cls, text: str, allowed: Sequence[str], default: str) -> Sort:
        key = text.removeprefix("-")
        if key not in allowed:
            text, key = default, default.removeprefix("-")
        return cls(key, text.startswith("-"))

    @property
    def text(self) -> str:
        return f"-{self.key}" if self.is_descending else self.key


@dataclass(frozen=True, slots=True)
class Badge:
    text: str
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class PriceColumn:
    meter: str
    label: str
    unit: str
    sort: str  # its name in the address


@dataclass(frozen=True, slots=True)
class EndpointRow:
    facts: EndpointFacts
    prices: tuple[str, ...]  # for each column; "" where there is none
    measured: Measurement | None
    badges: tuple[Badge, ...]
    lacks: tuple[str, ...]  # capabilities that another row has


@dataclass(frozen=True, slots=True)
class Board:
    kind: KindWords
    prices: Sequence[PriceColumn]
    rows: Sequence[EndpointRow]
    sort: Sort
    most_ttft_ms: float  # the end of the whiskers' shared axis
    most_speed_tps: float
    most_e2e_ms: float
    least_success: float  # where the axis of success begins

    @property
    def is_simulated(self) -> bool:
        return any(row.facts.provider.simulated for row in self.rows)

    @property
    def has_form(self) -> bool:
        return self.formed_answers > 0

    @property
    def formed_answers(self) -> int:
        """Answers with tool calls or a schema that were looked at."""
        found = [row.measured.form for row in self.rows if row.measured]
        return sum(form.n for form in found if form)

    @property
    def has_context(self) -> bool:
        """Sound and pictures have no window of tokens."""
        return self.kind.is_chat or any(row.facts.context_window for row in self.rows)

    @property
    def measured_attempts(self) -> int:
        return sum(row.measured.n for row in self.rows if row.measured)


def _price(row: EndpointRow) -> tuple[int, Decimal] | None:
    found = list_prices.leading(row.facts)
    return list_prices.order(found) if found is not None else None


_KEYS: dict[str, Callable[[EndpointRow], Any]] = {
    "provider": lambda row: row.facts.provider.name.lower(),
    "model": lambda row: row.facts.model.name.lower(),
    "price": _price,
    "ttft": lambda row: _value(row, "ttft_p50"),
    "speed": lambda row: _value(row, "speed_p50"),
    "e2e": lambda row: _value(row, "e2e_p50"),
    "success": lambda row: (
        row.measured.success.low if row.measured and row.measured.success else None
    ),
    "form": lambda row: row.measured.form.low if row.measured and row.measured.form else None,
    "context": lambda row: row.facts.context_window,
}
SORTS = (*_KEYS, *(meter for meter in UNITS if meter != list_prices.BLENDED))


def _reading(key: str) -> Callable[[EndpointRow], Any]:
    return _KEYS.get(key) or (lambda row: list_prices.usd_of(row.facts, key))


def _value(row: EndpointRow, name: str) -> float | None:
    quantile = getattr(row.measured, name) if row.measured else None
    return None if quantile is None else float(quantile.value)


def board(
    endpoints: Sequence[EndpointFacts],
    measurements: Mapping[int, Measurement],
    sort: Sort,
    *,
    with_badges: bool,
) -> Board:
    """Endpoints of one kind of model, those in use first.

    Badges only make sense where all rows are of one model.
    """
    kind = model_kinds.KINDS[endpoints[0].model.kind if endpoints else CHAT]
    meters = list_prices.columns(kind.name, endpoints)
    badges = _badges(endpoints, measurements) if with_badges else {}
    known = {name for row in endpoints for name in row.capabilities}
    rows = [
        EndpointRow(
            facts,
            tuple(_price_words(facts, meter) for meter in meters),
            measurements.get(facts.id),
            tuple(badges.get(facts.id, ())),
            tuple(sorted(known - set(facts.capabilities))),
        )
        for facts in endpoints
    ]
    return Board(
        kind=kind,
        prices=[_price_column(meter) for meter in meters],
        rows=_ordered(rows, sort),
        sort=sort,
        most_ttft_ms=most(rows, "ttft_p50"),
        most_speed_tps=most(rows, "speed_p50"),
        most_e2e_ms=most(rows, "e2e_p50"),
        least_success=comparison.least_success(row.measured for row in rows),
    )


def boards_by_kind(
    endpoints: Sequence[EndpointFacts], measurements: Mapping[int, Measurement], sort: Sort
) -> list[Board]:
    """One board for each kind of model, chat first: they have no figure in common but success."""
    found = sorted({row.model.kind for row in endpoints}, key=model_kinds.place)
    return [
        board(
            [row for row in endpoints if row.model.kind == kind],
            measurements,
            sort,
            with_badges=False,
        )
        for kind in found
    ]


def _price_column(meter: str) -> PriceColumn:
    unit = UNITS[meter]
    return PriceColumn(
        meter, unit.label, unit.words, "price" if meter == list_prices.BLENDED else meter
    )


def _price_words(facts: EndpointFacts, meter: str) -> str:
    usd = list_prices.usd_of(facts, meter)
    return "" if usd is None else list_prices.amount_words(meter, usd)


def _ordered(rows: Sequence[EndpointRow], sort: Sort) -> list[EndpointRow]:
    """Rows without the figure come last in both directions; success goes by its lower bound."""
    read = _reading(sort.key)
    known = [row for row in rows if read(row) is not None]
    unknown = [row for row in rows if read(row) is None]
    ordered = sorted(known, key=read, reverse=sort.is_descending) + unknown
    return sorted(ordered, key=lambda row: not row.facts.is_live)


def most(rows: Sequence[EndpointRow], name: str) -> float:
    ends = []
    for row in rows:
        quantile = getattr(row.measured, name) if row.measured else None
        if quantile is not None:
            ends.append(quantile.high if quantile.high is not None else quantile.value)
    return max(ends, default=0.0)


_TEXT_BADGES = ((comparison.SPEED, "fastest", "speed"), (comparison.TTFT, "soonest", "TTFT"))
_WHOLE_BADGES = ((comparison.END_TO_END, "fastest", "time"),)


def _badges(
    endpoints: Sequence[EndpointFacts], measurements: Mapping[int, Measurement]
) -> dict[int, list[Badge]]:
    found: dict[int, list[Badge]] = {row.id: [] for row in endpoints}
    live = [row for row in endpoints if row.is_live]
    leading = _TEXT_BADGES if all(row.model.kind == CHAT for row in live) else _WHOLE_BADGES
    for endpoint_id, given in [
        *_cheapest(live),
        *(
            pair
            for metric, *names in leading
            for pair in _leading(live, measurements, metric, *names)
        ),
    ]:
        found[endpoint_id].append(given)
    return found


def _cheapest(live: Sequence[EndpointFacts]) -> list[tuple[int, Badge]]:
    """None where endpoints are priced by different units."""
    priced = {row.id: usd for row in live if (usd := list_prices.leading(row)) is not None}
    units = {found.unit for found in priced.values()}
    if len(priced) < comparison.FEWEST_SUBJECTS or len(units) > 1:
        return []
    least = min(found.usd for found in priced.values())
    winners = [key for key, found in priced.items() if found.usd == least]
    text = "cheapest" if len(winners) == 1 else "cheapest, shared"
    title = f"Lowest list price {units.pop()}"
    return [(key, Badge(text, "good", title)) for key in winners]


def _leading(
    live: Sequence[EndpointFacts],
    measurements: Mapping[int, Measurement],
    metric: comparison.Metric,
    alone: str,
    noun: str,
) -> list[tuple[int, Badge]]:
    intervals = {
        row.id: metric.read(measurements[row.id]) if row.id in measurements else None
        for row in live
    }
    group = comparison.best_group(intervals, metric.lower_is_better)
    measured = sum(interval is not None for interval in intervals.values())
    if not group or len(group) == measured > 1:
        return []  # nothing stands out
    points = [metric.point(measurements[key]) for key in intervals if key in measurements]
    best = [interval for key in group if (interval := intervals[key]) is not None]
    if all(comparison.outdone(one, points, metric.lower_is_better) for one in best):
        return []  # by one that was measured too seldom to be sure of
    if len(group) == 1:
        title = f"Its 95% interval lies beyond all others' ({metric.label})"
        return [(key, Badge(alone, "accent", title)) for key in group]
    title = f"{len(group)} endpoints that {metric.label} cannot separate"
    return [(key, Badge(f"best group: {noun}", "", title)) for key in group]
