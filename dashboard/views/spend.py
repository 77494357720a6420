"""The bill of one month over all providers."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from analytics import queries
from analytics.queries.types import BreakdownRow, Dimension, Filters, MonthlyBill, Period
from dashboard import charts, snippets
from dashboard.access import MAY_SEE_SPEND, access
from dashboard.forms import MonthForm
from dashboard.people import person_of
from dashboard.views import common

DIMENSIONS: dict[Dimension, str] = {
    "provider": "Provider",
    "model": "Model",
    "project": "Project",
    "key": "API key",
}
Part = tuple[str, str, list[BreakdownRow]]  # of a bill: its name, its label, its lines


@access(MAY_SEE_SPEND)
@require_safe
def spend(request: HttpRequest) -> HttpResponse:
    form = MonthForm(request.GET, common.now())
    month, person = form.chosen, person_of(request)
    scope = person.spend_scope
    by = _dimension(request.GET.get("by", ""))
    bill = queries.monthly_bill(scope, month)
    period = _period(month)
    points = queries.cost_series(Filters(scope=scope, period=period), by, bucket="day")
    return common.page(
        request,
        "pages/spend.html",
        {
            "form": form,
            "month": month,
            "earlier": _shifted(month, -1),
            "later": _shifted(month, 1) if month < form.this_month else None,
            "by": by,
            "dimensions": DIMENSIONS,
            "bill": bill,
            "columns": _columns(_parts(bill)),
            "by_status": sorted(bill.by_status.items(), key=lambda found: -found[1]),
            "period": period,
            "chart": charts.spend_by_day(points, month, _last_day(month, common.now().date())),
            "is_simulated": bool(bill.simulated_usd),
            "is_running": month == form.this_month,
            "rows_url": reverse("requests") if person.sees_requests else "",
            "until": "" if month == form.this_month else f"{period.end:%Y-%m-%dT%H:%MZ}",
            "csv_url": reverse("spend-csv") + f"?month={month:%Y-%m}",
            "api_url": _api_url(month),
            "curl": snippets.rest(request.build_absolute_uri(_api_url(month))),
        },
    )


def _dimension(asked: str) -> Dimension:
    for name in DIMENSIONS:
        if name == asked:
            return name
    return "provider"


def _period(month: dt.date) -> Period:
    start = dt.datetime.combine(month, dt.time(), dt.UTC)
    return Period(start, dt.datetime.combine(_shifted(month, 1), dt.time(), dt.UTC))


def _shifted(month: dt.date, by: int) -> dt.date:
    index = month.year * 12 + month.month - 1 + by
    return dt.date(index // 12, index % 12 + 1, 1)


def _last_day(month: dt.date, today: dt.date) -> dt.date:
    return min(_shifted(month, 1) - dt.timedelta(days=1), today)


def _parts(bill: MonthlyBill) -> list[Part]:
    found: dict[Dimension, Sequence[BreakdownRow]] = {
        "provider": bill.by_provider,
        "model": bill.by_model,
        "project": bill.by_project,
        "key": bill.by_key,
    }
    return [
        (name, DIMENSIONS[name], sorted(rows, key=lambda row: (-row.cost_usd, row.label)))
        for name, rows in found.items()
    ]


def _columns(parts: list[Part]) -> tuple[list[Part], list[Part]]:
    """Side by side: a hub has more models than all the rest."""
    return [part for part in parts if part[0] != "model"], [
        part for part in parts if part[0] == "model"
    ]


def _api_url(month: dt.date) -> str:
    query = {"start": month, "end": _shifted(month, 1), "group_by": "provider", "format": "csv"}
    return f"{reverse('rest:billing-usage')}?{urlencode(query)}"


@access(MAY_SEE_SPEND)
@require_safe
def spend_csv(request: HttpRequest) -> HttpResponse:
    """The bill's lines as the page shows them: every part, and the sum each of them adds up to."""
    form = MonthForm(request.GET, common.now())
    bill = queries.monthly_bill(person_of(request).spend_scope, form.chosen)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    name = f"panelboard-bill-{form.chosen:%Y-%m}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    writer = csv.writer(response)
    writer.writerow(
        ["month", "part", "name", "requests", "ok", "input_tokens", "output_tokens", "cost_usd"]
    )
    writer.writerows(_csv_rows(bill, form.chosen))
    return response


def _csv_rows(bill: MonthlyBill, month: dt.date) -> Iterator[list[object]]:
    for name, _, rows in _parts(bill):
        for row in rows:
            yield [
                f"{month:%Y-%m}",
                name,
                _harmless(row.label),
                row.requests,
                row.ok,
                row.input_tokens,
                row.output_tokens,
                f"{row.cost_usd:f}",
            ]
    yield [f"{month:%Y-%m}", "total", "", bill.requests, "", "", "", f"{bill.total_usd:f}"]


def _harmless(text: str) -> str:
    """A spreadsheet must not take a name for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text
