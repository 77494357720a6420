"""The rows of billing/usage: groups of `figures.sums` with their names, walked by key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from analytics.queries import cursors
from analytics.queries.figures import Key, Sums, sums
from analytics.queries.labels import Label, labels_of_each
from analytics.queries.types import Filters, Period

CURRENCY = "USD"
COLUMNS_OF = {
    "day": ("day",),
    "provider": ("provider", "provider_name"),
    "model": ("model",),
    "project": ("project", "project_name"),
    "key": ("key", "key_name"),
}
FIGURE_COLUMNS = (
    "requests",
    "ok",
    "attempts",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "correction_usd",
    "simulated_usd",
    "currency",
)


def page(
    filters: Filters, group_by: Sequence[str], after: Key | None, limit: int
) -> tuple[list[dict[str, Any]], Key | None]:
    """Rows and, when there are more, the key of the last one."""
    found = sums(filters, group_by, after=after, limit=limit + 1)
    keys = list(found)[:limit]
    names = labels_of_each(
        {name: {key[place] for key in keys} for place, name in enumerate(group_by) if name != "day"}
    )
    rows = [_row(group_by, key, names, found[key]) for key in keys]
    return rows, keys[-1] if len(found) > limit else None


def _row(
    group_by: Sequence[str], key: Key, names: dict[str, dict[Any, Label]], group: Sums
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in zip(group_by, key, strict=True):
        row |= _cells(name, value, names)
    return row | {
        "requests": group.requests,
        "ok": group.ok,
        "attempts": group.attempts,
        "input_tokens": group.input_tokens,
        "cache_read_tokens": group.cache_read_tokens,
        "cache_write_tokens": group.cache_write_tokens,
        "output_tokens": group.output_tokens,
        "reasoning_tokens": group.reasoning_tokens,
        "cost_usd": group.cost_usd,
        "correction_usd": group.correction_usd,
        "simulated_usd": group.simulated_usd,
        "currency": CURRENCY,
    }


def _cells(name: str, value: Any, names: dict[str, dict[Any, Label]]) -> dict[str, Any]:
    if name == "day":
        return {"day": value.astimezone(dt.UTC).date()}
    label = names[name][value]
    if name == "model":
        return {"model": label.label}
    if name == "key":
        return {"key": label.id, "key_name": label.label}
    return {name: label.slug, f"{name}_name": label.label}


# --- cursors: they hold the period too, so that a walk does not shift while time goes on -----------


def pack_cursor(period: Period, group_by: Sequence[str], key: Key) -> str:
    position = [value.isoformat() if isinstance(value, dt.datetime) else value for value in key]
    return cursors.pack(
        _purpose(group_by), [period.start.isoformat(), period.end.isoformat(), *position]
    )


def unpack_cursor(cursor: str, group_by: Sequence[str]) -> tuple[Period, Key]:
    """Raises BadCursor."""
    start, end, *position = cursors.unpack(_purpose(group_by), cursor)
    key = tuple(
        dt.datetime.fromisoformat(value) if name == "day" else value
        for name, value in zip(group_by, position, strict=True)
    )
    return Period(dt.datetime.fromisoformat(start), dt.datetime.fromisoformat(end)), key


def _purpose(group_by: Sequence[str]) -> str:
    return f"usage by {','.join(group_by)}"
