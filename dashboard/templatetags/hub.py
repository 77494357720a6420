"""Filters and tags of the pages. They format what views decided; none of them reads data."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django import template
from django.http import QueryDict
from django.template.context import RequestContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from analytics.queries.types import BreakdownRow, Quantile, ReceiptAttempt, RequestRow, Share
from dashboard import comparison, formatting, list_prices, model_kinds, svg, words
from dashboard.charts import series_index
from dashboard.definitions import DEFINITIONS
from routing.core.usage import Meter
from routing.selectors.pages import EndpointFacts

register = template.Library()
_NOTHING = SafeString("")

for _name in (
    "money",
    "money_exact",
    "unit_price",
    "count",
    "tokens",
    "duration",
    "speed",
    "percent",
    "context_window",
):
    register.filter(_name, getattr(formatting, _name))

_TABLES = {
    "exclusion": words.EXCLUSIONS,
    "outcome": words.OUTCOMES,
    "cost_status": words.COST_STATUSES,
    "meter": words.METERS,
    "short_meter": words.SHORT_METERS,
    "capability": words.CAPABILITIES,
    "kind": words.KINDS,
    "dialect": words.DIALECTS,
    "surface": model_kinds.SURFACE_LABELS,
    "model_kind": model_kinds.LABELS,
}


@register.filter
def word(code: str, table: str) -> str:
    return words.word(_TABLES[table], code)


@register.filter
def lower_first(text: str) -> str:
    """For the middle of a heading; leaves `API key` as it is."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


@register.filter
def capability_words(codes: Iterable[str]) -> str:
    return ", ".join(sorted(words.word(words.CAPABILITIES, code) for code in codes))


@register.filter
def versus(slugs: Iterable[str]) -> str:
    """The one address of a comparison, whatever the order of its subjects."""
    return comparison.canonical(slugs)


@register.filter
def get(mapping: Mapping[Any, Any], key: Any) -> Any:
    return mapping.get(key)


# --- drawings -----------------------------------------------------------------------------------


@register.simple_tag
def icon(name: str) -> SafeString:
    return svg.icon(name)


@register.simple_tag
def logo() -> SafeString:
    return svg.LOGO


@register.simple_tag
def spark(values: list[float | None]) -> SafeString:
    return svg.sparkline(values)


@register.simple_tag
def share_bar(part: Decimal | float, whole: Decimal | float) -> SafeString:
    return svg.bar(float(part), float(whole))


@register.simple_tag
def segment_bar(parts: list[svg.Segment]) -> SafeString:
    return svg.segments(parts)


# --- figures with their interval -----------------------------------------------------------------


class _Unit(NamedTuple):
    write: Callable[[float | None], str]
    write_range: Callable[[float, float], str]


_UNITS = {
    "duration": _Unit(formatting.duration, formatting.duration_range),
    "speed": _Unit(formatting.speed, formatting.speed_range),
}


@register.simple_tag
def measured(quantile: Quantile | None, unit: str, most: float) -> SafeString:
    """A table cell: the figure, its whisker, its interval and n. Says so when nothing was measured."""
    if not quantile:  # None, or a template's "" for an attribute of None
        return format_html('<span class="muted">{}</span>', "not measured")
    written = _UNITS[unit]
    return format_html(
        '<span class="measure"><b>{}</b>{}<span class="sub">{}</span></span>',
        written.write(quantile.value),
        svg.whisker(quantile.value, quantile.low, quantile.high, most),
        _interval(quantile, written.write_range),
    )


def _interval(quantile: Quantile, write_range: Callable[[float, float], str]) -> str:
    if quantile.low is None or quantile.high is None:
        return f"n {quantile.n:,}, no interval"
    return f"{write_range(quantile.low, quantile.high)} · n {quantile.n:,}"


@register.simple_tag
def success(share: Share | None, least: float = 0.0) -> SafeString:
    """Never a bare 100 %: without failures the interval says how many there could still be.

    `least` is where the whisker's axis begins, shared by the column.
    """
    if not share:
        return format_html('<span class="muted">{}</span>', "not measured")
    return format_html(
        '<span class="measure"><b>{}</b>{}<span class="sub">{} · n {}</span></span>',
        formatting.percent(share.value),
        svg.whisker(share.value - least, share.low - least, share.high - least, 1.0 - least),
        formatting.percent_range(share.low, share.high),
        formatting.count(share.n),
    )


@register.filter
def share_words(share: Share, verb: str = "failed") -> str:
    """`0 of 100 failed (true rate could be up to 3.7%)`, or the interval where some failed."""
    failed = share.n - share.k
    if failed == 0:
        ceiling = formatting.percent(1 - share.low)
        return f"0 of {share.n:,} {verb} (true rate could be up to {ceiling})"
    return f"{failed:,} of {share.n:,} {verb}; 95% interval {formatting.percent_range(share.low, share.high)}"


