"""Plans that reuse the work of an equal question for a quarter of a second; the draw is always new.

Nothing outlives what it was worked out from: another snapshot or a change of any brake forgets
everything, and so does the moment at which a brake would let go by itself. Token counts are rounded
up, so that requests of about the same size are one question; where the rounding could change which
endpoints are eligible or which price holds, the request is planned exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import msgspec

from routing.core.catalog import Endpoint, Policy, Snapshot
from routing.core.decision import Plan
from routing.core.draw import DrawTree
from routing.core.health import HealthBook
from routing.core.moment import Moment
from routing.core.plan import drawn, plan, work_out
from routing.core.policies import NO_RULE
from routing.core.request import NO_PREFERENCES, RequestFacts

REUSE_S = 0.25
MOST_QUESTIONS = 512
EXACT_BITS = 4  # 8 steps from each power of two to the next


def rounded_up(tokens: int) -> int:
    """To four significant bits: at most an eighth more."""
    spare = tokens.bit_length() - EXACT_BITS
    return tokens if spare <= 0 else -(-tokens >> spare) << spare


def step_below(rounded: int) -> int:
    """The largest count that is not rounded up to `rounded` but to less."""
    return rounded - (1 << max((rounded - 1).bit_length() - EXACT_BITS, 0))


class PlanMemo:
    """One per gateway process. `plan` means what `core.plan.plan` means."""

    __slots__ = ("_changes", "_from", "_health", "_known", "_policies", "_snapshot", "_until")

    def __init__(self) -> None:
        self._known: dict[object, DrawTree | None] = {}  # None: has to be planned exactly
        self._policies: dict[int, Policy] = {}  # held, so that no other gets the same id
        self._snapshot: Snapshot | None = None
        self._health: HealthBook | None = None
        self._changes = -1
        self._from = self._until = 0.0

    def plan(
        self,
        facts: RequestFacts,
        policy: Policy,
        snapshot: Snapshot,
        health: HealthBook,
        moment: Moment,
        rng: Random,
        expected_output: int | None = None,
    ) -> Plan:
        """`expected_output`, in tokens, is said where it is not that of the facts.

        Raises NoEndpointLeft, as `core.plan.plan` does.
        """
        if (
            not self._from <= moment.monotonic_s < self._until
            or snapshot is not self._snapshot
            or health.changes != self._changes
            or health is not self._health
        ):
            self._forget(snapshot, health, moment.monotonic_s)
        wanted = facts.preferences
        rule = policy.rule_for(facts, moment.utc) if policy.document.rules else NO_RULE
        # `rounded_up` twice, spelled out: this runs for every request.
        n_in = facts.input_tokens
        n_out = expected = facts.output_tokens if expected_output is None else expected_output
        spare = n_in.bit_length() - EXACT_BITS
        if spare > 0:
            n_in = -(-n_in >> spare) << spare
        spare = n_out.bit_length() - EXACT_BITS
        if spare > 0:
            n_out = -(-n_out >> spare) << spare
        key = (
            facts.model,
            id(policy),
            rule,
            n_in,
            n_out,
            facts.max_output_tokens,
            facts.needs,
            facts.objective,
            facts.pinned_provider,
            facts.service_tier,
            facts.fallback_models,
            facts.parameters,
            facts.pieces,
            facts.window_tokens,
            None if wanted is NO_PREFERENCES else wanted,
        )
        found = self._known.get(key)
        if found is None:
            if key not in self._known:
                rounded = msgspec.structs.replace(facts, input_tokens=n_in, output_tokens=n_out)
                found = self._learn(key, rounded, policy, rule, moment)
            if found is None:
                exact = msgspec.structs.replace(facts, output_tokens=expected)
                return plan(exact, policy, snapshot, health, moment, rng)
        if found.settings.stable_by or (found.homes and facts.conversation):
            return drawn(found, facts, health, moment.monotonic_s, rng)
        return found.draw(rng.random)

    def _forget(self, snapshot: Snapshot, health: HealthBook, now: float) -> None:
        self._known.clear()
        self._policies.clear()
        self._snapshot, self._health = snapshot, health
        self._changes = health.changes
        self._from, self._until = now, now + REUSE_S

    def _learn(
        self, key: object, rounded: RequestFacts, policy: Policy, rule: int, moment: Moment
    ) -> DrawTree | None:
        snapshot, health = self._snapshot, self._health
        assert snapshot is not None
        assert health is not None
        if len(self._known) >= MOST_QUESTIONS:
            self._forget(snapshot, health, moment.monotonic_s)
        endpoints = [
            endpoint
            for model in (rounded.model, *rounded.fallback_models)
            for endpoint in snapshot.endpoints_of.get(model, ())
        ]
        tree: DrawTree | None = None
        if all(_rounding_is_harmless(endpoint, rounded, moment) for endpoint in endpoints):
            tree = work_out(rounded, policy, rule, snapshot, health, moment)
        self._until = min(self._until, _next_release(health, endpoints, moment.monotonic_s))
        self._policies[id(policy)] = policy
        self._known[key] = tree
        return tree


def _rounding_is_harmless(endpoint: Endpoint, rounded: RequestFacts, moment: Moment) -> bool:
    """Whether each count that is rounded to this one has the same answer, for as long as reused."""
    most = rounded.input_tokens
    least = step_below(most) + 1
    window, wanted = endpoint.context_window, rounded.max_output_tokens or 0
    is_rounded = rounded.window_tokens is None
    if is_rounded and window is not None and least + wanted <= window < most + wanted:
        return False
    return endpoint.prices.is_steady(moment.utc, least, most)


def _next_release(health: HealthBook, endpoints: Iterable[Endpoint], now: float) -> float:
    return min((health.next_release(one.id, now) for one in endpoints), default=now + 1)
