"""The one honest error when no endpoint is left: what excluded all, and what would help."""

from __future__ import annotations

from collections import Counter

from routing.core.decision import Decision, Exclusion
from routing.core.errors import HubError
from routing.core.health import HealthBook
from routing.core.request import RequestFacts

BRAKES = frozenset({Exclusion.BREAKER_OPEN, Exclusion.COOLING_DOWN, Exclusion.HUB_REFUSED})


class NoEndpointLeft(HubError):
    """Carries the decision, so that a refusal leaves a receipt too."""

    decision: Decision | None = None


def refusal(
    facts: RequestFacts, decision: Decision, health: HealthBook, now: float
) -> NoEndpointLeft:
    """404 when the constraints exclude all, 400 when what is asked does so by itself, 429 or 503
    when brakes do or an admin must act."""
    counts = Counter(candidate.excluded for candidate in decision.candidates)
    reasons = ", ".join(_reason(code, n, decision) for code, n in counts.most_common())
    relevant = {code for code in counts if code not in _CHOSEN_BY_CALLER} or set(counts)
    detail: dict[str, object] = {"model": facts.model, "excluded_by": dict(counts)}
    error: NoEndpointLeft
    if not decision.candidates:
        error = NoEndpointLeft(
            404,
            "no_endpoint",
            f"No provider serves {facts.model} on this hub. GET /v1/models lists what is served.",
            param="model",
            should_retry=False,
            detail=detail,
        )
    elif relevant & BRAKES:
        error = _all_braked(facts, decision, health, now, reasons, detail)
    elif relevant == {Exclusion.OTHER_DIALECT}:
        error = NoEndpointLeft(
            400,
            "unsupported_parameter",
            f"No endpoint of {facts.model} can be told all of this: {reasons}. {_advice(relevant)}",
            should_retry=False,
            detail=detail,
        )
    else:
        status = 503 if relevant <= {Exclusion.NO_CREDENTIAL, Exclusion.NO_PRICE} else 404
        error = NoEndpointLeft(
            status,
            "no_endpoint",
            f"No endpoint of {facts.model} is left after filtering: {reasons}. {_advice(relevant)}",
            kind="invalid_request_error" if status == 404 else "server_error",
            should_retry=False,
            detail=detail,
        )
    error.decision = decision
    return error


def _reason(code: str, n: int, decision: Decision) -> str:
    """Names what is missing: the caller has to know what to leave out."""
    named = {c.detail for c in decision.candidates if c.excluded == code and code in _NAMED}
    missing = f": {'; '.join(sorted(named))}" if named else ""
    return f"{code} ({n}{missing})"


_NAMED = frozenset(
    {
        Exclusion.MISSING_CAPABILITY,
        Exclusion.OTHER_DIALECT,
        Exclusion.PARAMETER_UNSUPPORTED,
    }
)
_CHOSEN_BY_CALLER = frozenset(
    {Exclusion.NOT_PINNED, Exclusion.NOT_IN_ONLY, Exclusion.IGNORED, Exclusion.FALLBACKS_OFF}
)
_ADVICE = {
    Exclusion.NO_CREDENTIAL: "An administrator can add a provider key.",
    Exclusion.NO_PRICE: "An administrator can add or approve a price.",
    Exclusion.MAX_PRICE: "Raise max_price.",
    Exclusion.CONTEXT_WINDOW: "Shorten the prompt or lower max_tokens.",
    Exclusion.MAX_OUTPUT: "Lower max_tokens.",
    Exclusion.MISSING_CAPABILITY: "Choose a model that has the capability, or leave it out.",
    Exclusion.OTHER_DIALECT: "Leave it out, or choose a model at a provider that takes requests "
    "in this dialect as they are.",
    Exclusion.PARAMETER_UNSUPPORTED: "Leave the parameter out, or require_parameters.",
    Exclusion.QUANTIZATION: "Widen quantizations.",
    Exclusion.DATA_POLICY: "An administrator can record what a provider promises about data.",
    Exclusion.DISTILLATION: "Leave enforce_distillable_text out.",
    Exclusion.RETIRED: "Choose a newer model.",
}


def _advice(codes: set[str]) -> str:
    parts = [text for code, text in _ADVICE.items() if code in codes]
    return " ".join(parts) or "Loosen the provider preferences or the model suffix."


def _all_braked(
    facts: RequestFacts,
    decision: Decision,
    health: HealthBook,
    now: float,
    reasons: str,
    detail: dict[str, object],
) -> NoEndpointLeft:
    cooling = [c for c in decision.candidates if c.excluded == Exclusion.COOLING_DOWN]
    waits = [health.of(c.endpoint_id).breaker.cooling_until - now for c in cooling]
    wait_s = max(min(waits, default=1.0), 1.0)
    return NoEndpointLeft(
        429 if cooling else 503,
        "capacity_exhausted" if cooling else "temporarily_unavailable",
        f"Every endpoint of {facts.model} is resting: {reasons}. Try again in {wait_s:.0f} s.",
        kind="rate_limit_error" if cooling else "server_error",
        retry_after_s=wait_s,
        should_retry=True,
        detail=detail,
    )
