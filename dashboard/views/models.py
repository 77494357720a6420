"""The catalog by model: a list with facets, and one model with everyone who serves it."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_safe

from analytics.queries.types import Measurement
from dashboard import boards, charts, comparison, list_prices, model_kinds, snippets, words
from dashboard.access import SIGNED_IN, access
from dashboard.list_prices import ListPrice, PriceRange
from dashboard.model_kinds import KindWords
from dashboard.views import common
from routing.selectors import pages as catalog
from routing.selectors.pages import EndpointFacts, ModelFacts


@dataclass(frozen=True, slots=True)
class ModelRow:
    model: ModelFacts
    endpoints: tuple[EndpointFacts, ...]  # live ones
    capabilities: frozenset[str]
    fastest: tuple[str, ...]  # names of providers; several where speed cannot separate them
    fastest_tps: float | None
    has_speed: bool  # of some endpoint, if not enough to name the fastest

    @property
    def kind(self) -> KindWords:
        return model_kinds.KINDS[self.model.kind]

    @property
    def prices(self) -> list[PriceRange]:
        return list_prices.ranges(self.endpoints)

    @property
    def price_order(self) -> tuple[int, Decimal] | None:
        prices = self.prices
        return list_prices.order(ListPrice(prices[0].meter, prices[0].low)) if prices else None

    @property
    def provider_names(self) -> list[str]:
        return sorted({row.provider.name for row in self.endpoints})

    @property
    def context_window(self) -> int | None:
        return max((row.context_window or 0 for row in self.endpoints), default=0) or None

    @property
    def simulated(self) -> bool:
        return any(row.provider.simulated for row in self.endpoints)


@dataclass(frozen=True, slots=True)
class FacetValue:
    value: str
    label: str
    n: int
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Facet:
    name: str
    label: str
    values: Sequence[FacetValue]


_ReadFacet = Callable[[ModelRow], set[str]]
_FACETS: tuple[tuple[str, str, _ReadFacet, dict[str, str]], ...] = (
    ("kind", "Kind", lambda row: {row.model.kind}, model_kinds.LABELS),
    ("maker", "Maker", lambda row: {row.model.maker}, {}),
    ("modality", "Reads", lambda row: set(row.model.inputs), {}),
    ("capability", "Capabilities", lambda row: set(row.capabilities), words.CAPABILITIES),
)
_ANY_OF = {"kind", "maker"}  # a model has one, so several chosen mean either; the others mean all
_OWN_ORDER: dict[str, Callable[[str], Any]] = {"kind": model_kinds.place}
_SORTS: dict[str, Callable[[ModelRow], Any]] = {
    "model": lambda row: row.model.name.lower(),
    "endpoints": lambda row: len(row.endpoints),
    "price": lambda row: row.price_order,
    "speed": lambda row: row.fastest_tps,
    "context": lambda row: row.context_window,
}


@access(SIGNED_IN)
@require_safe
def model_list(request: HttpRequest) -> HttpResponse:
    now = common.now()
    form = common.period_form(request)
    everything = _model_rows(catalog.endpoints(now), common.measured(form.span, "endpoint"))
    found = _matching(everything, request.GET)
    sort = boards.Sort.parse(request.GET.get("sort", ""), tuple(_SORTS), "model")
    return common.page(
        request,
        "pages/models.html",
        {
            "rows": _sorted(found, sort),
            "total": len(everything),
            "facets": _facets(everything, request.GET),
            "search": request.GET.get("q", "").strip(),
            "is_narrowed": len(found) < len(everything),
            "is_simulated": any(row.simulated for row in found),
            "sort": sort,
            "period": form.span,
        },
    )


def _model_rows(
    endpoints: Sequence[EndpointFacts], measurements: Mapping[int, Measurement]
) -> list[ModelRow]:
    by_model: dict[int, list[EndpointFacts]] = defaultdict(list)
    for row in endpoints:
        if row.is_live:
            by_model[row.model.id].append(row)
    return [_model_row(rows, measurements) for rows in by_model.values()]


def _model_row(rows: list[EndpointFacts], measurements: Mapping[int, Measurement]) -> ModelRow:
    speed = comparison.SPEED
    intervals = {
        row.id: speed.read(measurements[row.id]) if row.id in measurements else None for row in rows
    }
    points = {row.id: speed.point(measurements[row.id]) for row in rows if row.id in measurements}
    group = comparison.best_group(intervals, speed.lower_is_better)
    best = [found for key in group if (found := intervals[key]) is not None]
    if all(comparison.outdone(one, points.values(), speed.lower_is_better) for one in best):
        group, best = frozenset(), []  # by one that was measured too seldom to be sure of
    return ModelRow(
        model=rows[0].model,
        endpoints=tuple(rows),
        capabilities=frozenset(name for row in rows for name in row.capabilities),
        fastest=tuple(sorted({row.provider.name for row in rows if row.id in group})),
        fastest_tps=max((one.value for one in best), default=None),
        has_speed=any(point is not None for point in points.values()),
    )


def _matching(rows: Sequence[ModelRow], asked: QueryDict, leaving_out: str = "") -> list[ModelRow]:
    text = asked.get("q", "").strip().lower()
    kept = [row for row in rows if text in _searched(row)]
    for name, _, read, _ in _FACETS:
        chosen = set(asked.getlist(name))
        if chosen and name != leaving_out:
            kept = [row for row in kept if _holds(name, chosen, read(row))]
    return kept


def _searched(row: ModelRow) -> str:
    providers = " ".join(endpoint.provider.name for endpoint in row.endpoints)
    return f"{row.model.name} {row.model.title} {row.model.maker} {providers}".lower()


def _holds(name: str, chosen: set[str], values: set[str]) -> bool:
    return bool(chosen & values) if name in _ANY_OF else chosen <= values


def _facets(rows: Sequence[ModelRow], asked: QueryDict) -> list[Facet]:
    """Counts say how many models one would see with this value, the other facets kept."""
    return [_facet(rows, asked, *facet) for facet in _FACETS]


def _facet(
    rows: Sequence[ModelRow],
    asked: QueryDict,
    name: str,
    label: str,
    read: _ReadFacet,
    names: dict[str, str],
) -> Facet:
    chosen = set(asked.getlist(name))
    reachable = _matching(rows, asked, leaving_out=name if name in _ANY_OF else "")
    counts = Counter(value for row in reachable for value in read(row))
    values = sorted(
        {value for row in rows for value in read(row)}, key=_OWN_ORDER.get(name, str.casefold)
    )
    return Facet(
        name,
        label,
        [
            FacetValue(value, words.word(names, value), counts[value], value in chosen)
            for value in values
        ],
    )


def _sorted(rows: Sequence[ModelRow], sort: boards.Sort) -> list[ModelRow]:
    """Kind by kind, because their prices are of different things."""
    read = _SORTS[sort.key]
    known = [row for row in rows if read(row) is not None]
    unknown = [row for row in rows if read(row) is None]
    ordered = sorted(known, key=read, reverse=sort.is_descending) + unknown
    return sorted(ordered, key=lambda row: model_kinds.place(row.model.kind))


# --- one model ----------------------------------------------------------------------------------------


@access(SIGNED_IN)
@require_safe
def model_page(request: HttpRequest, slug: str) -> HttpResponse:
    model = catalog.find_model(slug)
    if model is None:
        raise Http404(f"There is no model “{slug}” in this hub's catalog.")
    now = common.now()
    form = common.period_form(request)
    endpoints = catalog.endpoints_of_model(model.id, now)
    sort = boards.Sort.parse(request.GET.get("sort", ""), boards.SORTS, "price")
    measurements = common.measured(form.span, "endpoint", model=model.name)
    board = boards.board(endpoints, measurements, sort, with_badges=True)
    slugs = [row.facts.slug for row in board.rows if row.facts.is_live]
    history = catalog.price_history([row.id for row in endpoints])
    return common.page(
        request,
        "pages/model.html",
        {
            "model": model,
            "board": board,
            "sort": sort,
            "form": form,
            "period": form.span,
            "providers": len({row.provider.id for row in endpoints if row.is_live}),
            "prices": list_prices.ranges([row for row in endpoints if row.is_live]),
            "capabilities": sorted({name for row in endpoints for name in row.capabilities}),
            "kind": model_kinds.KINDS[model.kind],
            "price_charts": _price_charts(history, board, now),
            "first_price": min((row.effective_from for row in history), default=None),
            "changed_under_conditions": _changed_under_conditions(history, now),
            "speed_chart": charts.speed_against_price(_speed_points(board)),
            "compare_url": _compare_url(slugs),
            "compare_words": _compare_words(slugs),
            "curl": snippets.curl(request.build_absolute_uri("/v1"), model.name, model.kind),
            "python": snippets.python(request.build_absolute_uri("/v1"), model.name, model.kind),
        },
        crumbs=[("Models", reverse("models")), (model.name, "")],
    )


def _price_charts(
    history: Sequence[catalog.PriceRow], board: boards.Board, now: dt.datetime
) -> list[charts.Chart]:
    """One per meter whose price has ever changed: flat lines would say nothing."""
    found = []
    for column in board.prices:
        unit = list_prices.UNITS[column.meter]
        points = [
            charts.PricePoint(row.provider, row.effective_from, row.unit_price_usd * unit.pieces)
            for row in history
            if row.meter == column.meter and not row.conditions
        ]
        drawn = charts.price_history(points, column.meter, now)
        if drawn is not None:
            found.append(drawn)
    return found


def _changed_under_conditions(history: Sequence[catalog.PriceRow], now: dt.datetime) -> int:
    return sum(
        bool(row.conditions)
        and row.effective_from <= now
        and row.before_usd not in (None, row.unit_price_usd)
        for row in history
    )


def _speed_points(board: boards.Board) -> list[charts.SpeedPoint]:
    return [
        charts.SpeedPoint(row.facts.provider.name, price, speed.value, speed.low, speed.high)
        for row in board.rows
        if row.measured
        and (speed := row.measured.speed_p50) is not None
        and (price := row.facts.blended_usd) is not None
    ]


def _compare_url(slugs: Sequence[str]) -> str:
    """The best rows of the present order, side by side. Empty when there is nothing to compare."""
    picked = slugs[: comparison.MOST_SUBJECTS]
    if len(picked) < comparison.FEWEST_SUBJECTS:
        return ""
    return reverse("comparison", args=[comparison.canonical(picked)])


def _compare_words(slugs: Sequence[str]) -> str:
    """Which of them `_compare_url` leads to."""
    if len(slugs) > comparison.MOST_SUBJECTS:
        return f"the first {comparison.MOST_SUBJECTS}"
    return "both" if len(slugs) == comparison.FEWEST_SUBJECTS else f"all {len(slugs)}"
