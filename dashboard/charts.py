"""Plotly figures as plain dicts: no plotting library is imported to make a page.

Colours are named by role (`var(--series-0)`) and resolved by static/js/charts.js for the theme in
force. Every chart carries a sentence and a table that say the same without it.
"""

from __future__ import annotations

import datetime as dt
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from analytics.queries.types import SeriesPoint
from dashboard import formatting
from dashboard.list_prices import UNITS

SERIES_COLOURS = 6  # hues; one more, grey, is for "other"
OTHER = "Other"
_MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "circle-open")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")

Figure = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    id: str
    title: str
    summary: str  # what it shows, in a sentence
    figure: Figure
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_short: bool = False


@dataclass(frozen=True, slots=True)
class PricePoint:
    series: str
    at: dt.datetime
    usd: Decimal


@dataclass(frozen=True, slots=True)
class SpeedPoint:
    label: str
    usd: Decimal  # blended, per 1M tokens
    tps: float
    low_tps: float | None
    high_tps: float | None

    @property
    def is_sure(self) -> bool:
        """Measured often enough for an interval."""
        return self.low_tps is not None and self.high_tps is not None


def series_index(name: str) -> int:
    """The same colour for the same name on every page and in every process."""
    return zlib.crc32(name.encode()) % SERIES_COLOURS


def colours(names: Sequence[str]) -> dict[str, int]:
    """Indices for one chart: each name's own, or the next free one where two would clash."""
    taken: dict[str, int] = {}
    for name in names:
        if name == OTHER:
            taken[name] = SERIES_COLOURS
            continue
        wanted = [(series_index(name) + step) % SERIES_COLOURS for step in range(SERIES_COLOURS)]
        free = [index for index in wanted if index not in taken.values()]
        taken[name] = (free or wanted)[0]
    return taken


def _colour(index: int) -> str:
    return f"var(--series-{index})"


def _axis(**more: Any) -> dict[str, Any]:
    return {
        "gridcolor": "var(--line)",
        "linecolor": "var(--line-strong)",
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
        **more,
    }


def _layout(**more: Any) -> dict[str, Any]:
    return {
        "font": {"size": 12, "color": "var(--muted)"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hoverlabel": {
            "bgcolor": "var(--raised)",
            "bordercolor": "var(--line-strong)",
            "font": {"color": "var(--text)", "size": 12},
        },
        "legend": {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"},
        **more,
    }


# --- spend over time ------------------------------------------------------------------------------


def spend_by_day(points: Sequence[SeriesPoint], first: dt.date, last: dt.date) -> Chart | None:
    """Stacked bars of a day each, the largest series by name and the rest as one. None without spend."""
    by_series = _by_series_and_day(points)
    if not by_series:
        return None
    days = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
    names = list(by_series)
    picked = colours(names)
    figure = {
        "data": [_bars(name, days, by_series[name], picked[name]) for name in reversed(names)],
        "layout": _layout(
            barmode="stack",
            bargap=0.25,
            hovermode="x unified",
            xaxis=_axis(type="date", showgrid=False, tickformat="%-d %b"),
            yaxis=_axis(tickprefix="$", tickformat=_tick_format(by_series), rangemode="tozero"),
            legend={
                "orientation": "h",
                "x": 0,
                "y": -0.14,
                "yanchor": "top",
                "traceorder": "reversed",
            },
        ),
    }
    heads = ["Day", *names, "Sum"]
    rows = [_day_row(day, [by_series[name].get(day, Decimal(0)) for name in names]) for day in days]
    return Chart("spend-by-day", "Spend by day", _busiest(by_series), figure, heads, rows)


def _tick_format(by_series: Mapping[str, Mapping[dt.date, Decimal]]) -> str:
    """As many decimals as tell a tenth of the highest bar from the next, the last zeros left out."""
    by_day: dict[dt.date, Decimal] = defaultdict(Decimal)
    for days in by_series.values():
        for day, usd in days.items():
            by_day[day] += usd
    places = max(0, 1 - max(by_day.values()).adjusted())
    return f",.{places}~f"


def _by_series_and_day(points: Iterable[SeriesPoint]) -> dict[str, dict[dt.date, Decimal]]:
    """Largest first; beyond the palette, summed as one."""
    totals: dict[str, Decimal] = defaultdict(Decimal)
    kept = [point for point in points if point.cost_usd]
    for point in kept:
        totals[point.label] += point.cost_usd
    ranked = sorted(totals, key=lambda label: (-totals[label], label))
    named = set(ranked if len(ranked) <= SERIES_COLOURS else ranked[: SERIES_COLOURS - 1])
    order = [label for label in ranked if label in named]
    found: dict[str, dict[dt.date, Decimal]] = {label: defaultdict(Decimal) for label in order}
    for point in kept:
        label = point.label if point.label in named else OTHER
        found.setdefault(label, defaultdict(Decimal))[point.start.date()] += point.cost_usd
    return found


def _bars(
    name: str, days: Sequence[dt.date], amounts: Mapping[dt.date, Decimal], index: int
) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": name,
        "x": [day.isoformat() for day in days],
        "y": [float(amounts.get(day, 0)) for day in days],
        "marker": {"color": _colour(index)},
        "hovertemplate": "%{y:$.4~f}",
    }


