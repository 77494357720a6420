"""Two to four providers, models or endpoints side by side."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from analytics import queries
from analytics.queries.types import Measurement, Period
from dashboard import comparison, formatting, list_prices, model_kinds, verdict, words
from dashboard.access import SIGNED_IN, access
from dashboard.comparison import FEWEST_SUBJECTS, JOINT, MOST_SUBJECTS, Kind, Subject, canonical
from dashboard.list_prices import PriceRange, Unit
from dashboard.people import person_of
from dashboard.views import common
from routing.selectors import pages as catalog
from routing.selectors.pages import EndpointFacts

_SUGGESTED = 6


# --- finding subjects -----------------------------------------------------------------------------


class _Catalog:
    """Everything that can be compared, by slug. Two queries, and one for providers without models."""

    def __init__(self, now: dt.datetime) -> None:
        self.endpoints = {row.slug: row for row in catalog.endpoints(now)}
        self.providers = {row.slug: row for row in catalog.providers()}
        self.models = {row.model.slug: row.model for row in self.endpoints.values()}

    @property
    def slugs(self) -> list[str]:
        return [*self.providers, *self.models, *self.endpoints]

    def kind_of(self, slug: str) -> Kind | None:
        """A provider's slug wins over a model's of the same name."""
        if slug in self.providers:
            return Kind.PROVIDER
        if slug in self.models:
            return Kind.MODEL
        return Kind.ENDPOINT if slug in self.endpoints else None

    def model_kind_of(self, slug: str) -> str:
        """Empty for a provider, which may serve several kinds."""
        if slug in self.providers:
            return ""
        return self.models[slug].kind if slug in self.models else self.endpoints[slug].model.kind

    def near(self, slug: str) -> list[str]:
        return difflib.get_close_matches(slug, self.slugs, n=3, cutoff=0.5)

    def live(self, **wanted: int) -> tuple[EndpointFacts, ...]:
        return tuple(
            row
            for row in self.endpoints.values()
            if row.is_live
            and wanted.get("provider", row.provider.id) == row.provider.id
            and wanted.get("model", row.model.id) == row.model.id
        )


def _subject(known: _Catalog, slug: str, measured: dict[Kind, dict[int, Measurement]]) -> Subject:
    kind = known.kind_of(slug)
    assert kind is not None
    subject = _BUILDERS[kind](known, slug, measured[kind])
    return replace(subject, model_kind=known.model_kind_of(slug))


def _provider(known: _Catalog, slug: str, measured: dict[int, Measurement]) -> Subject:
    row = known.providers[slug]
    endpoints = known.live(provider=row.id)
    return Subject(
        Kind.PROVIDER,
        row.id,
        slug,
        row.name,
        f"Provider · {formatting.counted(len({e.model.id for e in endpoints}), 'model')}",
        reverse("provider", args=[slug]),
        row.simulated,
        endpoints,
        measured.get(row.id),
        _stated(
            ("Dialect", words.word(words.DIALECTS, row.dialect)),
            ("Listing checked", _day(row.checked_on)),
        ),
    )


def _model(known: _Catalog, slug: str, measured: dict[int, Measurement]) -> Subject:
    row = known.models[slug]
    endpoints = known.live(model=row.id)
    return Subject(
        Kind.MODEL,
        row.id,
        slug,
        row.name,
        f"{model_kinds.KINDS[row.kind].label} model by {row.maker} · {formatting.counted(len(endpoints), 'endpoint')}",
        reverse("model", args=[slug]),
        any(e.provider.simulated for e in endpoints),
        endpoints,
        measured.get(row.id),
        _stated(
            ("Reads", ", ".join(row.inputs)),
            ("Context", _context(endpoints)),
            ("Released", _day(row.released_on)),
        ),
    )


def _endpoint(known: _Catalog, slug: str, measured: dict[int, Measurement]) -> Subject:
    row = known.endpoints[slug]
    return Subject(
        Kind.ENDPOINT,
        row.id,
        slug,
        f"{row.provider.name} · {row.model.name}",
        f"Endpoint · {row.upstream_model}",
        reverse("model", args=[row.model.slug]),
        row.provider.simulated,
        (row,),
        measured.get(row.id),
        _stated(
            ("Context", _context((row,))),
            ("Longest answer", formatting.tokens(row.max_output_tokens or None)),
            ("Quantization", row.quantization),
            ("Region", row.region),
            ("Checked", _day(row.checked_on)),
        ),
    )


def _stated(*facts: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Those that are known: an unknown fact is left out rather than dashed."""
    return tuple((name, value) for name, value in facts if value not in ("", formatting.EMPTY))


