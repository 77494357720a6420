"""The headers that the hub adds to answers."""

from __future__ import annotations

from functools import lru_cache

from routing.adapters.base import Headers
from routing.gateway.fixed_headers import FixedHeaders

STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
JSON_TYPE = b"application/json"
MAX_HEADER_CHARS = 2048


@lru_cache(maxsize=4096)
def fixed_headers(
    stream: bool,
    provider: str,
    model: str,
    policy: str,
    attempts: int,
    dropped: tuple[str, ...],
    simulated: bool,
    content_type: bytes = JSON_TYPE,
) -> FixedHeaders:
    """What answers of one endpoint under one policy have in common."""
    headers = [
        *(STREAM_HEADERS if stream else ((b"content-type", content_type),)),
        (b"x-panelboard-provider", _header_text(provider)),
        (b"x-panelboard-model", _header_text(model)),
        (b"x-panelboard-policy", _header_text(policy)),
        (b"x-panelboard-attempts", b"%d" % attempts),
    ]
    if dropped:
        named = _shortened(",".join(dropped))
        headers.append((b"x-panelboard-dropped-params", _header_text(named)))
    if simulated:
        headers.append((b"x-panelboard-simulated", b"true"))
    return FixedHeaders(headers)


def _shortened(text: str) -> str:
    """Clients and proxies refuse heads that are too long; the receipt has all of it."""
    return text if len(text) <= MAX_HEADER_CHARS else f"{text[: MAX_HEADER_CHARS - 3]}..."


def _header_text(text: str) -> bytes:
    """Nothing in a header value may end the line: names come from files, people and clients."""
    return "".join(c if " " <= c <= "~" else "?" for c in text).encode()
