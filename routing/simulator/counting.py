"""Counting a prompt without answering it, where the dialect offers that. It costs nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from routing.simulator import checks
from routing.simulator.asks import Refusal, text_of, wants
from routing.simulator.http11 import Request
from routing.simulator.session import Dialect
from routing.simulator.world import Provider

ENDING = "/count_tokens"
# No part of a prompt: the real one refuses these here.
ANSWER_FIELDS = ("max_tokens", "metadata", "service_tier", "stop_sequences", "stream")
MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def is_count(provider: Provider, request: Request) -> bool:
    counted = f"/{provider.slug}{provider.base_path}{provider.traits.chat_path}{ENDING}"
    return provider.dialect == "anthropic" and request.method == "POST" and request.path == counted


def count(dialect: Dialect, provider: Provider, request: Request) -> dict[str, Any]:
    """Raises Refusal."""
    checks.check_credential(provider, request)
    checks.check_headers(request)
    try:
        body = msgspec.json.decode(request.body, type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise Refusal(400, "the body must be a JSON object", violation=f"body: {exc}") from None
    for name in ANSWER_FIELDS:
        wants(name not in body, f"{name}: Extra inputs are not permitted", param=name)
    checks.check_body(body)
    endpoint = provider.endpoints.get(text_of(body.get("model")))
    if endpoint is None or endpoint.kind != "chat":
        raise Refusal(404, f"model: {body.get('model')}", code="not_found_error")
    try:
        ask = dialect.read(provider, request, {**body, "max_tokens": 1})
    except MALFORMED as exc:
        raise Refusal(400, f"the request is malformed: {exc}") from None
    return {"input_tokens": ask.prompt.token_count()}
