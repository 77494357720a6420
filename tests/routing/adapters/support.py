"""Endpoints, calls and recorded bodies for the adapters' tests."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec

from routing.adapters.anthropic.adapter import Anthropic
from routing.adapters.base import Adapter, ChatCall, StreamReader
from routing.adapters.gemini.adapter import Gemini
from routing.adapters.openai_compat.adapter import OpenAICompat
from routing.adapters.quirks import Quirks
from routing.core.catalog import Endpoint
from tests.routing import factories

RECORDED = Path(__file__).resolve().parents[2] / "recorded"
CREATED = 1_790_000_000
ADAPTERS: dict[str, Adapter] = {
    "openai_compat": OpenAICompat(),
    "anthropic": Anthropic(now=lambda: CREATED + 0.5),
    "gemini": Gemini(now=lambda: CREATED + 0.5),
}

# What differs at the providers whose bodies are recorded.
QUIRKS: dict[str, dict[str, Any]] = {
    "openai": {"max_tokens_field": "max_completion_tokens", "developer_role": True},
    "groq": {
        "usage_mode": "always",
        "usage_paths": ("x_groq.usage", "usage"),
        "reasoning_field_out": "reasoning",
    },
    "mistral": {"usage_mode": "finish_chunk"},
    "deepseek": {"ignore_leading_blank": True},
    "openrouter": {
        "usage_mode": "always",
        "cost_path": "usage.cost",
        "reasoning_field_out": "reasoning",
    },
    "xai": {
        "usage_mode": "always",
        "output_includes_reasoning": False,
        "cost_path": "usage.cost_in_usd_ticks",
        "cost_scale": 10**10,
    },
    "together": {"context_statuses": (403,), "credential_statuses": (401,)},
    "nebius": {},
    "moonshot": {"usage_paths": ("choices.0.usage", "usage")},
    "anthropic": {"usage_mode": "events", "auth": "header:x-api-key"},
    "gemini": {"usage_mode": "every_chunk", "auth": "header:x-goog-api-key"},
    "sambanova": {"billing_codes": ("PAYMENT_METHOD_REQUIRED",)},
    "fireworks": {"retryable_codes": ("503",)},
    "novita": {"billing_codes": ("NOT_ENOUGH_BALANCE",)},
    "scaleway": {},
    "cerebras": {},
    "deepinfra": {},
    "hyperbolic": {},
    "edge": {},
}


def recorded(path: str) -> bytes:
    return (RECORDED / path).read_bytes()


def endpoint_of(
    slug: str = "openai",
    upstream_model: str = "up/model",
    max_output_tokens: int | None = None,
    base_url: str = "",
    capabilities: frozenset[str] = frozenset(),
    **quirks: Any,
) -> Endpoint:
    dialect = slug if slug in ("anthropic", "gemini") else "openai_compat"
    home = factories.provider(
        slug, 1, base_url, Quirks(**{**QUIRKS.get(slug, {}), **quirks}), dialect=dialect
    )
    made = factories.endpoint(
        slug, 1, at=home, max_output_tokens=max_output_tokens, capabilities=capabilities
    )
    return msgspec.structs.replace(made, upstream_model=upstream_model)


def plain_endpoint(**quirks: Any) -> Endpoint:
    """An OpenAI-compatible provider with just these quirks."""
    return endpoint_of("acme", **quirks)


def adapter_of(endpoint: Endpoint) -> Adapter:
    return ADAPTERS[endpoint.provider.dialect]


def call_of(*, stream: bool = False, wants_usage: bool = False, **body: Any) -> ChatCall:
    whole = {"model": "asked/model", "messages": [{"role": "user", "content": "hi"}], **body}
    return ChatCall(body=whole, stream=stream, wants_usage=wants_usage)


def sent_body(endpoint: Endpoint, **body: Any) -> dict[str, Any]:
    built = adapter_of(endpoint).build(call_of(**body), endpoint, "secret")
    parsed: dict[str, Any] = json.loads(built.body)
    return parsed


def dropped_by(endpoint: Endpoint, **body: Any) -> tuple[str, ...]:
    return adapter_of(endpoint).build(call_of(**body), endpoint, "secret").dropped


def open_stream(endpoint: Endpoint, *, wants_usage: bool = False, **body: Any) -> StreamReader:
    call = call_of(stream=True, wants_usage=wants_usage, **body)
    return adapter_of(endpoint).open_stream(call, endpoint)


def read_all(reader: StreamReader, data: bytes, slices: list[int] | None = None) -> bytes:
    """Everything the client would get; `slices` are the places to cut `data` at."""
    places = [0, *sorted(slices or []), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    return b"".join(reader.feed(piece) for piece in pieces) + reader.close()


def chunks_in(client_bytes: bytes) -> list[dict[str, Any]]:
    """The JSON events of a client stream, without [DONE]."""
    lines = client_bytes.split(b"\n\n")
    events = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
    return [json.loads(event) for event in events if event != b"[DONE]"]


def message_in(client_bytes: bytes, index: int = 0) -> dict[str, Any]:
    """Puts a stream together as clients do: text, reasoning, tool calls by index, finish."""
    message: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": {}}
    for chunk in chunks_in(client_bytes):
        for choice in chunk["choices"]:
            if choice["index"] == index:
                _add_delta(message, choice["delta"])
                message["finish"] = choice["finish_reason"] or message.get("finish")
    message["tool_calls"] = [message["tool_calls"][i] for i in sorted(message["tool_calls"])]
    return message


def _add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for field in ("content", "reasoning_content"):
        message[field] += delta.get(field) or ""
    message.setdefault("reasoning_details", []).extend(delta.get("reasoning_details") or [])
    for call in delta.get("tool_calls") or []:
        known = message["tool_calls"].setdefault(call["index"], {"id": "", "name": "", "args": ""})
        known["id"] += call.get("id") or ""
        known["name"] += call["function"].get("name") or ""
        known["args"] += call["function"].get("arguments") or ""
        if "extra_content" in call:
            known["extra_content"] = call["extra_content"]
