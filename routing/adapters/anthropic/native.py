"""A request of Anthropic's own dialect, sent on as its client wrote it."""

from __future__ import annotations

import re
from typing import Any

from routing.adapters.anthropic.citations import without_foreign
from routing.adapters.anthropic.foreign import has_foreign, is_foreign
from routing.adapters.anthropic.messages import is_safe_id, safe_id
from routing.adapters.base import ChatCall, Headers, NativeCall
from routing.adapters.forms import is_a_loss
from routing.adapters.jsonio import dicts_in, dumps, text_of
from routing.adapters.quirks import Quirks
from routing.core.catalog import Endpoint

DIALECT = "anthropic"
VERSION_HEADER = b"anthropic-version"
BETA_HEADER = b"anthropic-beta"
CarriedHeaders = tuple[tuple[bytes, bytes], ...]
_HEADER_VALUE = re.compile(rb"[\x21-\x7e][\x20-\x7e]{0,2000}")
_OF_THE_HUB = ("model", "models", "provider", "stream")
# Each field of a block that names a tool call.
_ID_FIELDS = ("id", "tool_use_id")


def native_of(call: ChatCall) -> NativeCall | None:
    """The client's own words, if they are in this dialect."""
    native = call.native
    return native if native is not None and native.dialect == DIALECT else None


def carried_headers(headers: Headers) -> CarriedHeaders:
    """Those of a client's headers that go to the provider; several betas become one list.

    Credentials and workspaces are the hub's own matter.
    """
    betas = b",".join(value.strip() for name, value in headers if name == BETA_HEADER)
    version = next((value for name, value in headers if name == VERSION_HEADER), b"")
    found = ((VERSION_HEADER, version.strip()), (BETA_HEADER, betas))
    return tuple((name, value) for name, value in found if _HEADER_VALUE.fullmatch(value))


def native_body(
    native: NativeCall, call: ChatCall, endpoint: Endpoint
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body to send, and the names of parameters that this provider does not take."""
    quirks: Quirks = endpoint.provider.quirks
    asked = {**quirks.default_params, **native.body}
    dropped = tuple(name for name in quirks.drop_params if is_a_loss(name, asked.pop(name, None)))
    for name in _OF_THE_HUB:
        asked.pop(name, None)
    body = {"model": endpoint.upstream_model, **asked}
    if isinstance(body.get("messages"), list):
        body["messages"] = _messages(body["messages"])
    if call.stream:
        body["stream"] = True
    return body, dropped


def block_chars(block: dict[str, Any]) -> int:
    """Of text, thinking, and a tool's name and input, whoever runs it."""
    size = sum(len(text_of(block.get(field))) for field in ("text", "thinking", "name"))
    return size + (len(dumps(block["input"])) if block.get("input") else 0)


def _messages(messages: list[Any]) -> list[Any]:
    """Unchanged but for what Anthropic would refuse: other makers' thoughts and call ids."""
    sent = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list) or not _needs_care(content):
            sent.append(message)
            continue
        kept = [_mended(block) for block in content if not _is_foreign(block)]
        if kept:
            sent.append({**message, "content": kept})
    return sent


def _needs_care(content: list[Any]) -> bool:
    blocks = dicts_in(content)
    return has_foreign(content) or any(_unsafe_fields(b) or b.get("citations") for b in blocks)


def _is_foreign(block: Any) -> bool:
    return isinstance(block, dict) and is_foreign(block)


def _unsafe_fields(block: dict[str, Any]) -> list[str]:
    if block.get("type") not in ("tool_use", "tool_result"):
        return []
    return [field for field in _ID_FIELDS if field in block and not is_safe_id(block[field])]


def _mended(block: Any) -> Any:
    if not isinstance(block, dict):
        return block
    block = without_foreign(block)
    return {**block, **{field: safe_id(block[field]) for field in _unsafe_fields(block)}}
