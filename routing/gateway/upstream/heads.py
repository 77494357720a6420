"""What both clients accept as the head of an answer."""

from __future__ import annotations

from routing.adapters.base import Headers, header
from routing.core.errors import BrokenAnswer

MAX_HEAD_BYTES = 2**16
MAX_HEADERS = 100

_IDENTITY = (b"", b"identity")


def broken(host: str, code: str, reason: str, status: int | None = None) -> BrokenAnswer:
    return BrokenAnswer(code, f"{host}: unusable answer: {reason}", status=status)


def head_too_large(host: str) -> BrokenAnswer:
    return broken(host, "headers_too_large", f"a head of more than {MAX_HEAD_BYTES} bytes")


def head_fault(host: str, status: int, headers: Headers) -> BrokenAnswer | None:
    if not 200 <= status < 600:
        return broken(host, "malformed", f"status {status}")
    if len(headers) > MAX_HEADERS:
        return broken(host, "headers_too_large", f"more than {MAX_HEADERS} headers")
    framing = []
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() not in _IDENTITY:
            return broken(host, "encoded", "compressed, though identity was asked for", status)
        if name in (b"content-length", b"transfer-encoding"):
            framing.append((name, value.strip().lower()))
    if any(name == b"transfer-encoding" and value != b"chunked" for name, value in framing):
        return broken(host, "malformed", "a transfer-encoding other than chunked", status)
    if len(set(framing)) > 1:
        return broken(host, "malformed", "more than one length", status)
    return None


def size_of(headers: Headers) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def ends_with_connection(headers: Headers) -> bool:
    """Nothing in the head tells the body's length."""
    return not header(headers, b"content-length") and not header(headers, b"transfer-encoding")
