"""The hub's own fields of a body: the `provider` object, and what a policy wants to know besides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from routing.core.catalog import Caller, Policy, Snapshot
from routing.core.errors import HubError
from routing.core.names import check_provider
from routing.core.request import NO_PREFERENCES, ProviderPreferences, RequestFacts

SORTS = ("price", "throughput", "latency")
PARTITIONS = ("model", "none")
PERCENTILES = {"p50": 50.0, "p75": 75.0, "p90": 90.0, "p99": 99.0}
MAX_TAGS = 20
MAX_LABEL_CHARS = 256
MAX_NAMES = 100  # in one list
MAX_NAME_CHARS = 300
MAX_PRICE_CHARS = 40

READ_HEADERS = frozenset({b"x-session-id", b"x-panelboard-tags"})  # by `facts_for`

Fields = dict[str, Any]


def bad_request(code: str, message: str, param: str | None = None) -> HubError:
    return HubError(400, code, message, param=param, should_retry=False)


def parse_preferences(value: object) -> ProviderPreferences:
    """The `provider` object of a body. Raises HubError 400 naming the field."""
    if value is None:
        return NO_PREFERENCES
    if not isinstance(value, dict):
        raise bad_request("invalid_type", "'provider' must be an object", "provider")
    fields: Fields = {}
    for name, item in value.items():
        parser = _PARSERS.get(name)
        if parser is None:
            raise _unknown("provider", name, tuple(_PARSERS))
        if item is not None:
            fields.update(parser(name, item))
    return ProviderPreferences(**fields)


def preferences_in(body: dict[str, Any], snapshot: Snapshot) -> ProviderPreferences:
    """Takes the `provider` object out of a body. Raises HubError 400 naming what is wrong."""
    value = body.pop("provider", None)
    if value is None:
        return NO_PREFERENCES
    found = parse_preferences(value)
    for param, names in (("order", found.order), ("only", found.only), ("ignore", found.ignore)):
        for name in names:
            check_provider(name, snapshot, f"provider.{param}")
    return found


def names_of(value: object, param: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise bad_request("invalid_type", f"'{param}' must be a list of strings", param)
    if len(value) > MAX_NAMES or any(len(item) > MAX_NAME_CHARS for item in value):
        words = f"'{param}' takes at most {MAX_NAMES} names of at most {MAX_NAME_CHARS} characters"
        raise bad_request("invalid_value", words, param)
    return tuple(value)


def whole_in(body: Mapping[str, Any], name: str, most: int) -> int | None:
    value = body.get(name)
    if value is not None and (type(value) is not int or not 1 <= value <= most):
        words = f"'{name}' must be a whole number from 1 to {most:,}"
        raise bad_request("invalid_value", words, name)
    return value


def _unknown(where: str, name: object, known: tuple[str, ...]) -> HubError:
    param = f"{where}.{str(name)[:60]}"
    return bad_request(
        "unknown_parameter", f"'{param}' is not known here. Known: {', '.join(known)}", param
    )


def _names(name: str, value: object) -> Fields:
    return {name: names_of(value, f"provider.{name}")}


def _flag(name: str, value: object) -> Fields:
    if not isinstance(value, bool):
        param = f"provider.{name}"
        raise bad_request("invalid_type", f"'{param}' must be true or false", param)
    return {name: value}


def _choice(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        param = f"provider.{name}"
        raise bad_request("invalid_value", f"'{param}' must be one of {', '.join(allowed)}", param)
    return str(value)


def _data_collection(name: str, value: object) -> Fields:
    return {name: _choice(name, value, ("allow", "deny"))}


def _sort(name: str, value: object) -> Fields:
    """A word, or `{"by": word, "partition": "model" or "none"}`."""
    if not isinstance(value, dict):
        return {"sort": _choice(name, value, SORTS)}
    for key in value:
        if key not in ("by", "partition"):
            raise _unknown("provider.sort", key, ("by", "partition"))
    partition = value.get("partition")
    return {
        "sort": _choice("sort.by", value.get("by"), SORTS),
        "sort_partition": ""
        if partition is None
        else _choice("sort.partition", partition, PARTITIONS),
    }


def _cutoffs(name: str, value: object) -> Fields:
    """A number is held against the median; an object names percentiles, and all must hold."""
    if not isinstance(value, dict):
        return {name: _number(name, value)}
    cutoffs: list[tuple[float, float]] = []
    for key, figure in value.items():
        if key not in PERCENTILES:
            raise _unknown(f"provider.{name}", key, tuple(PERCENTILES))
        if figure is not None:
            cutoffs.append((PERCENTILES[key], _number(f"{name}.{key}", figure)))
    return {_CUTOFF_FIELDS[name]: tuple(cutoffs)}


_CUTOFF_FIELDS = {
    "preferred_min_throughput": "throughput_cutoffs",
    "preferred_max_latency": "latency_cutoffs",
}


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        param = f"provider.{name}"
        raise bad_request(
            "invalid_type", f"'{param}' must be a number, or {{\"p50\": number}}", param
        )
    return float(value)


def _hedge(name: str, value: object) -> Fields:
    """True, false, or `{"after_ms": number}`."""
    if not isinstance(value, dict):
        return _flag(name, value)
    for key in value:
        if key != "after_ms":
            raise _unknown("provider.hedge", key, ("after_ms",))
    after_ms = value.get("after_ms")
    if after_ms is None:
        return {"hedge": True}
    return {"hedge": True, "hedge_after_ms": _number("hedge.after_ms", after_ms)}


_MAX_PRICE_FIELDS = {
    "prompt": ("max_price_prompt", "USD per 1M tokens"),
    "completion": ("max_price_completion", "USD per 1M tokens"),
    "request": ("max_price_request", "USD per request"),
    "image": ("max_price_image", "USD per image"),
}


def _max_price(name: str, value: object) -> Fields:
    if not isinstance(value, dict):
        raise bad_request(
            "invalid_type", "'provider.max_price' must be an object", "provider.max_price"
        )
    fields: Fields = {}
    for key, item in value.items():
        if key not in _MAX_PRICE_FIELDS:
            raise _unknown("provider.max_price", key, tuple(_MAX_PRICE_FIELDS))
        if item is not None:
            field, unit = _MAX_PRICE_FIELDS[key]
            fields[field] = _price(item, f"provider.max_price.{key}", unit)
    return fields


def _price(value: object, param: str, unit: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise bad_request("invalid_type", f"'{param}' must be a price in {unit}", param)
    text = str(value)
    try:
        price = Decimal(text if len(text) <= MAX_PRICE_CHARS else -1)
    except InvalidOperation:
        price = Decimal(-1)
    if not price.is_finite() or price < 0:
        raise bad_request("invalid_value", f"'{param}' must be a price in {unit}", param)
    return text


_PARSERS: dict[str, Callable[[str, object], Fields]] = {
    "order": _names,
    "only": _names,
    "ignore": _names,
    "quantizations": _names,
    "allow_fallbacks": _flag,
    "require_parameters": _flag,
    "data_collection": _data_collection,
    "zdr": _flag,
    "enforce_distillable_text": _flag,
    "sort": _sort,
    "preferred_min_throughput": _cutoffs,
    "preferred_max_latency": _cutoffs,
    "max_price": _max_price,
    "hedge": _hedge,
}


# --- what a policy wants to know besides ----------------------------------------------------------


def facts_for(
    policy: Policy,
    facts: RequestFacts,
    caller: Caller,
    body: Mapping[str, Any],
    headers: Iterable[tuple[bytes, bytes]],
) -> RequestFacts:
    """The facts with what this policy looks at; the same facts where it looks at nothing more.

    A conversation is known by `x-session-id` or `prompt_cache_key`; tags come from
    `x-panelboard-tags`, separated by commas, and from a list `metadata.tags`.
    """
    document = policy.document
    conversation = _conversation(body, headers)
    if not (conversation or document.rules or document.stable_by or document.require_parameters):
        return facts
    settings, sent = (document, *policy.variants), dict(headers)
    more: Fields = {}
    if document.rules:
        more["tags"] = _tags(body, sent)
    if any(one.stable_by or one.sticky_s for one in settings):
        more["key_id"] = caller.key_id
        more["conversation"] = conversation
    if any(one.require_parameters for one in settings):
        more["parameters"] = frozenset(body)
    return msgspec.structs.replace(facts, **more) if more else facts


def _conversation(body: Mapping[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"x-session-id" and value:
            return value.decode("latin-1")[:MAX_LABEL_CHARS]
    named = body.get("prompt_cache_key")
    return named[:MAX_LABEL_CHARS] if isinstance(named, str) else ""


def _tags(body: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> frozenset[str]:
    said = headers.get(b"x-panelboard-tags", b"").decode("latin-1").split(",")
    metadata = body.get("metadata")
    listed = metadata.get("tags") if isinstance(metadata, dict) else None
    if isinstance(listed, str):
        said += listed[: MAX_TAGS * (MAX_LABEL_CHARS + 1)].split(",")
    elif isinstance(listed, list):
        said += [tag for tag in listed[: 10 * MAX_TAGS] if isinstance(tag, str)]
    tags = [tag.strip()[:MAX_LABEL_CHARS] for tag in said if tag.strip()]
    return frozenset(tags[:MAX_TAGS])
