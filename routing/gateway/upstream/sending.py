"""What both clients do alike when they send and when a connection cannot be made."""

from __future__ import annotations

import ssl
from math import inf

from routing.adapters.base import Headers
from routing.core.errors import BrokenAnswer, ConnectFailed

STALE_WINDOW_S = 1.0
"""A kept connection that the provider has closed shows it at once; later, the request may be lost."""

OWN_HEADERS = frozenset(
    (
        b"host",
        b"connection",
        b"content-length",
        b"transfer-encoding",
        b"accept-encoding",
        b"expect",
        b"te",
        b"upgrade",
    )
)


def after(start: float, limit_s: float) -> float:
    """The moment a limit is reached; never, for a limit of zero."""
    return start + limit_s if limit_s else inf


def has_body(method: str, body: bytes) -> bool:
    return bool(body) or method not in ("GET", "HEAD", "DELETE")


def bad_header() -> ConnectFailed:
    return ConnectFailed(
        "a request header holds a line break; check the provider's credential and settings"
    )


def check_headers(headers: Headers) -> None:
    """Raises ConnectFailed for what could begin another header."""
    for pair in headers:
        if any(mark in part for part in pair for mark in (b"\r", b"\n", b"\0")):
            raise bad_header()


def too_large(limit_bytes: int, status: int) -> BrokenAnswer:
    message = f"the answer is larger than {limit_bytes} bytes"
    return BrokenAnswer("too_large", message, status=status)


def connect_problem(problem: BaseException | None) -> str:
    """Why no connection came about, in words for the log and the receipt."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"the server's certificate is not valid for this name ({problem.verify_message})"
    if isinstance(problem, ssl.SSLError):
        return f"TLS failed ({problem.reason or problem})"
    if isinstance(problem, OSError):
        return f"cannot connect ({problem.strerror or problem})"
    return f"cannot connect ({problem})" if problem else "no address"
