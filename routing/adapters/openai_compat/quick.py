"""Building the body of a plain call (see `forms.PLAIN_FIELDS`) without looking at it again.

What a provider's quirks mean for plain fields is worked out once for each record. A property test
holds these bodies to those of `request.build_body`.
"""

from __future__ import annotations

import re

import orjson

from routing.adapters.base import ChatCall
from routing.adapters.forms import PLAIN_FIELDS
from routing.adapters.openai_compat.request import known_params
from routing.adapters.openai_compat.way import Way
from routing.adapters.quirks import Quirks
from routing.core.catalog import Endpoint

MAX_WAYS = 256
_LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_ASKS_USAGE = b',"stream_options":{"include_usage":true}}'

# Writing JSON anew is cheap but for its escapes, so that only long texts full of them (JSON or
# code within JSON) are worth the search that has to come before they are sent as they are; and
# those that are so large that each copy of them holds up everybody else.
SPLICED_FROM_BYTES = 16_384
SPLICED_ANYWAY_BYTES = 2**20
PROBED_BYTES = 2048
PROBED_ESCAPES = 64


_ways: dict[int, Way] = {}


def plain_body(call: ChatCall, endpoint: Endpoint) -> bytes | None:
    """None where the call has to be looked at field by field."""
    quirks = endpoint.provider.quirks
    way = _ways.get(id(quirks))
    if way is None:
        way = _work_out(quirks)
    asked = call.body
    if not way.carried.issuperset(asked):
        return None
    if len(call.raw) >= SPLICED_FROM_BYTES:
        spliced = splice(call, endpoint.upstream_model, way)
        if spliced is not None:
            return spliced
    body = {"model": "", **asked}
    body["model"] = endpoint.upstream_model
    if way.limit and way.other_limit in body:
        if way.limit in body:
            return None
        body[way.limit] = body.pop(way.other_limit)
    if not call.stream:
        body.pop("stream", None)
        body.pop("stream_options", None)
    elif way.asks_usage:
        body["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
    else:
        body.pop("stream_options", None)
    try:
        # Copied: orjson hands out 8 KiB however short the text is, and a stream keeps it to its end.
        return b"".join((orjson.dumps(body), b""))
    except TypeError:  # half a surrogate pair
        return None


def _work_out(quirks: Quirks) -> Way:
    if len(_ways) >= MAX_WAYS:
        _ways.clear()
    limit = "" if quirks.max_tokens_field == "as_sent" else quirks.max_tokens_field
    way = Way(
        quirks=quirks,
        carried=_carried(quirks),
        limit=limit,
        other_limit=_LIMITS.get(limit, ""),
        asks_usage=quirks.usage_mode == "include_usage",
    )
    _ways[id(quirks)] = way
    return way


def _carried(quirks: Quirks) -> frozenset[str]:
    refused = {*quirks.drop_params, *quirks.rename_params}
    sent = {"model", "messages", "stream", "stream_options"}
    if quirks.default_params or refused & {*sent, *_LIMITS}:
        return frozenset()
    known = known_params(quirks) if quirks.strict_unknown else PLAIN_FIELDS
    return (PLAIN_FIELDS & known) - refused


# --- without writing it anew -----------------------------------------------------------------

_MODEL_FIELD = re.compile(rb'"model"\s*:\s*"[^"\\]*"')


def splice(call: ChatCall, model: str, way: Way) -> bytes | None:
    """The body as it was received with another model; None where that will not do or not pay.

    The one `"model"` in it must be the field itself: a second one, also with letters escaped
    (`mod\\u0065l`), could be the one that the provider reads.
    """
    raw = call.raw
    if len(raw) < SPLICED_ANYWAY_BYTES and not _is_full_of_escapes(raw):
        return None
    at = raw.rfind(b'"model"')
    if raw.rfind(b'"model"', 0, max(at, 0)) >= 0 or raw.rfind(b"\\u006") >= 0:
        return None
    field = _MODEL_FIELD.match(raw, at)
    end = _end_of(call, way)
    if field is None or end is None or not raw.startswith(b"{") or not raw.endswith(b"}"):
        return None
    new_field, rest = b'{"model":' + orjson.dumps(model), raw[field.end() : -1]
    if at == 1:
        return b"".join((new_field, rest, end))
    if raw[at - 1 : at] == b",":
        return b"".join((new_field, b",", raw[1 : at - 1], rest, end))
    if raw[at - 2 : at] == b", ":
        return b"".join((new_field, b",", raw[1 : at - 2], rest, end))
    return None


def _is_full_of_escapes(raw: bytes) -> bool:
    middle = len(raw) // 2
    return raw.count(b"\\", middle, middle + PROBED_BYTES) >= PROBED_ESCAPES


def _end_of(call: ChatCall, way: Way) -> bytes | None:
    """What the body has to end with there; None if something before that has to change."""
    asked = call.body
    if way.other_limit in asked or (not call.stream and "stream" in asked):
        return None
    asks = call.stream and way.asks_usage
    if "stream_options" in asked:
        return b"}" if asks and call.wants_usage else None
    return _ASKS_USAGE if asks else b"}"
