"""From an API key to the caller it stands for. The snapshot decides; the database is not asked."""

from __future__ import annotations

import hmac
import re

from routing.adapters.base import Headers
from routing.core.catalog import Caller, Snapshot
from routing.core.errors import HubError

_SHAPE = re.compile(rb"pb_[a-z]{2,12}_[A-Za-z0-9]{20,100}")


def digest_of(token: bytes, pepper: bytes) -> bytes:
    return hmac.digest(pepper, token, "sha256")


def digest_in(headers: Headers, pepper: bytes) -> bytes:
    """Of the key that was sent. Raises HubError 401 when there is none, or none of our shape."""
    token = _token(headers)
    if token is None:
        raise _refused("No API key was sent. Use the header 'Authorization: Bearer pb_live_…'")
    if _SHAPE.fullmatch(token) is None:
        raise _refused()
    return digest_of(token, pepper)


def caller_of(digest: bytes, snapshot: Snapshot, now_unix_s: float, *, is_live: bool) -> Caller:
    """Who the key stands for now.

    Raises HubError 401, or 503 while an unknown key cannot be checked against Postgres.
    """
    caller = snapshot.callers.get(digest)
    if caller is None:
        if not is_live:
            raise HubError(
                503,
                "key_check_unavailable",
                "The hub cannot check this key at the moment. Try again in a few seconds",
                kind="server_error",
                retry_after_s=2.0,
                should_retry=True,
            )
        raise _refused()
    if caller.kind != "traffic":  # the hub's own keys for probes and the playground
        raise _refused()
    if caller.expires_at is not None and now_unix_s >= caller.expires_at:
        raise _refused()
    return caller


def _token(headers: Headers) -> bytes | None:
    """OpenAI's clients send `authorization`, Anthropic's `x-api-key`; the first one counts."""
    for name, value in headers:
        if name == b"authorization":
            return value[7:].strip() if value[:7].lower() == b"bearer " else value
        if name == b"x-api-key":
            return value
    return None


def _refused(message: str = "") -> HubError:
    """One answer for unknown, revoked, expired and malformed keys: it tells a guesser nothing."""
    return HubError(
        401,
        "invalid_api_key",
        message or "The API key is not valid. It may be mistyped, revoked or expired",
        kind="authentication_error",
        should_retry=False,
    )
