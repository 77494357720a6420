"""A policy as one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from routing.core.catalog import PolicyDocument
from routing.core.policies import Match, Rule

_OBJECTIVE_WORDS = {
    "balanced": "Share requests by price, speed and reliability",
    "cheapest": "Take the endpoint where this request is cheapest",
    "fastest": "Take the endpoint with the highest output speed",
    "lowest-latency": "Take the endpoint that answers soonest",
    "ordered": "Take providers in their order",
    "preferred": "Take providers in their order",
    "slo-cheapest": "Take the cheapest endpoint that keeps the service level",
    "weighted": "Share requests by fixed weights",
}


def _say_objective(document: PolicyDocument) -> str:
    words = _OBJECTIVE_WORDS.get(document.objective, f"Rank by {document.objective}")
    if document.weights:
        total = sum(document.weights.values()) or 1
        shares = [f"{slug} {weight / total:.0%}" for slug, weight in document.weights.items()]
        words += f" ({', '.join(shares)})"
    return words


def _say_order(document: PolicyDocument) -> str:
    if not document.order:
        return ""
    used = document.objective in ("ordered", "preferred")
    return f"{'first' if used else 'preferred'} {', then '.join(document.order)}"


def _say_providers(document: PolicyDocument) -> str:
    if document.only and document.ignore:
        return f"only at {_listed(document.only)}, never at {_listed(document.ignore)}"
    if document.only:
        return f"only at {_listed(document.only)}"
    return f"never at {_listed(document.ignore)}" if document.ignore else ""


def _say_kinds(document: PolicyDocument) -> str:
    parts = []
    if document.quantizations:
        parts.append(f"quantized as {_listed(document.quantizations)}")
    if document.regions:
        parts.append(f"in {_listed(document.regions)}")
    return ", ".join(parts)


def _say_prices(document: PolicyDocument) -> str:
    limits = (
        (document.max_price_input, "1M input tokens"),
        (document.max_price_output, "1M output tokens"),
        (document.max_price_request, "request"),
        (document.max_price_image, "image"),
    )
    parts = [f"{usd} USD per {unit}" for usd, unit in limits if usd is not None]
    return f"at most {' and '.join(parts)}" if parts else ""


def _say_level(document: PolicyDocument) -> str:
    level = document.slo
    if level is None or document.objective != "slo-cheapest":
        return ""
    parts = (
        (level.ttft_p95_ms, "95 % of first tokens within {:g} ms"),
        (level.speed_p50_tps, "at least {:g} output tokens/s"),
        (level.success_rate, "at least {:.4g} of attempts successful"),
    )
    return ", ".join(text.format(figure) for figure, text in parts if figure is not None)


def _say_canary(document: PolicyDocument) -> str:
    canary = document.canary
    return f"{canary.share:.3g} of requests first at {canary.provider}" if canary else ""


def _say_stable(document: PolicyDocument) -> str:
    return f"the same endpoint for the same {document.stable_by}" if document.stable_by else ""


def _say_data(document: PolicyDocument) -> str:
    parts = []
    if document.data_collection == "deny":
        parts.append("promise not to train on prompts")
    if document.zdr:
        parts.append("promise to keep nothing")
    return f"only providers that {' and '.join(parts)}" if parts else ""


def _say_parameters(document: PolicyDocument) -> str:
    return "only where every parameter is taken" if document.require_parameters else ""


def _say_shadow(document: PolicyDocument) -> str:
    shadow = document.shadow
    if shadow is None:
        return ""
    return (
        f"{shadow.share:.3g} of requests copied to {shadow.provider}, "
        f"for at most {shadow.max_usd_per_day} USD a day"
    )


def _say_tries(document: PolicyDocument) -> str:
    parts = []
    if document.retry_unanswered is not None:
        word = "once more" if document.retry_unanswered else "never again"
        parts.append(f"what was sent and not answered {word}")
    if document.resume:
        parts.append("streams that are cut go on elsewhere, marked")
    if document.timeouts is not None:
        limits = msgspec.structs.asdict(document.timeouts)
        parts += [f"{name} {limit:g}" for name, limit in limits.items() if limit is not None]
    return ", ".join(parts)


def _say_hedge(document: PolicyDocument) -> str:
    hedge = document.hedge
    if hedge is None:
        return ""
    after = "late" if hedge.after_ms is None else f"silent for {hedge.after_ms:g} ms"
    return (
        f"a second attempt when the first is {after}, for at most {hedge.max_share:.3g} of "
        f"requests and {hedge.max_usd_per_day} USD a day"
    )


def _say_learning(document: PolicyDocument) -> str:
    parts, usual = [], PolicyDocument()
    wanted = document.exploration
    if wanted is not None and not wanted.share:
        parts.append("nothing explored")
    elif wanted is not None:
        parts.append(
            f"{wanted.share:.3g} of requests to measure each other endpoint, for at most "
            f"{wanted.max_extra_cost:.3g} of the cost"
        )
    if not document.sticky_s:
        parts.append("conversations move freely")
    elif document.sticky_s != usual.sticky_s:
        parts.append(f"conversations stay where they are cached for {document.sticky_s:g} s")
    return ", ".join(parts)


def _say_rules(document: PolicyDocument) -> str:
    return "; ".join(f"{_say_when(rule.when)}: {_say_then(rule)}" for rule in document.rules)


def _say_when(when: Match) -> str:
    parts = (
        (when.models, f"for {_joined(when.models)}"),
        (when.tags, f"tagged {_joined(when.tags)}"),
        (when.needs, f"needing {_joined(when.needs)}"),
        (when.input_tokens_from is not None, f"from {when.input_tokens_from} input tokens"),
        (when.input_tokens_until is not None, f"below {when.input_tokens_until} input tokens"),
        (when.stream is not None, "streamed" if when.stream else "not streamed"),
        (when.utc_from, f"from {when.utc_from}"),
        (when.utc_until, f"until {when.utc_until}"),
        (when.utc_from or when.utc_until, "UTC"),
        (when.weekdays, f"on {_joined(when.weekdays)}"),
    )
    return " ".join(text for is_set, text in parts if is_set) or "otherwise"


def _say_then(rule: Rule) -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in rule.then.items())


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return _joined([str(item) for item in value]) or "none"
    if isinstance(value, dict):
        return _joined([f"{key} {item}" for key, item in value.items()]) or "none"
    return str(value)


def _joined(values: Sequence[str]) -> str:
    return _listed(values) if values else ""


def _say_attempts(document: PolicyDocument) -> str:
    if not document.allow_fallbacks or document.max_attempts == 1:
        return "one attempt, no fallback"
    return f"up to {document.max_attempts} attempts"


_CLAUSES = (
    _say_objective,
    _say_level,
    _say_order,
    _say_canary,
    _say_stable,
    _say_providers,
    _say_kinds,
    _say_data,
    _say_parameters,
    _say_prices,
    _say_attempts,
    _say_shadow,
    _say_tries,
    _say_hedge,
    _say_learning,
    _say_rules,
)


def sentence(document: PolicyDocument) -> str:
    parts = [part for describe in _CLAUSES if (part := describe(document))]
    return "; ".join(parts) + "."


def _listed(values: Iterable[str]) -> str:
    *most, last = values
    return f"{', '.join(most)} or {last}" if most else last
