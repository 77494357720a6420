"""Anthropic's error envelope."""

from __future__ import annotations

from typing import Any

from routing.adapters.jsonio import dumps
from routing.core.errors import HubError

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_type(status: int) -> str:
    fallback = "invalid_request_error" if 400 <= status < 500 else "api_error"
    return _TYPES.get(status, fallback)


def error_body(error: HubError, request_id: str) -> bytes:
    """`details.error_code` is where Anthropic's clients look for a stable code."""
    details: dict[str, Any] = {"error_code": error.code, **(error.detail or {})}
    if error.param is not None:
        details["param"] = error.param
    told = {"type": error_type(error.status), "message": error.message, "details": details}
    return dumps({"type": "error", "error": told, "request_id": request_id})


def error_event(error: HubError, request_id: str) -> bytes:
    """Ends a stream that broke; no message_stop follows it."""
    return b"event: error\ndata: " + error_body(error, request_id) + b"\n\n"
