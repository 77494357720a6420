"""From a request's facts to an ordered list of attempts, and the record of why.

A pure function of (facts, snapshot, health, moment, rng), so that live traffic, explanations and
dry runs share it. Kept apart: hard filters (each exclusion has a stable code), preferences (order),
brakes (breaker and cool-down, which never take the last endpoint away).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from random import Random

from routing.core.catalog import Caller, Endpoint, Policy, PolicyDocument, Snapshot
from routing.core.decision import Candidate, Decision, Exclusion, Plan
from routing.core.errors import HubError
from routing.core.health import HealthBook, Numbers
from routing.core.moment import Moment
from routing.core.objectives import OBJECTIVES, Eligible, RankContext, Ranking
from routing.core.request import NO_PREFERENCES, ProviderPreferences, RequestFacts
from routing.core.usage import Meter

SORT_OBJECTIVES = {"price": "cheapest", "throughput": "fastest", "latency": "lowest-latency"}
BRAKES = frozenset({Exclusion.BREAKER_OPEN, Exclusion.COOLING_DOWN})

Verdict = tuple[Exclusion, str]
Check = Callable[[Endpoint], Verdict | None]


class NoEndpointLeft(HubError):
    """Carries the decision, so that a refusal leaves a receipt too."""

    decision: Decision | None = None


def choose_policy(facts: RequestFacts, caller: Caller, snapshot: Snapshot) -> Policy:
    """The suffix's policy, else the key's or project's, else the hub's default."""
    if facts.policy_name:
        return snapshot.policies[facts.policy_name]
    return caller.policy or snapshot.default_policy


def plan(
    facts: RequestFacts,
    policy: Policy,
    snapshot: Snapshot,
    health: HealthBook,
    moment: Moment,
    rng: Random,
) -> Plan:
    """Raises NoEndpointLeft: 404 when the constraints exclude all, 429/503 when brakes do."""
    planner = _Planner(facts, policy, health, moment, rng)
    for model in (facts.model, *facts.fallback_models):
        planner.add_model(snapshot.endpoints_of.get(model, ()))
    return planner.finish(snapshot.version)


class _Planner:
    """The state of one planning run: candidates so far, in the order they would be tried."""

    __slots__ = (
        "braked",
        "candidates",
        "checks",
        "document",
        "facts",
        "health",
        "moment",
        "objective",
        "order",
        "policy",
        "price_caps",
        "rng",
    )

    def __init__(
        self,
        facts: RequestFacts,
        policy: Policy,
        health: HealthBook,
        moment: Moment,
        rng: Random,
    ) -> None:
        self.facts = facts
        self.policy = policy
        self.document = policy.document
        self.health = health
        self.moment = moment
        self.rng = rng
        self.objective = (
            facts.objective
            or SORT_OBJECTIVES.get(facts.preferences.sort, "")
            or self.document.objective
        )
        self.price_caps = _price_caps(facts.preferences, policy.document)
        self.candidates: list[Candidate] = []
        self.order: list[Endpoint] = []
        self.braked: list[tuple[Endpoint, Exclusion]] = []
        self.checks = self._checks()

    def add_model(self, endpoints: Sequence[Endpoint]) -> None:
        eligible: list[Eligible] = []
        now, numbers_of, health_of = self.moment.monotonic_s, self.health.numbers, self.health.of
        for endpoint in endpoints:
            candidate = Eligible(
                endpoint, self._expected_cost_pico(endpoint), numbers_of(endpoint, now)
            )
            verdict = self._exclude(endpoint)
            if verdict is None and not health_of(endpoint.id).breaker.is_quiet(now):
                verdict = self._brake(endpoint)
                if verdict is not None:
                    self.braked.append((endpoint, verdict[0]))
            if verdict is None:
                eligible.append(candidate)
            else:
                self._note(candidate, 0.0, 0.0, verdict[0], verdict[1])
        if eligible:
            self._rank(eligible)

    def finish(self, snapshot_version: int) -> Plan:
        limit = self.document.max_attempts if self._allow_fallbacks() else 1
        if not self.order:
            self._release_brake()
        attempts = tuple(self.order[:limit])
        decision = Decision(
            policy=self.policy.name,
            policy_version=self.policy.version,
            objective=self.objective,
            model=self.facts.model,
            candidates=tuple(self.candidates),
            order=tuple(endpoint.id for endpoint in attempts),
            snapshot_version=snapshot_version,
        )
        if not attempts:
            raise self._refusal(decision)
        return Plan(attempts, decision)

    # --- hard filters -------------------------------------------------------------------------
    def _exclude(self, endpoint: Endpoint) -> Verdict | None:
        for check in self.checks:
            verdict = check(endpoint)
            if verdict is not None:
                return verdict
        return None

    def _checks(self) -> list[Check]:
        """Only those that this request and policy give something to check."""
        facts, document = self.facts, self.document
        wanted = facts.preferences
        checks: list[Check] = [_unroutable]
        if (
            facts.pinned_provider
            or wanted is not NO_PREFERENCES
            or document.only
            or document.ignore
        ):
            checks.append(self._unwanted_provider)
        if self.price_caps:
            checks.append(self._too_dear)
        checks.append(self._too_small)
        if facts.needs or wanted.require_parameters:
            checks.append(self._unable)
        if wanted is not NO_PREFERENCES or document.quantizations or document.regions:
            checks.append(self._wrong_kind)
        return checks

    def _unwanted_provider(self, endpoint: Endpoint) -> Verdict | None:
        slug, wanted, document = endpoint.provider.slug, self.facts.preferences, self.document
        pinned = self.facts.pinned_provider
        if pinned and slug != pinned:
            return Exclusion.NOT_PINNED, f"the request asks for {pinned}"
        if _not_in(slug, wanted.only) or _not_in(slug, document.only):
            return Exclusion.NOT_IN_ONLY, "not in `only`"
        if slug in wanted.ignore or slug in document.ignore:
            return Exclusion.IGNORED, "in `ignore`"
        if wanted.allow_fallbacks is False and _not_in(slug, wanted.order):
            return Exclusion.FALLBACKS_OFF, "not in `order`, and fallbacks are off"
        return None

    def _too_dear(self, endpoint: Endpoint) -> Verdict | None:
        rows = endpoint.prices.at(self.moment.utc, self.facts.input_tokens, self.facts.service_tier)
        for meter, cap in self.price_caps:
            row = rows.get(meter)
            if row is not None and row.unit_price_usd > cap:
                price = f"{row.unit_price_usd.normalize():f}"
                return Exclusion.MAX_PRICE, f"{meter} {price} USD per 1M > {cap}"
        return None

    def _too_small(self, endpoint: Endpoint) -> Verdict | None:
        wanted = self.facts.max_output_tokens or 0
        asked, window = self.facts.input_tokens + wanted, endpoint.context_window
        if window is not None and asked > window:
            return Exclusion.CONTEXT_WINDOW, f"about {asked} tokens > {window}"
        most = endpoint.max_output_tokens
        if most is not None and wanted > most:
            return Exclusion.MAX_OUTPUT, f"max_tokens {wanted} > {most}"
        return None

    def _unable(self, endpoint: Endpoint) -> Verdict | None:
        missing = self.facts.needs - endpoint.capabilities
        if missing:
            return Exclusion.MISSING_CAPABILITY, ", ".join(sorted(missing))
        if self.facts.preferences.require_parameters:
            refused = self.facts.parameters & endpoint.unsupported_parameters
            if refused:
                return Exclusion.PARAMETER_UNSUPPORTED, ", ".join(sorted(refused))
        return None

    def _wrong_kind(self, endpoint: Endpoint) -> Verdict | None:
        wanted, document = self.facts.preferences, self.document
        if wanted.data_collection == "deny":  # fail closed: the catalog records no promise yet
            return Exclusion.DATA_POLICY, "not known to keep no prompts"
        if _not_in(endpoint.quantization, wanted.quantizations or document.quantizations):
            return Exclusion.QUANTIZATION, endpoint.quantization or "not stated"
        if _not_in(endpoint.region, document.regions):
            return Exclusion.REGION, endpoint.region or "not stated"
        return None

    # --- brakes -------------------------------------------------------------------------------
    def _brake(self, endpoint: Endpoint) -> Verdict | None:
        breaker = self.health.of(endpoint.id).breaker
        now = self.moment.monotonic_s
        if breaker.is_cooling(now):
            return Exclusion.COOLING_DOWN, f"for {breaker.cooling_until - now:.0f} s after a 429"
        if not breaker.allows(now):
            wait = max(breaker.open_until - now, 0.0)
            return Exclusion.BREAKER_OPEN, f"tried again in {wait:.0f} s"
        return None

    def _release_brake(self) -> None:
        """Panic rule: with everything braked, the least recently failed endpoint is tried anyway.

        Where all are cooling down after a 429 there is nothing to try: the client is told when.
        """
        opened = [e for e, brake in self.braked if brake is Exclusion.BREAKER_OPEN]
        if opened:
            self.order.append(
                min(opened, key=lambda e: self.health.of(e.id).breaker.last_failure_at)
            )

    # --- ranking ------------------------------------------------------------------------------
    def _rank(self, eligible: list[Eligible]) -> None:
        context = RankContext(self.document, self.facts.output_tokens, self.rng)
        ranking = OBJECTIVES[self.objective](eligible, context)
        for i, candidate in enumerate(eligible):
            self._note(candidate, ranking.scores[i], ranking.shares[i])
        self.order.extend(self._preferred_first(eligible, ranking))

    def _preferred_first(self, eligible: list[Eligible], ranking: Ranking) -> list[Endpoint]:
        ranked = [eligible[i] for i in ranking.order]
        wanted = self.facts.preferences
        if wanted is NO_PREFERENCES:
            return [candidate.endpoint for candidate in ranked]
        if wanted.preferred_min_throughput is not None or wanted.preferred_max_latency is not None:
            ranked.sort(key=lambda c: not _meets(c.numbers, wanted))
        order = wanted.order
        if order:
            place = {slug: i for i, slug in enumerate(order)}
            ranked.sort(key=lambda c: place.get(c.endpoint.provider.slug, len(place)))
        return [candidate.endpoint for candidate in ranked]

    def _allow_fallbacks(self) -> bool:
        wanted = self.facts.preferences.allow_fallbacks
        return self.document.allow_fallbacks if wanted is None else wanted

    # --- numbers ------------------------------------------------------------------------------
    def _expected_cost_pico(self, endpoint: Endpoint) -> int:
        facts = self.facts
        per_input, per_output = endpoint.prices.pico_rates(
            self.moment.utc, facts.input_tokens, facts.service_tier
        )
        return facts.input_tokens * per_input + facts.output_tokens * per_output

    def _note(
        self,
        candidate: Eligible,
        score: float,
        share: float,
        excluded: str = "",
        detail: str = "",
    ) -> None:
        numbers = candidate.numbers
        self.candidates.append(
            Candidate(
                candidate.endpoint.id,
                candidate.cost_pico,
                numbers.ttft_ms,
                numbers.speed_tps,
                numbers.success_rate,
                numbers.samples,
                score,
                share,
                excluded,
                detail,
            )
        )

    def _refusal(self, decision: Decision) -> NoEndpointLeft:
        return refusal(self.facts, decision, self.health, self.moment.monotonic_s)


def _unroutable(endpoint: Endpoint) -> Verdict | None:
    if endpoint.status == "retired":
        return Exclusion.RETIRED, "the provider no longer serves it"
    if not endpoint.credentials:
        return Exclusion.NO_CREDENTIAL, f"no key for {endpoint.provider.name}"
    if not endpoint.prices and not endpoint.is_free:
        return Exclusion.NO_PRICE, "an endpoint without a price is not routed to"
    return None


def _not_in(value: str, listed: tuple[str, ...]) -> bool:
    """An empty list asks for nothing."""
    return bool(listed) and value not in listed


def _meets(numbers: Numbers, wanted: ProviderPreferences) -> bool:
    least, most = wanted.preferred_min_throughput, wanted.preferred_max_latency
    quick = least is None or (numbers.speed_tps or 0.0) >= least
    early = most is None or (numbers.ttft_ms is not None and numbers.ttft_ms <= most * 1000)
    return quick and early


def _price_caps(
    wanted: ProviderPreferences, document: PolicyDocument
) -> tuple[tuple[Meter, Decimal], ...]:
    """The request's cap, else the policy's, in USD per 1M tokens."""
    if wanted is NO_PREFERENCES and document.max_price_input is document.max_price_output is None:
        return ()
    caps = (
        (Meter.INPUT, wanted.max_price_prompt or document.max_price_input),
        (Meter.OUTPUT, wanted.max_price_completion or document.max_price_output),
    )
    return tuple((meter, _usd(cap)) for meter, cap in caps if cap is not None)


def _usd(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise HubError(
            400, "invalid_price", f"'{text[:40]}' is not a price in US dollars"
        ) from None


def refusal(
    facts: RequestFacts, decision: Decision, health: HealthBook, now: float
) -> NoEndpointLeft:
    """One honest error: what excluded everything, and what would let it through."""
    counts = Counter(candidate.excluded for candidate in decision.candidates)
    reasons = ", ".join(f"{code} ({n})" for code, n in counts.most_common())
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
    Exclusion.PARAMETER_UNSUPPORTED: "Leave the parameter out, or require_parameters.",
    Exclusion.QUANTIZATION: "Widen quantizations.",
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