def _day_row(day: dt.date, amounts: Sequence[Decimal]) -> list[str]:
    return [day.isoformat(), *map(formatting.money, [*amounts, sum(amounts, Decimal(0))])]


def _busiest(by_series: Mapping[str, Mapping[dt.date, Decimal]]) -> str:
    per_day: dict[dt.date, Decimal] = defaultdict(Decimal)
    for amounts in by_series.values():
        for day, amount in amounts.items():
            per_day[day] += amount
    day = max(per_day, key=lambda at: per_day[at])
    return f"The dearest day was {day:%-d %B} with {formatting.money(per_day[day])}."


# --- price history ----------------------------------------------------------------------------------


def price_history(points: Sequence[PricePoint], meter: str, until: dt.datetime) -> Chart | None:
    """A step for every dated price row. None when no price has ever changed.

    The lines that changed are drawn first, then the cheapest, up to the palette; all are in the table.
    """
    lines: dict[str, list[PricePoint]] = defaultdict(list)
    for point in sorted(points, key=lambda p: p.at):
        if point.at <= until:
            lines[point.series].append(point)
    if not any(len(found) > 1 for found in lines.values()):
        return None
    unit = UNITS[meter]
    names = sorted(lines, key=lambda name: (-len(lines[name]), lines[name][-1].usd, name))
    drawn = names[:SERIES_COLOURS]
    picked = colours(drawn)
    figure = {
        "data": [
            _step(name, lines[name], until, picked[name], place) for place, name in enumerate(drawn)
        ],
        "layout": _layout(
            hovermode="closest",
            xaxis=_axis(type="date", showgrid=False, tickformat="%-d %b %Y", nticks=4),
            yaxis=_axis(tickprefix="$", rangemode="tozero"),
            legend={"orientation": "h", "x": 0, "y": -0.28, "yanchor": "top"},
        ),
    }
    rows = [
        [name, f"{point.at:%Y-%m-%d}", formatting.unit_price(point.usd)]
        for name in names
        for point in lines[name]
    ]
    return Chart(
        f"price-history-{meter}",
        f"{unit.label} price over time",
        _change_words(lines, unit.label.lower(), len(names) - len(drawn)),
        figure,
        ["Provider", "In force from", f"USD {unit.words}"],
        rows,
        is_short=True,
    )


def _step(
    name: str, points: Sequence[PricePoint], until: dt.datetime, index: int, place: int
) -> dict[str, Any]:
    at = [point.at.isoformat() for point in points]
    usd = [float(point.usd) for point in points]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [*at, until.isoformat()],
        "y": [*usd, usd[-1]],
        "line": {
            "shape": "hv",
            "width": 2,
            "color": _colour(index),
            "dash": _DASHES[place // SERIES_COLOURS % len(_DASHES)],
        },
        "marker": {"size": 6, "symbol": _MARKERS[place % len(_MARKERS)]},
        "hovertemplate": "%{y:$.6~f} from %{x|%-d %b %Y}",
    }


def _change_words(lines: Mapping[str, Sequence[PricePoint]], meter: str, undrawn: int) -> str:
    changes = sum(len(points) - 1 for points in lines.values())
    told = f"{meter.capitalize()}, US dollars per 1M tokens: {changes} change{'' if changes == 1 else 's'} on record."
    return f"{told} {undrawn} more that never changed are in the table." if undrawn else told


# --- speed against price -----------------------------------------------------------------------------


