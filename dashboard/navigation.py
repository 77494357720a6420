"""The frame around each page: the rail's links and who is signed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse


@dataclass(frozen=True, slots=True)
class Link:
    label: str
    url: str
    icon: str
    is_current: bool
    is_page: bool  # the page itself, rather than one below it


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    links: tuple[Link, ...]


_GROUPS = (
    (
        "Decide",
        (
            ("Compare", "compare", "compare"),
            ("Models", "models", "models"),
            ("Providers", "providers", "providers"),
            ("Policies", "policies", "policies"),
            ("Playground", "playground", "playground"),
        ),
    ),
    (
        "Operate",
        (
            ("Overview", "overview", "overview"),
            ("Requests", "requests", "requests"),
            ("Batches", "batches", "batches"),
        ),
    ),
    ("Pay", (("Spend", "spend", "spend"),)),
)
_FOOT = (("API keys", "keys", "keys"), ("API docs", "api-docs", "docs"))


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor. Lazy: error pages that use no frame cost nothing."""
    return {"frame": Frame(request)}


class Frame:
    """Read by templates only; asking for the user may cost a query, so it waits until asked."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(
            Group(title, tuple(self._link(*link) for link in links)) for title, links in _GROUPS
        )

    @property
    def foot(self) -> tuple[Link, ...]:
        links = tuple(self._link(*link) for link in _FOOT)
        if self._request.user.is_staff:
            links += (self._link("Admin", "admin:index", "admin"),)
        return links

    @property
    def user_name(self) -> str:
        return self._request.user.get_username()

    def _link(self, label: str, name: str, icon: str) -> Link:
        url, here = reverse(name), self._request.path
        is_page = here == url
        return Link(label, url, icon, is_page or (url != "/" and here.startswith(url)), is_page)
