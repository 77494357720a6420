"""Who may open what. Every URL declares a policy; a system check refuses one without.

A view says `@access(MAY_SEE_SPEND)`; a mounted application (the admin, REST) is wrapped in
`guarded_elsewhere(path(...), "how it asks")`. Rows of other organizations are not forbidden but
absent: scopes leave them out, so their ids answer 404.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.contrib.auth.views import redirect_to_login
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, URLResolver, get_resolver

from dashboard import people
from dashboard.views import errors

View = Callable[..., Any]
Route = TypeVar("Route", URLPattern, URLResolver)
_MARK = "panelboard_access"


@dataclass(frozen=True, slots=True)
class Policy:
    """`allows` is asked of a signed-in person; `refusal` tells what to do when it says no."""

    name: str
    allows: Callable[[people.Person], bool]
    needs_login: bool = True
    refusal: str = ""


PUBLIC = Policy("public", lambda person: True, needs_login=False)
SIGNED_IN = Policy("signed in", lambda person: True)
MAY_SEE_SPEND = Policy(
    "sees spend",
    lambda person: person.sees_spend,
    refusal="You are not a member of any organization yet. Ask an owner to add you.",
)
MAY_SEE_REQUESTS = Policy(
    "sees requests",
    lambda person: person.sees_requests,
    refusal="Single requests are for members of a project; billing viewers see sums only. "
    "Ask an owner of the organization for the member role.",
)
MAY_SEND = Policy(
    "sends requests",
    lambda person: bool(person.sending_projects),
    refusal="Sending requests needs a project to book them to. Ask an owner to add you to one.",
)


def access(policy: Policy) -> Callable[[View], View]:
    """Declares and enforces `policy` on a view, plain or async."""

    def decorate(view: View) -> View:
        guarded = _async_guard(view, policy) if iscoroutinefunction(view) else _guard(view, policy)
        setattr(guarded, _MARK, policy.name)
        return guarded

    return decorate


def _guard(view: View, policy: Policy) -> View:
    @functools.wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        refusal = _refuse(request, policy)
        return refusal if refusal is not None else view(request, *args, **kwargs)

    return guarded


def _async_guard(view: View, policy: Policy) -> View:
    @functools.wraps(view)
    async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        refusal = await sync_to_async(_refuse)(request, policy)
        return refusal if refusal is not None else await view(request, *args, **kwargs)

    return guarded


def _refuse(request: HttpRequest, policy: Policy) -> HttpResponseBase | None:
    if not policy.needs_login:
        return None
    if not request.user.is_authenticated:
        if errors.is_for_program(request):
            words = f"{request.path} is a page for people, who log in."
            return errors.told_program(request, 401, "login_required", words)
        return redirect_to_login(request.get_full_path())
    if not policy.allows(people.person_of(request)):
        raise PermissionDenied(policy.refusal)
    return None


def guarded_elsewhere(route: Route, how: str) -> Route:
    """For an application that asks for itself; `how` says with what."""
    setattr(route, _MARK, how)
    return route


@register("security")
def every_url_declares_access(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    return [
        Error(
            f"the URL {where!r} declares no access policy",
            hint="put @access(...) of dashboard.access on its view, "
            "or wrap the route in guarded_elsewhere(...)",
            id="dashboard.E001",
        )
        for where in undeclared(get_resolver().url_patterns)
    ]


def undeclared(routes: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for route in routes:
        where = prefix + str(route.pattern)
        if hasattr(route, _MARK):
            continue
        if isinstance(route, URLResolver):
            yield from undeclared(route.url_patterns, where)
        elif not hasattr(route.callback, _MARK):
            yield where
