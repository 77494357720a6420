"""How each provider words an error. One function per shape; personas name the one they use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec


class Trouble(msgspec.Struct, frozen=True):
    status: int
    message: str
    kind: str = ""
    code: str | None = None
    param: str | None = None
    request_id: str = ""
    retry_after: str = ""


Envelope = Callable[[Trouble], Any]

# status -> (OpenAI's type, OpenAI's code, message)
_USUAL: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request is invalid."),
    401: ("authentication_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("billing_error", "insufficient_balance", "Insufficient balance. Please add credits."),
    403: ("permission_error", "permission_denied", "This key may not use the resource."),
    404: ("not_found_error", "model_not_found", "The model does not exist."),
    408: ("timeout_error", "request_timeout", "The request timed out."),
    409: ("conflict_error", "conflict", "The resource is locked."),
    410: ("not_found_error", "model_deprecated", "The model was retired."),
    413: ("invalid_request_error", "request_too_large", "The request is too large."),
    422: ("invalid_request_error", "unprocessable_entity", "The request could not be processed."),
    429: ("rate_limit_error", "rate_limit_exceeded", "Rate limit reached. Please slow down."),
    498: ("rate_limit_error", "capacity_exceeded", "Flex capacity exceeded."),
    500: ("server_error", "internal_error", "The server had an error."),
    502: ("server_error", "bad_gateway", "Bad gateway."),
    503: ("server_error", "service_unavailable", "The model is overloaded."),
    504: ("server_error", "gateway_timeout", "The upstream timed out."),
    529: ("overloaded_error", "overloaded", "Overloaded."),
}
_ANTHROPIC = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_GOOGLE_RPC = "type.googleapis.com/google.rpc"
_GOOGLE = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def complete(trouble: Trouble) -> Trouble:
    """Fill what is unset with the usual words for the status."""
    fallback = "server_error" if trouble.status >= 500 else "invalid_request_error"
    kind, code, message = _USUAL.get(trouble.status, (fallback, None, "The request failed."))
    return msgspec.structs.replace(
        trouble,
        kind=trouble.kind or kind,
        code=code if trouble.code is None and not trouble.kind else trouble.code,
        message=trouble.message or message,
    )


def _openai(t: Trouble) -> Any:
    return {"error": {"message": t.message, "type": t.kind, "param": t.param, "code": t.code}}


def _anthropic(t: Trouble) -> Any:
    fallback = "api_error" if t.status >= 500 else "invalid_request_error"
    kind = _ANTHROPIC.get(t.status, fallback)
    error: dict[str, Any] = {"type": kind, "message": t.message}
    if t.code == "enforced_spend_limit_reached":
        error["details"] = {"error_code": t.code}
    return {"type": "error", "error": error, "request_id": t.request_id}


def _google(t: Trouble) -> Any:
    # Google answers a bad key with 400, not 401.
    status = 400 if t.status == 401 else t.status
    error: dict[str, Any] = {
        "code": status,
        "message": "API key not valid." if t.status == 401 else t.message,
        "status": _GOOGLE.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT"),
    }
    details = []
    if t.status == 401:
        details.append({"@type": f"{_GOOGLE_RPC}.ErrorInfo", "reason": "API_KEY_INVALID"})
    if t.retry_after:
        details.append({"@type": f"{_GOOGLE_RPC}.RetryInfo", "retryDelay": f"{t.retry_after}s"})
    return {"error": error | ({"details": details} if details else {})}


def _groq(t: Trouble) -> Any:
    return {"error": {"message": t.message, "type": t.kind, "code": t.code}}


def _together(t: Trouble) -> Any:
    return {"id": t.request_id, **_openai(t)}


def _fireworks(t: Trouble) -> Any:
    code = t.code or t.kind
    return {"error": {"object": "error", "type": t.kind, "code": code, "message": t.message}}


def _flat(t: Trouble) -> Any:
    return {"message": t.message, "type": t.kind, "param": t.param, "code": t.code}


def _mistral(t: Trouble) -> Any:
    if t.status == 422:
        where = ["body", *([t.param] if t.param else [])]
        return {"detail": [{"type": "extra_forbidden", "loc": where, "msg": t.message}]}
    return {"object": "error", **_flat(t)}


def _sambanova(t: Trouble) -> Any:
    return {**_openai(t), "request_id": t.request_id}


def _novita(t: Trouble) -> Any:
    reason = (t.code or t.kind).upper()
    return {"code": t.status, "reason": reason, "message": t.message, "metadata": {}}


def _message(t: Trouble) -> Any:
    return {"message": t.message}


def _detail(t: Trouble) -> Any:
    return {"detail": t.message}


def _detail_error(t: Trouble) -> Any:
    return {"detail": {"error": t.message}}


def _error_string(t: Trouble) -> Any:
    return {"error": t.message}


def _xai(t: Trouble) -> Any:
    return {"code": t.code or t.kind, "error": t.message}


def _zai(t: Trouble) -> Any:
    return {"error": {"code": t.code or str(t.status), "message": t.message}}


def _minimax(t: Trouble) -> Any:
    error = {"type": t.kind, "message": t.message, "http_code": str(t.status)}
    return {"type": "error", "error": error, "request_id": t.request_id}


ENVELOPES: dict[str, Envelope] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "google": _google,
    "groq": _groq,
    "together": _together,
    "fireworks": _fireworks,
    "flat": _flat,
    "mistral": _mistral,
    "sambanova": _sambanova,
    "novita": _novita,
    "message": _message,
    "detail": _detail,
    "detail_error": _detail_error,
    "error_string": _error_string,
    "xai": _xai,
    "zai": _zai,
    "minimax": _minimax,
}


def envelope(name: str, trouble: Trouble) -> Any:
    return ENVELOPES[name](complete(trouble))


def status_on_wire(name: str, status: int) -> int:
    """Google says 400 where others say 401."""
    return 400 if name == "google" and status == 401 else status


def stream_error(name: str, trouble: Trouble) -> dict[str, Any]:
    """The error object inside a stream: always under an `error` key."""
    whole = complete(trouble)
    body = ENVELOPES[name](whole)
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return body
    if name == "flat":
        return {"error": body, "status_code": whole.status}
    return {"error": {"message": whole.message, "type": whole.kind, "code": whole.status}}