def _day(day: dt.date | None) -> str:
    return f"{day:%Y-%m-%d}" if day else ""


def _context(endpoints: Sequence[EndpointFacts]) -> str:
    windows = [row.context_window for row in endpoints if row.context_window]
    return formatting.context_window(max(windows)) + " tokens" if windows else ""


_BUILDERS = {Kind.PROVIDER: _provider, Kind.MODEL: _model, Kind.ENDPOINT: _endpoint}


def _measured(kinds: set[Kind], period: Period) -> dict[Kind, dict[int, Measurement]]:
    return {kind: common.measured(period, str(kind)) for kind in kinds}


# --- the picker -------------------------------------------------------------------------------------


@access(SIGNED_IN)
@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    known = _Catalog(common.now())
    asked = [slug.strip().lower() for slug in request.GET.getlist("s") if slug.strip()]
    is_begun = "edit" in request.GET and len(set(asked)) < FEWEST_SUBJECTS
    problem = _problem(known, asked, is_begun=is_begun) if asked else ""
    if asked and not problem and "edit" not in request.GET:
        return redirect("comparison", canonical(asked))
    return common.plain_page(
        request,
        "pages/compare.html",
        {
            "asked": (asked + [""] * MOST_SUBJECTS)[:MOST_SUBJECTS],
            "problem": problem,
            "known": known,
            "suggestions": _suggestions(request, known),
        },
        status=400 if problem else 200,
    )


def _problem(known: _Catalog, asked: Sequence[str], *, is_begun: bool = False) -> str:
    """`is_begun`: more are still to be chosen."""
    for slug in asked:
        if known.kind_of(slug) is None:
            near = known.near(slug)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            return f"“{slug}” is not in the catalog.{hint}"
    if is_begun:
        return ""
    if not FEWEST_SUBJECTS <= len(set(asked)) <= MOST_SUBJECTS:
        return f"Choose {FEWEST_SUBJECTS} to {MOST_SUBJECTS} different subjects."
    if told := model_kinds.differ(filter(None, map(known.model_kind_of, asked))):
        return (
            f"These cannot be compared: {told} do different work. What one costs and how fast it "
            "is says nothing about the other. Choose models of one kind."
        )
    return ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    url: str
    words: str
    reason: str


def _suggestions(request: HttpRequest, known: _Catalog) -> list[Suggestion]:
    """Pairs from this person's own spend first, then the models that most providers serve."""
    form = common.period_form(request)
    spend = queries.breakdown(form.filters(person_of(request).spend_scope), "provider")
    used = [row.slug for row in spend if row.slug in known.providers][:3]
    found = [
        _suggestion([a, b], [known.providers[a].name, known.providers[b].name], "your providers")
        for a, b in combinations(used, 2)
    ]
    return (found + _same_model(known))[:_SUGGESTED]


def _same_model(known: _Catalog) -> list[Suggestion]:
    """The cheapest endpoints of the models that most providers serve."""
    ranked = sorted(known.models.values(), key=lambda m: (-len(known.live(model=m.id)), m.name))
    found = []
    for model in ranked[:_SUGGESTED]:
        cheapest = _cheapest(known.live(model=model.id))[:3]
        if len(cheapest) >= FEWEST_SUBJECTS:
            slugs = [row.slug for row in cheapest]
            found.append(_suggestion(slugs, [row.provider.name for row in cheapest], model.title))
    return found


def _cheapest(endpoints: Sequence[EndpointFacts]) -> list[EndpointFacts]:
    priced = {row.slug: usd for row in endpoints if (usd := list_prices.leading(row)) is not None}
    known = [row for row in endpoints if row.slug in priced]
    return sorted(known, key=lambda row: (list_prices.order(priced[row.slug]), row.slug))


def _suggestion(slugs: Sequence[str], names: Sequence[str], reason: str) -> Suggestion:
    url = reverse("comparison", args=[canonical(slugs)])
    return Suggestion(url, " vs ".join(names), reason)


# --- the comparison ------------------------------------------------------------------------------------


