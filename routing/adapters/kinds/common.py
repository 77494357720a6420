"""What the adapters of all kinds share: one request, one whole answer, no streams."""

from __future__ import annotations

from typing import Any

import msgspec
from typing_extensions import override

from routing.adapters import errors
from routing.adapters.base import ChatCall, Headers, StreamReader
from routing.adapters.forms import is_a_loss, refuse
from routing.adapters.wire import quirks_of, request_headers
from routing.core.catalog import Endpoint
from routing.core.pricing import quantities
from routing.core.usage import Meter, Usage


class WholeAnswers(errors.UsualErrors):
    """`build` and `read_reply` are left to each kind."""

    @override
    def open_stream(self, call: ChatCall, endpoint: Endpoint) -> StreamReader:
        refuse(endpoint, "stream", f"has no streams for requests of the kind {call.kind}")


def sent_body(call: ChatCall, endpoint: Endpoint) -> tuple[dict[str, Any], list[str]]:
    """The client's body with the provider's name of the model, and what was left out of it."""
    refused = quirks_of(endpoint).kind_drop_params.get(call.kind, ())
    body = {name: value for name, value in call.body.items() if name not in refused}
    body["model"] = endpoint.upstream_model
    return body, [name for name in refused if is_a_loss(name, call.body.get(name))]


def headers_for(
    endpoint: Endpoint,
    secret: str,
    content_type: bytes = b"application/json",
    accept: bytes = b"application/json",
    auth: str = "",
) -> Headers:
    quirks = quirks_of(endpoint)
    usual = request_headers(quirks, auth or quirks.auth, secret, stream=False)
    own = {b"content-type": content_type, b"accept": accept}
    return [(name, own.get(name, value)) for name, value in usual]


_NOTHING_USED: dict[Meter, dict[str, int | None]] = {
    Meter.INPUT: {"input_total": 0, "cache_read": None},
    Meter.OUTPUT: {"output_total": 0},
    Meter.IMAGE: {"images": None},
    Meter.AUDIO_SECOND: {"audio_seconds": None},
    Meter.SEARCH: {"searches": None},
    Meter.CHARACTER: {"characters": None},
    Meter.PIXEL: {"pixels": None},
}


def as_billed(usage: Usage, endpoint: Endpoint) -> Usage:
    """Only the quantities that the endpoint has prices for, where it has one for any of them.

    The same answer is told in several units (an image in pieces, pixels and tokens); a provider
    bills one of them, and the others must not look like something that nobody has priced.
    """
    priced = {row.meter for row in endpoint.prices.rows}
    if not priced & quantities(usage).keys():
        return usage
    unset: dict[str, Any] = {}
    for meter, fields in _NOTHING_USED.items():
        if meter not in priced:
            unset |= fields
    return msgspec.structs.replace(usage, **unset)
