"""From a request's facts to an ordered list of attempts, and the record of why.

A pure function of (facts, snapshot, health, moment, rng), so that live traffic, explanations and
dry runs share it. Kept apart: hard filters (each exclusion has a stable code), preferences (order),
brakes (breaker and cool-down, which never take the last endpoint away), and the draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from routing.core.catalog import Caller, Endpoint, Policy, Snapshot
from routing.core.decision import Candidate, Decision, Exclusion, Plan
from routing.core.draw import DrawTree, Finish
from routing.core.ejection import KEPT, kept_in
from routing.core.exploration import Spread
from routing.core.filters import HardFilters, Verdict
from routing.core.forks import Group, Step
from routing.core.health import HealthBook
from routing.core.moment import Moment
from routing.core.objectives import OBJECTIVES, Eligible, RankContext, Ranking
from routing.core.policies import NO_RULE, conversation_identity, stable_identity
from routing.core.preferred import meets
from routing.core.pricing import Tariff, expected_pieces_pico
from routing.core.refusal import BRAKES, NoEndpointLeft, refusal
from routing.core.request import NO_PREFERENCES, RequestFacts
from routing.core.splicer import Splicer
from routing.core.steps import (
    CanaryPlaces,
    canary_fork,
    exploring_fork,
    groups,
    with_canary,
    worth_staying,
)
from routing.core.validity import NEEDS_FORM

__all__ = [
    "BRAKES",
    "SORT_OBJECTIVES",
    "NoEndpointLeft",
    "choose_policy",
    "drawn",
    "plan",
    "refusal",
    "work_out",
]

UNEXPLORED = Spread((), 0)
CACHED_AT_HOME = 0.7  # of the input, assumed of a conversation that stays
SORT_OBJECTIVES = {"price": "cheapest", "throughput": "fastest", "latency": "lowest-latency"}


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
    rule = policy.rule_for(facts, moment.utc)
    tree = work_out(facts, policy, rule, snapshot, health, moment)
    return drawn(tree, facts, health, moment.monotonic_s, rng)


def drawn(tree: DrawTree, facts: RequestFacts, health: HealthBook, now: float, rng: Random) -> Plan:
    """A new draw, or one that stays the same: where the policy wants it stable, and where the
    provider's cache holds the conversation, which moves only when its endpoint cannot serve it."""
    if tree.settings.stable_by:
        identity = stable_identity(tree.settings, facts)
        if identity:
            return tree.draw_for(identity)
    if tree.homes and facts.conversation:
        home = health.conversations.home_of(facts, now, tree.settings.sticky_s)
        if home in tree.homes:
            return tree.staying_at(home).draw(rng.random)
        return tree.draw_for(conversation_identity(facts))
    return tree.draw(rng.random)


def work_out(
    facts: RequestFacts,
    policy: Policy,
    rule: int,
    snapshot: Snapshot,
    health: HealthBook,
    moment: Moment,
) -> DrawTree:
    """Everything of a plan but the draw. Raises NoEndpointLeft as `plan` does."""
    planner = _Planner(facts, policy, rule, health, moment)
    for model in dict.fromkeys((facts.model, *facts.fallback_models)):
        planner.add_model(snapshot.endpoints_of.get(model, ()))
    return planner.finish(snapshot.version)