@access(SIGNED_IN)
@require_safe
def comparison_page(request: HttpRequest, subjects: str) -> HttpResponse:
    known = _Catalog(common.now())
    slugs = subjects.lower().split(JOINT)
    if problem := _problem(known, slugs):
        raise Http404(problem)
    address = canonical(slugs)
    if subjects != address:
        return redirect(_with_query(address, request), permanent=True)
    form = common.period_form(request)
    kinds = {kind for slug in slugs if (kind := known.kind_of(slug)) is not None}
    measured = _measured(kinds, form.span)
    found, shared_name = comparison.shortened([_subject(known, slug, measured) for slug in slugs])
    return common.page(
        request,
        "pages/comparison.html",
        {
            **_comparison(found, form.period_words),
            "form": form,
            "period": form.span,
            "shared_name": shared_name,
            "edit_url": _edit_url(slugs),
        },
        crumbs=[("Compare", reverse("compare")), (" vs ".join(one.name for one in found), "")],
    )


def _with_query(subjects: str, request: HttpRequest) -> str:
    query = request.META.get("QUERY_STRING", "")
    address = reverse("comparison", args=[subjects])
    return f"{address}?{query}" if query else address


def _edit_url(slugs: Sequence[str]) -> str:
    """The picker, filled with these subjects, to add, swap or take away some."""
    return f"{reverse('compare')}?{urlencode({'edit': 1, 's': slugs}, doseq=True)}"


def _comparison(subjects: Sequence[Subject], window: str) -> dict[str, Any]:
    kinds = {subject.kind for subject in subjects}
    shared = comparison.shared_models(subjects) if kinds == {Kind.PROVIDER} else []
    found = comparison.findings(subjects)
    differing, common = comparison.capabilities(subjects)
    return {
        "subjects": subjects,
        "verdict": verdict.of(subjects, shared, window),
        "is_mixed": len(kinds) > 1,
        "is_simulated": any(subject.simulated for subject in subjects),
        "shared": shared,
        "differing": differing,
        "common": common,
        "least_success": comparison.least_success(subject.measurement for subject in subjects),
        "price_rows": _price_rows(subjects) if kinds != {Kind.PROVIDER} else [],
        "measured_rows": [
            _measured_row(metric, subjects, found[metric.key])
            for metric in comparison.metrics_of(subjects)
        ],
        "any_measured": any(subject.measurement for subject in subjects),
        "attempts": [subject.measurement.n if subject.measurement else 0 for subject in subjects],
    }


@dataclass(frozen=True, slots=True)
class PriceLine:
    meter: str
    unit: Unit
    cells: tuple[PriceRange | None, ...]
    cheapest: int | None


def _price_rows(subjects: Sequence[Subject]) -> list[PriceLine]:
    writes_text = all(subject.writes_text for subject in subjects)
    meters = [meter for meter in list_prices.UNITS if meter != list_prices.BLENDED]
    asked = [*meters, list_prices.BLENDED] if writes_text else meters
    lines = [
        _price_line(meter, [list_prices.range_of(s.endpoints, meter) for s in subjects])
        for meter in asked
    ]
    return [line for line in lines if any(line.cells)]


def _price_line(meter: str, cells: Sequence[PriceRange | None]) -> PriceLine:
    lows = [cell.low if cell else None for cell in cells]
    return PriceLine(
        str(meter), list_prices.UNITS[meter], tuple(cells), comparison.only_cheapest(lows)
    )


@dataclass(frozen=True, slots=True)
class MeasuredLine:
    metric: comparison.Metric
    cells: tuple[Any, ...]  # Quantile or Share, None where nothing was measured
    most: float
    leader: str
    words: str


_READ: dict[str, Callable[[Measurement], Any]] = {
    "ttft": lambda m: m.ttft_p50,
    "speed": lambda m: m.speed_p50,
    "e2e": lambda m: m.e2e_p50,
    "success": lambda m: m.success,
}


def _measured_row(
    metric: comparison.Metric, subjects: Sequence[Subject], finding: comparison.Finding
) -> MeasuredLine:
    cells = tuple(_READ[metric.key](s.measurement) if s.measurement else None for s in subjects)
    ends = [cell.high if cell.high is not None else cell.value for cell in cells if cell]
    return MeasuredLine(
        metric,
        cells,
        max(ends, default=0.0),
        finding.leader,
        comparison.difference_words(metric, finding),
    )
