"""Headers and paths that the dialects share."""

from __future__ import annotations

from collections.abc import Callable

from routing.adapters.base import FixedHeaders
from routing.adapters.quirks import Quirks
from routing.core.catalog import Endpoint

MAX_KEPT = 1024  # of headers; a hub has two for each provider and credential
MAX_ID_BYTES = 200
_AUTH_PREFIXES = {"bearer": b"Bearer ", "key": b"Key "}


def quirks_of(endpoint: Endpoint) -> Quirks:
    quirks: Quirks = endpoint.provider.quirks
    return quirks


def request_headers(
    quirks: Quirks, auth: str, secret: str, *, stream: bool, more: FixedHeaders = ()
) -> FixedHeaders:
    """`auth` is bearer, key or header:<name>. The record's extra headers win over ours and `more`.

    The same arguments give the same object, so that a sender can keep what it made of it.
    """
    key = (id(quirks), auth, secret, stream, more)
    kept = _kept.get(key)
    if kept is None:
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        kept = _kept[key] = (quirks, (*_headers(quirks, auth, secret, stream, more).items(),))
    return kept[1]


# The record is kept beside the headers: as long as it lives, nothing else can have its id.
_kept: dict[tuple[int, str, str, bool, FixedHeaders], tuple[Quirks, FixedHeaders]] = {}


def forget_headers() -> None:
    """To be called when credentials may have changed: kept headers hold their secrets."""
    _kept.clear()


def _headers(
    quirks: Quirks, auth: str, secret: str, stream: bool, more: FixedHeaders
) -> dict[bytes, bytes]:
    accept = b"text/event-stream" if stream else b"application/json"
    own = {b"content-type": b"application/json", b"accept": accept}
    if secret:
        name, value = _authorization(auth, secret)
        own[name] = value
    own.update(more)
    for extra_name, extra_value in quirks.extra_headers.items():
        own[extra_name.lower().encode("latin-1")] = extra_value.encode("latin-1")
    return own


def _authorization(auth: str, secret: str) -> tuple[bytes, bytes]:
    kind, _, name = auth.partition(":")
    if kind == "header" and name:
        return name.lower().encode("latin-1"), secret.encode("latin-1")
    prefix = _AUTH_PREFIXES.get(kind, _AUTH_PREFIXES["bearer"])
    return b"authorization", prefix + secret.encode("latin-1")


def request_id_in(endpoint: Endpoint, find: Callable[[bytes], bytes]) -> str:
    """The provider's own id of a request, "" if it sent none.

    `find` is given a line's beginning, b"\\n<name>: ", and gives that header's value or b"".
    """
    quirks: Quirks = endpoint.provider.quirks
    named = _id_lines.get(id(quirks))
    for line in _name_id_lines(quirks) if named is None else named[1]:
        value = find(line)
        if value:
            return value[:MAX_ID_BYTES].decode("latin-1")
    return ""


_id_lines: dict[int, tuple[Quirks, tuple[bytes, ...]]] = {}


def _name_id_lines(quirks: Quirks) -> tuple[bytes, ...]:
    if len(_id_lines) >= MAX_KEPT:
        _id_lines.clear()
    lines = tuple(b"\n%b: " % name.lower().encode("latin-1") for name in quirks.request_id_headers)
    _id_lines[id(quirks)] = quirks, lines
    return lines