@register.simple_tag
def does_not_apply(reason: str) -> SafeString:
    """A dash for a figure that cannot exist, and why."""
    return format_html(
        '<span class="muted" title="{0}">{1}<span class="visually-hidden"> {0}</span></span>',
        reason,
        formatting.EMPTY,
    )


@register.simple_tag
def used(row: RequestRow | ReceiptAttempt) -> SafeString:
    """What a request or an attempt consumed, in the meters that it is counted by."""
    found = model_kinds.used_by(row)
    if lines := model_kinds.words(found):
        return format_html('<span class="used">{}</span>', ", ".join(lines))
    unknown = found.tokens_in is None and found.tokens_out is None and _was_sent(row)
    return format_html('<span class="muted">{}</span>', "unknown" if unknown else "nothing")


def _was_sent(row: RequestRow | ReceiptAttempt) -> bool:
    return not isinstance(row, RequestRow) or row.attempts > 0


@register.simple_tag
def token_sums(row: BreakdownRow) -> SafeString:
    """Of a line of a bill: `120 / 3,400`, or a dash where it was sold by something else."""
    if row.cost_usd and not row.input_tokens and not row.output_tokens:
        return does_not_apply("Not sold by the token")
    return format_html(
        "{} / {}", formatting.tokens(row.input_tokens), formatting.tokens(row.output_tokens)
    )


@register.filter
def meter_unit(meter: str) -> str:
    """`per 1M tokens in`; a second of sound is charged by the second."""
    unit = list_prices.UNITS.get(meter)
    if unit is None:
        return ""
    return "per second of audio" if meter == Meter.AUDIO_SECOND else unit.words


@register.filter
def interval_words(quantile: Quantile, unit: str = "duration") -> str:
    return _interval(quantile, _UNITS[unit].write_range)


@register.filter
def score(value: float) -> str:
    """A policy's own unit: four significant digits, never an exponent."""
    text = f"{Decimal(value):.4g}" if abs(value) >= 1 else f"{Decimal(repr(value)):.4f}"
    return text.replace("-", "\N{MINUS SIGN}")


@register.filter
def money_cents(amount: Decimal) -> str:
    """Bill lines line up: always two decimals, and at least a word for less than a cent."""
    return formatting.money_cents(amount)


@register.filter
def sum_cost(rows: Iterable[BreakdownRow]) -> Decimal:
    return sum((row.cost_usd for row in rows), Decimal(0))


@register.filter
def sum_requests(rows: Iterable[BreakdownRow]) -> int:
    return sum(row.requests for row in rows)


# --- small parts ---------------------------------------------------------------------------------


@register.simple_tag
def badge(text: str, tone: str = "", title: str = "") -> SafeString:
    hint = format_html(' title="{}"', title) if title else _NOTHING
    return format_html('<span class="badge {}"{}>{}</span>', tone, hint, text)


@register.simple_tag
def retirement_badge(row: EndpointFacts) -> SafeString:
    """Some outlive the day that was announced, until the catalog says that they are gone."""
    if row.retires_on is None:
        return _NOTHING
    if row.retires_on > timezone.now().date():
        return badge(f"retires {row.retires_on}", "warn")
    return badge(f"{'was to retire' if row.is_live else 'retired'} {row.retires_on}", "warn")


@register.simple_tag
def outcome_badge(code: str) -> SafeString:
    return badge(words.word(words.OUTCOMES, code), words.OUTCOME_TONES.get(code, ""))


@register.simple_tag
def cost_badge(code: str) -> SafeString:
    return badge(words.word(words.COST_STATUSES, code), words.COST_STATUS_TONES.get(code, ""))


@register.simple_tag
def simulated_badge(is_simulated: bool) -> SafeString:
    if not is_simulated:
        return _NOTHING
    return format_html(
        '<span class="badge lab" title="{}">{}simulated</span>',
        "Answered by the built-in provider simulator, not by the real provider",
        svg.icon("simulated"),
    )


@register.simple_tag
def simulated_mark(is_simulated: bool) -> SafeString:
    """The badge as a small sign, for rows of a table."""
    if not is_simulated:
        return _NOTHING
    return format_html(
        '<span class="mark" title="simulated">{}<span class="visually-hidden">simulated</span></span>',
        svg.icon("simulated"),
    )


_SHOWN = 2


