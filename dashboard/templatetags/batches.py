"""How states and costs of batches read."""

from __future__ import annotations

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from dashboard import formatting
from dashboard.templatetags.hub import badge, simulated_mark
from routing.selectors.batches import BatchFacts

_NOT_KEPT = "It was begun before the hub kept what batches cost; its requests say it"

register = template.Library()

_STATES = {
    "validating": ("Being read", ""),
    "in_progress": ("In progress", ""),
    "finalizing": ("Being written", ""),
    "completed": ("Completed", "good"),
    "failed": ("Failed", "bad"),
    "expired": ("Expired", "warn"),
    "cancelling": ("Being cancelled", "warn"),
    "cancelled": ("Cancelled", "warn"),
}


@register.simple_tag
def batch_cost(batch: BatchFacts) -> SafeString:
    """Of its answers, with the sign of the simulator; or why there is none."""
    if not batch.is_cost_known:
        return format_html('<span class="muted" title="{}">not known</span>', _NOT_KEPT)
    if batch.cost_usd is None:
        return format_html('<span class="muted">none{}</span>', " yet" if batch.is_open else "")
    return format_html("{} {}", formatting.money(batch.cost_usd), simulated_mark(batch.simulated))


@register.filter
def breakable(path: str) -> SafeString:
    """Broken behind a slash where it is broken at all."""
    return format_html_join(mark_safe("/<wbr>"), "{}", ((part,) for part in path.split("/")))


@register.simple_tag
def batch_badge(status: str) -> SafeString:
    return badge(*_STATES[status])