class _Planner:
    """The state of one planning run: candidates so far, in the order they would be tried."""

    __slots__ = (
        "braked",
        "candidates",
        "document",
        "eligible",
        "facts",
        "filters",
        "groups",
        "health",
        "homes",
        "kept",
        "moment",
        "needs_form",
        "objective",
        "policy",
        "rule",
        "shadow",
        "spread",
    )

    def __init__(
        self, facts: RequestFacts, policy: Policy, rule: int, health: HealthBook, moment: Moment
    ) -> None:
        self.facts = facts
        self.policy = policy
        self.rule = rule
        self.document = policy.settings(rule)
        self.health = health
        self.moment = moment
        self.objective = (
            facts.objective
            or SORT_OBJECTIVES.get(facts.preferences.sort, "")
            or self.document.objective
        )
        self.needs_form = not NEEDS_FORM.isdisjoint(facts.needs)
        self.filters = HardFilters(facts, self.document, moment)
        self.candidates: list[Candidate] = []
        self.eligible: list[Eligible] = []  # waiting to be ranked
        self.groups: list[Step] = []
        self.shadow: Endpoint | None = None
        self.spread = UNEXPLORED  # of the draw that comes first
        self.homes: dict[int, Endpoint] = {}  # where conversations may stay
        self.braked: list[tuple[Endpoint, Exclusion]] = []
        self.kept: list[Endpoint] = []  # in spite of their breakers

    def add_model(self, endpoints: Sequence[Endpoint]) -> None:
        now, health, exclude = self.moment.monotonic_s, self.health, self.filters.exclude
        kept = kept_in(endpoints, exclude, health, now)
        self.kept += kept
        for endpoint, found in zip(endpoints, health.figures(endpoints, now), strict=True):
            numbers = found.with_form() if self.needs_form else found
            cost_pico = self._expected_cost_pico(endpoint, numbers.cached_share)
            candidate = Eligible(endpoint, cost_pico, numbers)
            verdict = exclude(endpoint)
            if endpoint in kept:
                self._note(candidate, 0.0, 0.0, "", KEPT)
                continue
            if verdict is None and not health.is_quiet(endpoint.id, now):
                verdict = self._brake(endpoint)
                if verdict is not None:
                    self.braked.append((endpoint, verdict[0]))
            if verdict is None:
                self.eligible.append(candidate)
            else:
                self._note(candidate, 0.0, 0.0, verdict[0], verdict[1])
        if self.facts.preferences.sort_partition != "none":
            self._rank_waiting()

    def finish(self, snapshot_version: int) -> DrawTree:
        self._rank_waiting()
        self._add_capped()
        if self.kept:
            self.groups.append(Group(tuple(self.kept)))
        if not self.groups:
            self._release_brake()
        decision = Decision(
            policy=self.policy.name,
            policy_version=self.policy.version,
            objective=self.objective,
            model=self.facts.model,
            candidates=tuple(self.candidates),
            order=(),
            snapshot_version=snapshot_version,
            input_tokens=self.facts.input_tokens,
            output_tokens=self.facts.output_tokens,
            rule=self._rule_name(),
            shadow=self.shadow.id if self.shadow is not None else 0,
            exploration_pico=self.spread.extra_cost_pico,
            explored_share=self.spread.total,
            usual_pico=self.spread.usual_cost_pico,
        )
        if not self.groups:
            raise refusal(self.facts, decision, self.health, self.moment.monotonic_s)
        limit = self.document.max_attempts if self._allow_fallbacks() else 1
        special = self.document if self.document.says_how_to_try else None

        def finish_at(home: Endpoint) -> Finish:
            kept = msgspec.structs.replace(decision, home=home.id)
            return Splicer(kept, self.shadow, self.document.max_attempts, special).plan

        finish = Splicer(decision, self.shadow, self.document.max_attempts, special).plan
        return DrawTree(self.groups, limit, finish, self.document, self.homes, finish_at)

    def _rule_name(self) -> str:
        if self.rule == NO_RULE:
            return ""
        return self.policy.document.rules[self.rule].name or f"rule {self.rule + 1}"

    # --- brakes -------------------------------------------------------------------------------
    def _brake(self, endpoint: Endpoint) -> Verdict | None:
        breaker = self.health.of(endpoint.id).breaker
        now = self.moment.monotonic_s
        if now < breaker.refused_until:
            return Exclusion.HUB_REFUSED, f"asked again in {breaker.refused_until - now:.0f} s"
        if breaker.is_cooling(now):
            return Exclusion.COOLING_DOWN, f"for {breaker.cooling_until - now:.0f} s after a 429"
        if not breaker.allows(now):
            wait = max(breaker.open_until - now, 0.0)
            return Exclusion.BREAKER_OPEN, f"{breaker.reason}; tried again in {wait:.0f} s"
        capacity = self.health.of(endpoint.id).capacity
        if capacity is not None and not capacity.is_open(now):
            return Exclusion.CAPACITY_CAP, capacity.words(now)
        return None

    def _add_capped(self) -> None:
        """A cap is an estimate: those at theirs are still the last resort, the soonest first."""
        capped = [e for e, brake in self.braked if brake is Exclusion.CAPACITY_CAP]
        if capped:
            now = self.moment.monotonic_s
            capped.sort(key=lambda e: self.health.next_release(e.id, now))
            self.groups.append(Group(tuple(capped)))

    def _release_brake(self) -> None:
        """Panic rule: with everything braked, the least recently failed endpoint is tried anyway.

        How often is for its breaker to say. Where all are cooling down after a 429 there is nothing
        to try: the client is told when.
        """
        opened = [e for e, brake in self.braked if brake is not Exclusion.COOLING_DOWN]
        if opened:
            self.groups.append(Group((min(opened, key=self._hopelessness),)))

    def _hopelessness(self, endpoint: Endpoint) -> tuple[bool, float]:
        """One that refused the hub's account will do so again."""
        breaker = self.health.of(endpoint.id).breaker
        return self.moment.monotonic_s < breaker.refused_until, breaker.last_failure_at

    # --- ranking ------------------------------------------------------------------------------
    def _rank_waiting(self) -> None:
        eligible, self.eligible = self.eligible, []
        if not eligible:
            return
        self._choose_shadow(eligible)
        canary = self._canary(eligible)
        may_explore = canary is None and not self._has_wishes() and not self.groups
        context = RankContext(self.document, self.facts.output_tokens, may_explore)
        ranking = OBJECTIVES[self.objective](eligible, context)
        shares = with_canary(ranking.shares, canary) if canary else ranking.shares
        for i, candidate in enumerate(eligible):
            note = ranking.notes[i] if ranking.notes else ""
            explored = ranking.spread.shares[i] if ranking.spread is not None else 0.0
            self._note(candidate, ranking.scores[i], shares[i], "", note, explored)
        if canary:
            self.groups.append(canary_fork(eligible, ranking, canary))
            return
        if may_explore and self.document.sticky_s > 0:
            self.homes = self._homes(eligible, ranking)
        if ranking.spread is not None:
            self.spread = ranking.spread
        if ranking.explored is not None:
            self.groups.append(exploring_fork(eligible, ranking, ranking.explored.shares))
            return
        for tier in self._tiers(eligible, ranking):
            self.groups.extend(groups(eligible, ranking, tier))

    def _homes(self, eligible: list[Eligible], ranking: Ranking) -> dict[int, Endpoint]:
        """Where a conversation whose beginning is cached costs no more than it usually would."""
        pairs = zip(ranking.shares, eligible, strict=True)
        usual_pico = sum(share * candidate.cost_pico for share, candidate in pairs)
        return {
            candidate.endpoint.id: candidate.endpoint
            for i, candidate in enumerate(eligible)
            if self._is_cheap_once_cached(candidate, usual_pico)
            and worth_staying(self.objective, ranking, i)
        }

    def _is_cheap_once_cached(self, candidate: Eligible, usual_pico: float) -> bool:
        tariff = self._tariff(candidate.endpoint)
        if tariff.cached_pico >= tariff.pico_rates[0]:
            return False
        share = max(candidate.numbers.cached_share, CACHED_AT_HOME)
        return self._expected_cost_pico(candidate.endpoint, share) <= usual_pico

    def _choose_shadow(self, eligible: list[Eligible]) -> None:
        wanted = self.document.shadow
        if wanted is None or self.shadow is not None:
            return
        for candidate in eligible:
            if candidate.endpoint.provider.slug == wanted.provider:
                self.shadow = candidate.endpoint
                return

    def _canary(self, eligible: list[Eligible]) -> CanaryPlaces | None:
        """None also where the request says itself whom it wants first."""
        canary, wanted = self.document.canary, self.facts.preferences
        if canary is None or self.facts.objective or wanted.sort or wanted.order:
            return None
        places = [i for i, c in enumerate(eligible) if c.endpoint.provider.slug == canary.provider]
        if not places or len(places) == len(eligible):
            return None
        return canary.share, places

    def _has_wishes(self) -> bool:
        return bool(self.facts.objective) or self.facts.preferences is not NO_PREFERENCES

    def _tiers(self, eligible: list[Eligible], ranking: Ranking) -> list[list[int]]:
        """Indexes in the objective's order, split by what the request would rather have.

        A draw among some of the candidates is the draw among all, looked at for those alone: each
        tier can be drawn for itself.
        """
        wanted = self.facts.preferences
        if wanted is NO_PREFERENCES:
            return [list(ranking.order)]
        tiers: dict[tuple[int, bool], list[int]] = {}
        for i in ranking.order:
            place = eligible[i].endpoint.place_in(wanted.order)
            tiers.setdefault((place, not meets(eligible[i].numbers, wanted)), []).append(i)
        return [tiers[key] for key in sorted(tiers)]

    def _allow_fallbacks(self) -> bool:
        wanted = self.facts.preferences.allow_fallbacks
        return self.document.allow_fallbacks if wanted is None else wanted

    # --- numbers ------------------------------------------------------------------------------
    def _tariff(self, endpoint: Endpoint) -> Tariff:
        facts = self.facts
        return endpoint.prices.tariff(self.moment.utc, facts.input_tokens, facts.service_tier)

    def _expected_cost_pico(self, endpoint: Endpoint, cached_share: float) -> int:
        facts, tariff = self.facts, self._tariff(endpoint)
        per_input, per_output = tariff.pico_rates
        cost_pico = facts.input_tokens * per_input + facts.output_tokens * per_output
        if cached_share and tariff.cached_pico < per_input:
            cached = int(facts.input_tokens * cached_share)
            cost_pico -= cached * (per_input - tariff.cached_pico)
        if facts.pieces:
            cost_pico += expected_pieces_pico(tariff.rows, facts.pieces)
        return cost_pico

    def _note(
        self,
        candidate: Eligible,
        score: float,
        share: float,
        excluded: str = "",
        detail: str = "",
        explored: float = 0.0,
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
                numbers.valid_rate if self.needs_form else None,
                numbers.valid_samples if self.needs_form else 0,
                explored,
            )
        )
