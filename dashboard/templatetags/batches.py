"""How the states of batches read."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from dashboard.templatetags.hub import badge

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
def batch_badge(status: str) -> SafeString:
    return badge(*_STATES[status])
