"""What the hub must never send to a provider. Each finding is a violation in the journal."""

from __future__ import annotations

import secrets
from typing import Any

from routing.simulator.asks import Ask, Refusal
from routing.simulator.http11 import Request
from routing.simulator.world import Endpoint, Provider

HUB_FIELDS = ("provider", "models", "panelboard")
FORBIDDEN_HEADERS = (b"cookie", b"forwarded", b"x-forwarded-for", b"x-real-ip")
OWN_COOKIE = b"__edge=1"  # set by every answer, as providers behind a CDN do; may come back
HUB_HEADER_PREFIX = b"x-panelboard-"
CREDENTIAL_HEADERS = (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")
_OWN_HEADER = {"anthropic": b"x-api-key", "gemini": b"x-goog-api-key"}
_PREFIX = {"bearer": "Bearer ", "key": "Key "}


def credential_header(provider: Provider) -> tuple[bytes, str]:
    """(header name, prefix before the key)"""
    auth = provider.traits.auth
    if auth.startswith("header:"):
        return auth.removeprefix("header:").strip().lower().encode(), ""
    own = _OWN_HEADER.get(provider.dialect)
    return (own, "") if own else (b"authorization", _PREFIX.get(auth, "Bearer "))


def check_credential(provider: Provider, request: Request) -> None:
    """Raises Refusal 401."""
    name, prefix = credential_header(provider)
    if provider.dialect == "anthropic" and not request.has_header(name):
        name, prefix = b"authorization", _PREFIX["bearer"]  # its own SDK sends either
    sent = request.header(name)
    if not secrets.compare_digest(sent.encode(), (prefix + provider.key).encode()):
        problem = "no credential" if not sent else "wrong credential"
        if sent.removeprefix(prefix).startswith("pb_"):
            problem = "the client's own key was passed on"
        raise Refusal(401, "", violation=f"{problem} in {name.decode()}")
    for other in CREDENTIAL_HEADERS:
        if other != name and request.has_header(other):
            raise Refusal(
                401, "", violation=f"a second credential in {other.decode()} beside {name.decode()}"
            )


def check_headers(request: Request) -> None:
    check_private_headers(request)
    content_type = request.header(b"content-type").split(";")[0].strip().lower()
    if content_type != "application/json":
        message = "Content-Type must be application/json"
        raise Refusal(415, message, violation=f"content type {content_type or 'missing'}")


def check_private_headers(request: Request) -> None:
    """Whatever the body is: nothing that belongs to the hub or its client, nothing compressed."""
    for name, value in request.headers:
        own_cookie = name == b"cookie" and value == OWN_COOKIE
        forbidden = name in FORBIDDEN_HEADERS or name.startswith(HUB_HEADER_PREFIX)
        if forbidden and not own_cookie:
            raise _forbidden(f"header {name.decode('latin-1')}")
    if request.header(b"content-encoding") not in {"", "identity"}:
        raise Refusal(415, "compressed bodies are not read", violation="compressed body")


def check_body(body: dict[str, Any]) -> None:
    for name in body:
        if name in HUB_FIELDS or name.startswith("x-panelboard"):
            raise _forbidden(f"field {name}")


def _forbidden(what: str) -> Refusal:
    return Refusal(
        400,
        f"Unrecognized request argument supplied: {what}",
        kind="invalid_request_error",
        violation=f"{what} belongs to the hub or its client",
    )


def check_endpoint(provider: Provider, endpoint: Endpoint, ask: Ask) -> None:
    """What this model cannot do. Not a violation: the client may have asked for it by name."""
    needs = (
        (bool(ask.tools), endpoint.can("tools"), "tools"),
        (ask.prompt.images > 0, endpoint.sees_images, "image input"),
        (ask.schema is not None, endpoint.can("structured_output"), "a response schema"),
        (
            ask.json_object and ask.schema is None,
            endpoint.can("json_mode") or endpoint.can("structured_output"),
            "JSON mode",
        ),
    )
    for needed, offered, what in needs:
        if needed and not offered:
            raise Refusal(400, f"{ask.model} does not support {what}", kind="invalid_request_error")
    wanted = ask.prompt.token_count() + (ask.max_tokens or 0)
    if endpoint.context_window is not None and wanted > endpoint.context_window:
        raise Refusal(
            provider.persona.context_status,
            f"This model's maximum context length is {endpoint.context_window} tokens,"
            f" however you requested {wanted} tokens.",
            code="context_length_exceeded",
            kind="invalid_request_error",
            param="messages",
        )
