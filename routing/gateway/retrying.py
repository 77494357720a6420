"""Whether a request that failed at one endpoint is tried again, where, and when.

What went wrong decides (see `RULES`), then the limits: the attempts of one request, the retry
budget of each endpoint, and for what was sent and never answered one more try at the most, because
the provider may have done the work.
"""

from __future__ import annotations

from random import Random

import msgspec

from routing.core.catalog import Endpoint
from routing.core.errors import FailureClass, UpstreamError
from routing.core.health import HealthBook
from routing.core.kinds import IMAGE, SPEECH, TRANSCRIPTION, TRANSLATION
from routing.gateway.attempt import Attempt

BACKOFF_FIRST_S = 0.25
BACKOFF_LONGEST_S = 8.0
LONGEST_WAIT_S = 5.0  # of a Retry-After that is waited for; a longer one is the client's to keep
RETRY_SHARE = 0.1  # of the outcomes of an endpoint that fails
RETRIES_PER_S = 1.0  # at least
BUDGET_WINDOW_S = 10.0
QUIET_WORTH = BUDGET_WINDOW_S * RETRIES_PER_S
# Dear, and hardly ever silent by accident.
NEVER_TWICE = frozenset({IMAGE, SPEECH, TRANSCRIPTION, TRANSLATION})


class Rule(msgspec.Struct, frozen=True):
    elsewhere: bool  # another endpoint may be tried
    again: bool = False  # the same one, where there is no other
    only_if_told: bool = False  # the same one only after a Retry-After that can be waited for
    other_credential: bool = False  # the same one at once, with another key of the hub's


NEVER = Rule(elsewhere=False)
RULES: dict[FailureClass, Rule] = {
    FailureClass.CONNECT: Rule(elsewhere=True, again=True),
    FailureClass.TRANSIENT: Rule(elsewhere=True, again=True),
    FailureClass.CAPACITY: Rule(elsewhere=True, again=True, only_if_told=True),
    FailureClass.TIMEOUT: Rule(elsewhere=True),
    FailureClass.CREDENTIAL: Rule(elsewhere=True, other_credential=True),
    FailureClass.BILLING: Rule(elsewhere=True, other_credential=True),
    FailureClass.MODEL_GONE: Rule(elsewhere=True),
    FailureClass.CONTEXT: Rule(elsewhere=True),  # only where the window is larger
    FailureClass.CLIENT: NEVER,
    FailureClass.CANCELLED: NEVER,
}


def went_unanswered(error: UpstreamError, attempt: Attempt) -> bool:
    """The request was sent and nothing meaningful came back: it may have been done, and billed."""
    if not error.was_sent:
        return False
    if error.failure is FailureClass.TIMEOUT:
        return True
    return error.failure is FailureClass.TRANSIENT and attempt.headers_at is None


class RetryBudget:
    """At most a share of an endpoint's outcomes, and one a second, may be second tries.

    It is looked at only after failures, and learns then how many outcomes there were meanwhile.
    """

    __slots__ = ("_at", "_outcomes", "_tokens")

    def __init__(self, now: float, outcomes: int) -> None:
        self._at = now
        self._outcomes = outcomes
        self._tokens = QUIET_WORTH

    def take(self, now: float, outcomes: int) -> bool:
        elapsed = max(now - self._at, 0.0)
        earned = max(RETRY_SHARE * (outcomes - self._outcomes), RETRIES_PER_S * elapsed)
        if elapsed <= BUDGET_WINDOW_S:  # what was saved beyond a quiet window's worth fades
            saved = max(self._tokens * (1.0 - elapsed / BUDGET_WINDOW_S), QUIET_WORTH)
            self._tokens = min(self._tokens, saved) + earned
        else:  # what was earned longer ago is gone
            in_window = earned / elapsed * BUDGET_WINDOW_S
            self._tokens = max(QUIET_WORTH, in_window)
        self._at, self._outcomes = now, outcomes
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class RetryBudgets:
    """Of one gateway process, by endpoint."""

    def __init__(self, health: HealthBook) -> None:
        self._health = health
        self._budgets: dict[int, RetryBudget] = {}

    def take(self, endpoint_id: int, now: float, *, again: bool) -> bool:
        """Whether a second try may go there. One that hardly ever fails takes all that come."""
        health = self._health
        if not health.may_retry(endpoint_id):
            return False
        if not again and health.is_trusted(endpoint_id):
            return True
        outcomes = health.outcomes(endpoint_id)
        budget = self._budgets.get(endpoint_id)
        if budget is None:
            budget = self._budgets[endpoint_id] = RetryBudget(now, outcomes)
        return budget.take(now, outcomes)

    def forget_missing(self, endpoint_ids: frozenset[int]) -> None:
        for gone in set(self._budgets) - endpoint_ids:
            del self._budgets[gone]


class Retries:
    """What has failed of one request so far. `is_out_of_budget` says why there is no other try."""

    __slots__ = ("_budgets", "_may_repeat", "_rng", "is_out_of_budget")

    def __init__(
        self, budgets: RetryBudgets, rng: Random, kind: str, retry_unanswered: bool | None
    ) -> None:
        self._budgets = budgets
        self._rng = rng
        # One more try for a request that may have been answered behind our back; then no other.
        self._may_repeat = kind not in NEVER_TWICE if retry_unanswered is None else retry_unanswered
        self.is_out_of_budget = False

    def next_wait_s(
        self,
        error: UpstreamError,
        attempt: Attempt,
        queue: list[Endpoint],
        now: float,
        *,
        has_other_credential: bool,
    ) -> float | None:
        """Seconds to wait for the first of `queue`, which is changed; None for no other try."""
        rule, endpoint = RULES[error.failure], attempt.endpoint
        if not rule.elsewhere or not self._may_follow(error, attempt):
            return None
        if error.failure is FailureClass.CONTEXT:
            window = endpoint.context_window or 0
            queue[:] = [other for other in queue if (other.context_window or 0) > window]
        if rule.other_credential and has_other_credential:
            queue.insert(0, endpoint)
            return 0.0
        while queue:
            if self._budgets.take(queue[0].id, now, again=False):
                return 0.0
            self.is_out_of_budget = True
            queue.pop(0)
        return self._again(rule, error, attempt, queue, now)

    def _may_follow(self, error: UpstreamError, attempt: Attempt) -> bool:
        if not went_unanswered(error, attempt):
            return True
        may_repeat, self._may_repeat = self._may_repeat, False
        return may_repeat

    def _again(
        self,
        rule: Rule,
        error: UpstreamError,
        attempt: Attempt,
        queue: list[Endpoint],
        now: float,
    ) -> float | None:
        told_s = error.retry_after_s
        is_late = told_s is not None and told_s > LONGEST_WAIT_S
        if not rule.again or is_late or (rule.only_if_told and told_s is None):
            return None
        if not self._budgets.take(attempt.endpoint.id, now, again=True):
            self.is_out_of_budget = True
            return None
        queue.append(attempt.endpoint)
        ceiling_s = min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2.0 ** (attempt.no - 1))
        return max(self._rng.random() * ceiling_s, told_s or 0.0)
