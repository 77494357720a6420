"""Plotly figures as plain dicts: no plotting library is imported to make a page.

Colours are named by role (`var(--series-0)`) and resolved by static/js/charts.js for the theme in
force. Every chart carries a sentence and a table that say the same without it.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from analytics.queries.types import SeriesPoint
from dashboard import formatting

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
            yaxis=_axis(tickprefix="$", rangemode="tozero"),
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
    """A step for every dated price row. None without rows."""
    lines: dict[str, list[PricePoint]] = defaultdict(list)
    for point in sorted(points, key=lambda p: p.at):
        if point.at <= until:
            lines[point.series].append(point)
    if not lines:
        return None
    names = sorted(lines, key=lambda name: (lines[name][-1].usd, name))
    picked = colours(names)
    figure = {
        "data": [
            _step(name, lines[name], until, picked[name], place) for place, name in enumerate(names)
        ],
        "layout": _layout(
            hovermode="closest",
            xaxis=_axis(type="date", showgrid=False),
            yaxis=_axis(tickprefix="$", rangemode="tozero", title={"text": "per 1M tokens"}),
        ),
    }
    rows = [
        [name, f"{point.at:%Y-%m-%d}", formatting.unit_price(point.usd)]
        for name in names
        for point in lines[name]
    ]
    return Chart(
        f"price-history-{meter}",
        f"{meter.capitalize()} price over time",
        _change_words(lines),
        figure,
        ["Provider", "In force from", "USD per 1M tokens"],
        rows,
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


def _change_words(lines: Mapping[str, Sequence[PricePoint]]) -> str:
    changes = sum(len(points) - 1 for points in lines.values())
    if not changes:
        return "No price has changed since the first one on record."
    return f"{changes} change{'' if changes == 1 else 's'} on record; past costs keep the price they had."


# --- speed against price -----------------------------------------------------------------------------


def speed_against_price(points: Sequence[SpeedPoint]) -> Chart | None:
    """Up and to the left is better. None when fewer than two endpoints can be placed."""
    if len(points) < 2:
        return None
    ordered = sorted(points, key=lambda point: (point.usd, -point.tps))
    best = undominated(ordered)
    figure = {
        "data": [_front(best), _dots(ordered, {point.label for point in best})],
        "layout": _layout(
            showlegend=False,
            hovermode="closest",
            xaxis=_axis(
                tickprefix="$",
                rangemode="tozero",
                title={"text": "blended price per 1M tokens, 3:1"},
            ),
            yaxis=_axis(rangemode="tozero", title={"text": "output tokens per second, p50"}),
        ),
    }
    rows = [
        [point.label, formatting.unit_price(point.usd), formatting.speed(point.tps)]
        for point in ordered
    ]
    names = ", ".join(point.label for point in best)
    summary = f"No other endpoint is both cheaper and faster than: {names}."
    return Chart(
        "speed-price",
        "Speed against price",
        summary,
        figure,
        ["Provider", "Blended USD per 1M", "Speed p50"],
        rows,
    )


def undominated(ordered: Sequence[SpeedPoint]) -> list[SpeedPoint]:
    """Of points ordered by price, those that no cheaper one outruns."""
    best: list[SpeedPoint] = []
    for point in ordered:
        if not best or point.tps > best[-1].tps:
            best.append(point)
    return best


def _front(best: Sequence[SpeedPoint]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [float(point.usd) for point in best],
        "y": [point.tps for point in best],
        "line": {"shape": "hv", "width": 1.5, "dash": "dot", "color": "var(--line-strong)"},
        "hoverinfo": "skip",
    }


def _dots(ordered: Sequence[SpeedPoint], best: set[str]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [float(point.usd) for point in ordered],
        "y": [point.tps for point in ordered],
        "text": [point.label for point in ordered],
        "textposition": "top center",
        "textfont": {"color": "var(--text)", "size": 11},
        "cliponaxis": False,
        "marker": {
            "size": 10,
            "color": [
                "var(--series-0)" if point.label in best else "var(--series-6)" for point in ordered
            ],
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [(point.high_tps or point.tps) - point.tps for point in ordered],
            "arrayminus": [point.tps - (point.low_tps or point.tps) for point in ordered],
            "color": "var(--line-strong)",
            "thickness": 1,
            "width": 3,
        },
        "hovertemplate": "%{text}<br>%{x:$.4~f} per 1M<br>%{y:.0f} tok/s<extra></extra>",
    }
