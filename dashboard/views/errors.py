"""Pages for what went wrong, in plain words. None of them reads the database."""

from __future__ import annotations

import sys

import psycopg
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

_AWAY = (OperationalError, InterfaceError, psycopg.OperationalError)
RETRY_AFTER_S = 5


def is_for_program(request: HttpRequest) -> bool:
    """A client of the API that was given a wrong address cannot read a page."""
    accepted = request.headers.get("accept", "")
    asks = request.method not in ("GET", "HEAD") or "json" in accepted or request.path == "/v1"
    return asks and "text/html" not in accepted


def told_program(request: HttpRequest, status: int, code: str, words: str) -> HttpResponse:
    """In the envelope that OpenAI's clients read."""
    api = request.build_absolute_uri("/v1")
    error = {
        "message": f"{words} The API is at {api}: make that the base URL of your client.",
        "type": "invalid_request_error",
        "param": None,
        "code": code,
    }
    return JsonResponse({"error": error}, status=status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_for_program(request):
        words = f"There is nothing at {request.method} {request.path}."
        return told_program(request, 404, "unknown_url", words)
    words = str(exception.args[0]) if exception.args else ""
    if not isinstance(exception.args[0] if exception.args else "", str):
        words = ""  # the resolver's own account of every URL it tried
    return _shown(
        request,
        404,
        "There is nothing here",
        words or "This address leads to no page of the hub.",
        "Check it for a slip, or start again from the overview.",
    )


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    words = str(exception) or "Your account may not open this page."
    return _shown(request, 403, "Not for this account", words, "")


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _shown(
        request,
        403,
        "This form is too old",
        "The form was made in another session, or your browser did not send the hub's cookie.",
        "Go back, reload the page, and send it again. If the hub runs behind another address, set "
        "PANELBOARD_TRUSTED_ORIGINS to it.",
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Also where Django brings what middleware raised, so a lost database is told apart here."""
    error = sys.exc_info()[1]
    if isinstance(error, _AWAY):
        return database_away(request, error)
    return _shown(
        request,
        500,
        "Something went wrong on our side",
        "The hub could not make this page. It is written down in the web process's log.",
        "Requests to /v1/ are not affected. Try again, or look at the log of `web`.",
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _shown(
        request,
        400,
        "That request cannot be read",
        "The hub does not accept this host name, or the request is malformed.",
        "If you reached the hub by a new name, add it to PANELBOARD_ALLOWED_HOSTS.",
    )


def database_away(request: HttpRequest, error: BaseException) -> HttpResponse:
    if _was_too_slow(error):
        response = _shown(
            request,
            503,
            "That took too long",
            "The database did not answer within its time limit, so the hub gave up on this page.",
            "Choose a shorter period, or try again in a moment. Requests to /v1/ are not affected.",
        )
    else:
        response = _shown(
            request,
            503,
            "Postgres cannot be reached",
            "Pages read from Postgres, and it does not answer. Traffic is still served: requests "
            "with known keys are routed from memory, and their records wait on disk until Postgres "
            "is back. Nothing is lost.",
            "Look at the log of `postgres`, or at DATABASE_URL. This page tries again by itself.",
        )
        response["Refresh"] = str(RETRY_AFTER_S)
    response["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _was_too_slow(error: BaseException) -> bool:
    causes = (error, error.__cause__)
    return any(
        isinstance(cause, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable)
        for cause in causes
    )


def _shown(request: HttpRequest, status: int, title: str, words: str, hint: str) -> HttpResponse:
    context = {"heading": title, "words": words, "hint": hint, "status": status}
    response = render(request, "pages/error.html", context, status=status)
    response["Cache-Control"] = "no-store"
    return response