def speed_against_price(points: Sequence[SpeedPoint]) -> Chart | None:
    """Up and to the left is better. None when fewer than two endpoints can be placed."""
    placed = [point for point in points if point.usd > 0 and point.tps > 0]
    if len(placed) < 2:
        return None
    ordered = sorted(placed, key=lambda point: (point.usd, -point.tps))
    best = [point for point in ordered if point.is_sure and not _is_outdone(point, ordered)]
    figure = {
        "data": [_dots(ordered, {point.label for point in best})],
        "layout": _layout(
            showlegend=False,
            hovermode="closest",
            xaxis=_axis(
                type="log",
                title={"text": "blended USD per 1M tokens (log)"},
                **_log_ticks([float(point.usd) for point in ordered], "$"),
            ),
            yaxis=_axis(
                type="log",
                title={"text": "output tokens per second, p50 (log)"},
                **_log_ticks([point.tps for point in ordered]),
            ),
        ),
    }
    rows = [
        [point.label, formatting.unit_price(point.usd), formatting.speed(point.tps)]
        for point in ordered
    ]
    return Chart(
        "speed-price",
        "Speed against price",
        _best_words(best),
        figure,
        ["Provider", "Blended USD per 1M", "Speed p50"],
        rows,
    )


def _is_outdone(point: SpeedPoint, rivals: Sequence[SpeedPoint]) -> bool:
    """Someone at most as dear is faster beyond doubt: the intervals do not meet."""
    ceiling = point.high_tps if point.high_tps is not None else point.tps
    return any(
        rival.usd <= point.usd and rival.low_tps is not None and rival.low_tps > ceiling
        for rival in rivals
    )


_NAMED = 6


def _best_words(best: Sequence[SpeedPoint]) -> str:
    if not best:
        return "Too little was measured to say who is faster beyond doubt: these are bare medians."
    names = [point.label for point in best[:_NAMED]]
    more = f" and {len(best) - _NAMED} more" if len(best) > _NAMED else ""
    return (
        "In colour: those that nothing cheaper is faster than beyond doubt "
        f"({', '.join(names)}{more}). Bars are 95% intervals."
    )


def _log_ticks(values: Sequence[float], prefix: str = "") -> dict[str, Any]:
    """Round ticks 1-2-5 across the data and a little beyond, named in full."""
    low, high = min(values) / 1.3, max(values) * 1.3
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)]
    shown = [tick for tick in ticks if low <= tick <= high]
    return {
        "range": [math.log10(low), math.log10(high)],
        "tickvals": shown,
        "ticktext": [f"{prefix}{tick:g}" for tick in shown],
    }


_NEAR_X, _NEAR_Y = 0.22, 0.08  # of the axis: closer than this, two names would overlap


def _names(ordered: Sequence[SpeedPoint], best: set[str]) -> list[str]:
    """The names that fit, best first; a point without one is named on hover and in the table."""
    placed: list[tuple[float, float]] = []
    names = []
    spots = zip(
        _fractions([float(p.usd) for p in ordered]),
        _fractions([p.tps for p in ordered]),
        strict=True,
    )
    for point, (x, y) in zip(ordered, spots, strict=True):
        crowded = any(abs(x - a) < _NEAR_X and abs(y - b) < _NEAR_Y for a, b in placed)
        if point.label in best and not crowded:
            placed.append((x, y))
            names.append(point.label)
        else:
            names.append("")
    return names


def _fractions(values: Sequence[float]) -> list[float]:
    """Where each value lies on its log axis, 0..1."""
    logs = [math.log(value) for value in values]
    low, span = min(logs), (max(logs) - min(logs)) or 1.0
    return [(value - low) / span for value in logs]


def _dots(ordered: Sequence[SpeedPoint], best: set[str]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [float(point.usd) for point in ordered],
        "y": [point.tps for point in ordered],
        "text": _names(ordered, best),
        "customdata": [point.label for point in ordered],
        "textposition": "top center",
        "textfont": {"color": "var(--text)", "size": 11},
        "cliponaxis": False,
        "marker": {
            "size": 9,
            "color": [
                "var(--series-0)" if point.label in best else "var(--series-6)" for point in ordered
            ],
            "symbol": ["circle" if point.label in best else "circle-open" for point in ordered],
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [(point.high_tps or point.tps) - point.tps for point in ordered],
            "arrayminus": [point.tps - (point.low_tps or point.tps) for point in ordered],
            "color": "var(--line-strong)",
            "thickness": 1.5,
            "width": 0,
        },
        "hovertemplate": "%{customdata}<br>$%{x:.4~f} per 1M<br>%{y:.0f} tok/s<extra></extra>",
    }
