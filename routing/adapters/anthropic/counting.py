"""Asking a provider of the dialect how many tokens a prompt is. It bills nothing for that."""

from __future__ import annotations

import msgspec

from routing.adapters import errors
from routing.adapters.anthropic.adapter import Anthropic
from routing.adapters.base import BuiltRequest, ChatCall
from routing.adapters.jsonio import BadJson, dict_of, loads
from routing.adapters.usage import count
from routing.core.catalog import Endpoint

_NOT_COUNTED = ("max_tokens", "metadata", "service_tier", "stop_sequences")
_SAMPLING = ("temperature", "top_k", "top_p")


def build_count(call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
    """`call.native` is the client's request. Its limits and sampling are not part of a prompt."""
    native = call.native
    if native is not None:
        left_out = {*_NOT_COUNTED, *_SAMPLING}
        body = {name: value for name, value in native.body.items() if name not in left_out}
        call = msgspec.structs.replace(call, native=msgspec.structs.replace(native, body=body))
    built = Anthropic().build(msgspec.structs.replace(call, stream=False), endpoint, secret)
    return msgspec.structs.replace(built, path=f"{built.path}/count_tokens")


def read_count(body: bytes) -> int:
    """Raises UpstreamError when the answer holds no count."""
    try:
        found = count(dict_of(loads(body)).get("input_tokens"))
    except BadJson:
        found = None
    if found is None:
        raise errors.not_an_answer(body)
    return found
