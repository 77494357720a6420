"""What requests of all kinds but chat share: the call to send on, and the facts to route by."""

from __future__ import annotations

from typing import Any

from routing.adapters.base import ChatCall
from routing.core.catalog import Snapshot
from routing.core.kinds import check_kind, model_kind
from routing.core.names import find_model, resolve, unknown_fallback
from routing.core.request import RequestFacts
from routing.gateway.parse import MAX_FALLBACK_MODELS
from routing.gateway.preferences import MAX_NAME_CHARS, bad_request, names_of, preferences_in

STREAM = "stream"  # the capability
Parsed = tuple[ChatCall, RequestFacts]


def call_of(
    body: dict[str, Any], raw: bytes, kind: str, *, stream: bool = False, **more: Any
) -> ChatCall:
    return ChatCall(body, stream=stream, wants_usage=False, raw=raw, kind=kind, **more)


def facts_of(
    body: dict[str, Any], snapshot: Snapshot, kind: str, streamed_by: str = "", **known: Any
) -> RequestFacts:
    """`streamed_by` is the parameter that asks for events, "" where none are asked for."""
    requested = _model_name(body)
    preferences = preferences_in(body, snapshot)
    fallbacks = _fallbacks(body.pop("models", None), kind, snapshot)
    found = resolve(requested, snapshot)
    check_kind(found.model, kind, snapshot)
    known = {"output_tokens": 0, **known}
    if streamed_by:
        _check_streams((found.model, *fallbacks), snapshot, streamed_by)
        known |= {"stream": True, "needs": known.get("needs", frozenset()) | {STREAM}}
    return RequestFacts(
        requested_model=requested,
        model=found.model,
        objective=found.objective,
        pinned_provider=found.pinned_provider,
        policy_name=found.policy_name,
        parameters=frozenset(body) if preferences.require_parameters else frozenset(),
        preferences=preferences,
        fallback_models=fallbacks,
        kind=model_kind(kind),
        **known,
    )


def _check_streams(models: tuple[str, ...], snapshot: Snapshot, param: str) -> None:
    """Where some endpoints can, the others are left out by their capabilities."""
    offered = [endpoint for model in models for endpoint in snapshot.endpoints_of.get(model, ())]
    if offered and not any(STREAM in endpoint.capabilities for endpoint in offered):
        raise bad_request(
            "unsupported_value",
            f"No provider gives answers of {models[0]} as events. Leave '{param}' out, or choose "
            "another model",
            param,
        )


def _model_name(body: dict[str, Any]) -> str:
    name = body.get("model")
    if name is None:
        raise bad_request(
            "missing_model", "The request has no 'model'. GET /v1/models lists them", "model"
        )
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
        raise bad_request("invalid_type", "'model' must be a model id (a string)", "model")
    return name


def _fallbacks(value: Any, kind: str, snapshot: Snapshot) -> tuple[str, ...]:
    if value is None:
        return ()
    names = names_of(value, "models")
    if len(names) > MAX_FALLBACK_MODELS:
        raise bad_request(
            "invalid_value", f"'models' takes at most {MAX_FALLBACK_MODELS} ids", "models"
        )
    return tuple(_fallback(name, kind, snapshot) for name in names)


def _fallback(name: str, kind: str, snapshot: Snapshot) -> str:
    model = find_model(name, snapshot)
    if model is None:
        raise unknown_fallback(name, snapshot)
    check_kind(model, kind, snapshot, "models")
    return model


def text_in(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise bad_request("invalid_type", f"'{name}' must be a text, and not an empty one", name)
    return value


def check_flag(body: dict[str, Any], name: str) -> None:
    if not isinstance(body.get(name), bool | None):
        raise bad_request("invalid_type", f"'{name}' must be true or false", name)


def check_one_of(body: dict[str, Any], name: str, known: tuple[str, ...]) -> None:
    value = body.get(name)
    if value is not None and value not in known:
        raise bad_request("invalid_value", f"'{name}' must be one of {', '.join(known)}", name)
