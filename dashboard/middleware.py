from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

import psycopg
from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin
from typing_extensions import override
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from dashboard import deadline
from dashboard.views import errors

logger = logging.getLogger(__name__)


@sync_and_async_middleware
def deadline_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[..., Any]:
    """The first of all: whatever reads the database for a request does so within its time."""
    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> Any:
            with deadline.within(deadline.REQUEST_S):
                return await get_response(request)

        return answer_async

    def answer(request: HttpRequest) -> Any:
        with deadline.within(deadline.REQUEST_S):
            return get_response(request)

    return answer


class DatabaseAwayMiddleware(MiddlewareMixin):
    """A page that cannot reach Postgres says so, in one log line and without a traceback."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, OperationalError | InterfaceError | psycopg.OperationalError):
            return None
        logger.warning("%s: the database does not answer: %s", request.path, exception)
        return errors.database_away(request, exception)


class ContentPolicyMiddleware(CSPMiddleware):
    """The admin's widgets evaluate attributes, so its pages alone get a wider policy."""

    @override
    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(reverse("admin:index")):
            parts.replace = {**(parts.replace or {}), **settings.PANELBOARD_ADMIN_CSP}
        return parts


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Files leave whole: Django's asynchronous side warns of each that is to be read in pieces."""

    @staticmethod
    @override
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        content = b""
        if found.file is not None:
            with found.file:
                content = found.file.read()
        response = HttpResponse(content, status=int(found.status))
        del response["content-type"]
        for name, value in found.headers:
            response[name] = value
        return response