@register.simple_tag
def some(names: Sequence[str]) -> str:
    """`Groq, Together AI +5`."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" +{rest}" if rest > 0 else "")


@register.simple_tag
def lacking(codes: Sequence[str]) -> SafeString:
    """`without Seed, Vision and 2 more`, the rest as a hint."""
    names = [words.word(words.CAPABILITIES, code) for code in codes]
    shown, rest = names[:_SHOWN], names[_SHOWN:]
    more = f" and {len(rest)} more" if rest else ""
    return format_html(
        '<span title="{}">without {}{}</span>', ", ".join(names), ", ".join(shown), more
    )


@register.simple_tag
def yes_no(value: bool) -> SafeString:
    if value:
        return format_html('<span class="yes">{}yes</span>', svg.icon("check"))
    return format_html('<span class="no">{}no</span>', svg.icon("close"))


@register.simple_tag
def dot(name: str) -> SafeString:
    """The colour that stands for this provider or model in every table and chart."""
    return format_html('<span class="dot series-{}" aria-hidden="true"></span>', series_index(name))


@register.filter
def message_icon(tags: str) -> str:
    return {"success": "check", "good": "check"}.get(tags, "warn")


@register.filter
def ago(moment: dt.datetime) -> SafeString:
    seconds = max((timezone.now() - moment).total_seconds(), 0)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S}",
        _ago_words(seconds),
    )


_AGO = ((60, 1, "second"), (3600, 60, "minute"), (86400, 3600, "hour"), (10**12, 86400, "day"))


def _ago_words(seconds: float) -> str:
    for below, size, name in _AGO:
        if seconds < below:
            n = int(seconds // size)
            return f"{n} {name}{'' if n == 1 else 's'} ago"
    return "long ago"


@register.filter
def instant(moment: dt.datetime) -> SafeString:
    return format_html(
        '<time datetime="{}">{}</time>', moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S}"
    )


@register.simple_tag(takes_context=True)
def link_with(context: RequestContext, **changes: Any) -> str:
    """The present address with some GET parameters changed; an empty value takes one away."""
    query: QueryDict = context["request"].GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value not in ("", None):
            query[name] = str(value)
    return "?" + query.urlencode()


@register.simple_tag(takes_context=True)
def sort_head(context: RequestContext, label: str, key: str) -> SafeString:
    """A column head that sorts, its state in the address. `sort` in the context names the column."""
    current = context["sort"]
    mark = svg.icon("down" if current.is_descending else "up") if current.key == key else _NOTHING
    wanted = key if current.key != key or current.is_descending else f"-{key}"
    return format_html('<a href="{}">{}{}</a>', link_with(context, sort=wanted), label, mark)


@register.simple_tag(takes_context=True)
def sort_state(context: RequestContext, key: str) -> SafeString:
    current = context["sort"]
    if current.key != key:
        return _NOTHING
    way = "descending" if current.is_descending else "ascending"
    return format_html(' aria-sort="{}"', way)


@register.simple_tag
def rows_query(dimension: str, row: BreakdownRow, until: str) -> str:
    """The requests behind a line of the month's bill, the hub's own probes among them."""
    values = {"provider": row.slug, "model": row.label}
    asked = {
        "period": "month",
        "kind": "all",
        dimension: values.get(dimension, row.id),
        "until": until,
    }
    return urlencode({name: value for name, value in asked.items() if value})


# --- why this number -----------------------------------------------------------------------------


@register.inclusion_tag("parts/why.html", takes_context=True)
def why(
    context: RequestContext, name: str, n: int | str = "", rows: str = "", api: str = ""
) -> dict[str, Any]:
    """A button that opens what the figure means, over which window and rows, and how to get it."""
    definition = DEFINITIONS[name]
    return {
        "definition": definition,
        "box_id": f"why-{name}-{_next_box(context)}",
        "period": context.get("period"),
        "freshness": context.get("freshness"),
        "n": n,
        "rows": rows,
        "api": api or (reverse(definition.api) if definition.api else ""),
    }


def _next_box(context: RequestContext) -> int:
    request = context["request"]
    request.why_boxes = getattr(request, "why_boxes", 0) + 1
    return int(request.why_boxes)


# --- charts ----------------------------------------------------------------------------------------


@register.inclusion_tag("parts/chart.html")
def chart(figure: Any) -> dict[str, Any]:
    """`figure` is dashboard.charts.Chart: a Plotly figure with its words and its table."""
    return {"chart": figure, "json": _script_json(figure.figure)}


_ESCAPES = {ord(">"): "\\u003E", ord("<"): "\\u003C", ord("&"): "\\u0026"}


def _script_json(document: Mapping[str, Any]) -> SafeString:
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return mark_safe(text.translate(_ESCAPES))  # noqa: S308  # escaped on this line


@register.simple_tag
def joined(items: Iterable[str]) -> SafeString:
    return format_html_join(", ", "{}", ((item,) for item in items))
