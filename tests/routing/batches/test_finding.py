"""A batch that may have been made is looked for page by page, and no further than it could be."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from routing.batches.providers.registry import WAYS
from routing.batches.providers.ways import MOST_PAGES, Lost

SINCE = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
LOST = Lost("ours", SINCE, 3, frozenset({"id-0-1"}))


class Pages:
    """Listings of two batches a page, each made `step` before the one above it."""

    base = "https://provider.example/v1"

    def __init__(self, shape: Shape, step: dt.timedelta, ours: int) -> None:
        self._shape = shape
        self._step = step
        self._ours = ours
        self.asked: list[str] = []

    async def get(self, path: str) -> dict[str, Any]:
        """What comes after the mark that the path names, which is the number of a page."""
        marks = [value for values in parse_qs(urlsplit(path).query).values() for value in values]
        numbers = [int(mark.rpartition("-")[2]) for mark in marks if mark.startswith("page-")]
        page = numbers[0] if numbers else 0
        self.asked.append(path)
        made_at = SINCE + dt.timedelta(minutes=10) - self._step * page
        return self._shape(page, made_at, page == self._ours)


Shape = Callable[[int, dt.datetime, bool], dict[str, Any]]


def openai(page: int, made_at: dt.datetime, is_ours: bool) -> dict[str, Any]:
    tag, at = "ours" if is_ours else "others", int(made_at.timestamp())
    found = [
        {"id": f"id-{page}-1", "created_at": at},
        {"id": f"page-{page + 1}", "created_at": at, "metadata": {"panelboard": tag}},
    ]
    return {"data": found, "has_more": True}


def anthropic(page: int, made_at: dt.datetime, is_ours: bool) -> dict[str, Any]:
    at, count = made_at.isoformat(), 3 if is_ours else 4
    found = [
        {"id": f"id-{page}-1", "created_at": at, "request_counts": {"processing": 3 - page}},
        {"id": f"page-{page + 1}", "created_at": at, "request_counts": {"succeeded": count}},
    ]
    return {"data": found, "has_more": True}


def gemini(page: int, made_at: dt.datetime, is_ours: bool) -> dict[str, Any]:
    tag = "ours" if is_ours else "others"
    found = [
        {"name": "batches/x", "metadata": {"displayName": "x"}},
        {
            "name": f"page-{page + 1}",
            "metadata": {"displayName": tag, "createTime": made_at.isoformat()},
        },
    ]
    return {"operations": found, "nextPageToken": f"page-{page + 1}"}


each = pytest.mark.parametrize("shape", [openai, anthropic, gemini])


def find(wire: Pages, shape: Shape) -> Any:
    return WAYS[shape.__name__].find(wire, LOST)  # type: ignore[arg-type]


@each
async def test_it_is_found_on_a_later_page(shape: Shape) -> None:
    wire = Pages(shape, dt.timedelta(minutes=1), ours=3)
    assert await find(wire, shape) == "page-4"
    assert len(wire.asked) == 4


@each
async def test_pages_from_before_it_was_submitted_are_not_asked_for(shape: Shape) -> None:
    wire = Pages(shape, dt.timedelta(minutes=6), ours=3)
    assert await find(wire, shape) == ""
    assert len(wire.asked) == 3, "10 and 4 minutes after, then 2 before"


@each
async def test_a_listing_without_end_is_left(shape: Shape) -> None:
    wire = Pages(shape, dt.timedelta(), ours=10**6)
    assert await find(wire, shape) == ""
    assert len(wire.asked) == MOST_PAGES
