"""Errors as RFC 9457 problems: what is wrong, where, and what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import Http404, HttpResponse, JsonResponse
from rest_framework import exceptions

from analytics.queries.cursors import BadCursor

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
_CODES = {
    400: "invalid_request",
    401: "not_authenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    415: "unsupported_media_type",
    429: "too_many_requests",
    503: "database_unavailable",
}
_UNSIGNED = (
    "Send an access token as: Authorization: Bearer pb_rest_… The first start printed one; "
    "an administrator makes more."
)
_TITLES = {
    400: "The request cannot be understood",
    401: "A valid access token is needed",
    403: "This token may not do that",
    404: "There is no such thing here",
    405: "This address does not take that method",
    406: "That format is not offered",
    503: "The database does not answer",
}


def problem_response(exc: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """DRF's exception handler. None (a plain 500) only for what nobody foresaw."""
    if isinstance(exc, BadCursor):
        return problem(400, str(exc), errors=[{"field": "cursor", "message": str(exc)}])
    if isinstance(exc, Http404):
        return problem(404, str(exc) or "Not found.")
    if isinstance(exc, PermissionDenied):
        return problem(403, str(exc) or "Not allowed.")
    if isinstance(exc, DatabaseError):
        logger.warning("REST: the database does not answer: %s", exc)
        return problem(503, "Try again in a few seconds.", headers={"Retry-After": "5"})
    if isinstance(exc, exceptions.MethodNotAllowed):
        return problem(405, f"It takes {' and '.join(_methods(context))}.")
    if isinstance(exc, exceptions.APIException):
        return _of_api_exception(exc)
    return None


def _methods(context: Mapping[str, Any]) -> list[str]:
    return [method for method in context["view"].allowed_methods if method != "OPTIONS"]


def problem(
    status: int,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(status, "The request failed"),
        "status": status,
        "code": _CODES.get(status, "error"),
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers)


def _of_api_exception(exc: exceptions.APIException) -> HttpResponse:
    headers: dict[str, str] = {}
    if challenge := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if isinstance(exc, exceptions.ValidationError):
        errors = list(_field_errors(exc.detail))
        detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
        return problem(exc.status_code, detail, errors=errors, headers=headers)
    words = _UNSIGNED if isinstance(exc, exceptions.NotAuthenticated) else str(exc.detail)
    return problem(exc.status_code, words, headers=headers)


def _field_errors(detail: Any) -> Iterator[dict[str, str]]:
    if not isinstance(detail, Mapping):
        detail = {"request": detail}
    for field, messages in detail.items():
        for message in messages if isinstance(messages, list) else [messages]:
            yield {"field": str(field), "message": str(message)}
