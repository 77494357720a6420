"""Rows of the tables that put endpoints side by side: order, scales and badges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics.queries.types import Measurement
from dashboard import comparison
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
class EndpointRow:
    facts: EndpointFacts
    measured: Measurement | None
    badges: tuple[Badge, ...]
    lacks: tuple[str, ...]  # capabilities that another row has


@dataclass(frozen=True, slots=True)
class Board:
    rows: Sequence[EndpointRow]
    sort: Sort
    most_ttft_ms: float  # the end of the whiskers' shared axis
    most_speed_tps: float
    least_success: float  # where the axis of success begins

    @property
    def is_simulated(self) -> bool:
        return any(row.facts.provider.simulated for row in self.rows)

    @property
    def measured_attempts(self) -> int:
        return sum(row.measured.n for row in self.rows if row.measured)


_KEYS: dict[str, Callable[[EndpointRow], Any]] = {
    "provider": lambda row: row.facts.provider.name.lower(),
    "model": lambda row: row.facts.model.name.lower(),
    "input": lambda row: row.facts.input_usd,
    "output": lambda row: row.facts.output_usd,
    "price": lambda row: row.facts.blended_usd,
    "ttft": lambda row: _value(row, "ttft_p50"),
    "speed": lambda row: _value(row, "speed_p50"),
    "success": lambda row: (
        row.measured.success.low if row.measured and row.measured.success else None
    ),
    "context": lambda row: row.facts.context_window,
}
SORTS = tuple(_KEYS)


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
    """Endpoints in use first. Badges only make sense where all rows are of one model."""
    badges = _badges(endpoints, measurements) if with_badges else {}
    known = {name for row in endpoints for name in row.capabilities}
    rows = [
        EndpointRow(
            facts,
            measurements.get(facts.id),
            tuple(badges.get(facts.id, ())),
            tuple(sorted(known - set(facts.capabilities))),
        )
        for facts in endpoints
    ]
    return Board(
        rows=_ordered(rows, sort),
        sort=sort,
        most_ttft_ms=most(rows, "ttft_p50"),
        most_speed_tps=most(rows, "speed_p50"),
        least_success=comparison.least_success(row.measured for row in rows),
    )


def _ordered(rows: Sequence[EndpointRow], sort: Sort) -> list[EndpointRow]:
    """Rows without the figure come last in both directions; success goes by its lower bound."""
    read = _KEYS[sort.key]
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


def _badges(
    endpoints: Sequence[EndpointFacts], measurements: Mapping[int, Measurement]
) -> dict[int, list[Badge]]:
    found: dict[int, list[Badge]] = {row.id: [] for row in endpoints}
    live = [row for row in endpoints if row.is_live]
    for endpoint_id, given in [
        *_cheapest(live),
        *_leading(live, measurements, comparison.METRICS[1], "fastest", "speed"),
        *_leading(live, measurements, comparison.METRICS[0], "soonest", "TTFT"),
    ]:
        found[endpoint_id].append(given)
    return found


def _cheapest(live: Sequence[EndpointFacts]) -> list[tuple[int, Badge]]:
    priced = {row.id: row.blended_usd for row in live if row.blended_usd is not None}
    if len(priced) < comparison.FEWEST_SUBJECTS:
        return []
    least = min(priced.values())
    winners = [key for key, amount in priced.items() if amount == least]
    text = "cheapest" if len(winners) == 1 else "cheapest, shared"
    return [(key, Badge(text, "good", "Lowest blended list price, 3:1")) for key in winners]


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
    if len(group) == 1:
        title = f"Its 95% interval lies beyond all others' ({metric.label})"
        return [(key, Badge(alone, "accent", title)) for key in group]
    title = f"{len(group)} endpoints that {metric.label} cannot separate"
    return [(key, Badge(f"best group: {noun}", "", title)) for key in group]
