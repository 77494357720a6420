"""What makes single parts of a policy wrong: rules' conditions, service levels, shares, choices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from routing.core.catalog import CAPABILITIES, PolicyDocument
from routing.core.policies import WEEKDAYS, Match, Rule, ServiceLevel
from routing.services.catalog_rules import unknown

MOST_RULES = 50
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_USED_BY = {"weights": ("weighted",), "slo": ("slo-cheapest",)}
_CHOICES = {"data_collection": ("allow", "deny"), "stable_by": ("conversation", "key")}

Found = Iterator[tuple[str, str]]


def is_used(document: PolicyDocument, *objectives: str) -> bool:
    """Whether one of these ranks, be it under a rule."""
    ranking = {document.objective, *(rule.then.get("objective") for rule in document.rules)}
    return not ranking.isdisjoint(objectives)


def is_unused(settings: PolicyDocument, field: str) -> bool:
    """Whether a setting is there for another rule's sake."""
    return field in _USED_BY and settings.objective not in _USED_BY[field]


# --- settings ---------------------------------------------------------------------------------------


def choices(document: PolicyDocument, known: object) -> Found:
    for field, allowed in _CHOICES.items():
        value = getattr(document, field)
        if value and value not in allowed:
            yield field, unknown("choice", value, allowed)
    if len(document.rules) > MOST_RULES:
        yield "rules", f"at most {MOST_RULES} rules"


def service_level(document: PolicyDocument, known: object) -> Found:
    level = document.slo
    if document.objective == "slo-cheapest" and level in (None, ServiceLevel()):
        yield (
            "slo",
            (
                'the objective "slo-cheapest" needs a level: '
                "ttft_p95_ms, speed_p50_tps or success_rate"
            ),
        )
    if level is None:
        return
    if not is_used(document, "slo-cheapest"):
        yield "slo", 'a service level has a meaning only with the objective "slo-cheapest"'
    for name in ("ttft_p95_ms", "speed_p50_tps"):
        figure = getattr(level, name)
        if figure is not None and not 0 < figure < 1e7:
            yield "slo", f"{name} must be above 0"
    if level.success_rate is not None and not 0 < level.success_rate <= 1:
        yield "slo", "success_rate is a share: write 0.995 for 99.5 %"


def shares(document: PolicyDocument, known: object) -> Found:
    for field, part in (("canary", document.canary), ("shadow", document.shadow)):
        if part is not None and not 0 < part.share <= 1:
            yield field, "share must be above 0 and at most 1: write 0.05 for 5 %"


_TIME_LIMITS_S = {"first_content_s": 3600, "idle_s": 3600, "progress_s": 3600, "total_s": 86_400}


def ways_to_try(document: PolicyDocument, known: object) -> Found:
    """How long attempts may take, and second attempts beside the first."""
    if document.timeouts is not None:
        for name, most_s in _TIME_LIMITS_S.items():
            limit_s = getattr(document.timeouts, name)
            if limit_s is not None and not 0 < limit_s <= most_s:
                yield "timeouts", f"{name} must be above 0 and at most {most_s} seconds"
    hedge = document.hedge
    if hedge is None:
        return
    if hedge.after_ms is not None and not 0 < hedge.after_ms <= 600_000:
        yield "hedge", "after_ms must be above 0 and at most 600000"
    if not 0 < hedge.max_share <= 1:
        yield "hedge", "max_share must be above 0 and at most 1: write 0.05 for 5 %"
    if not document.allow_fallbacks or document.max_attempts < 2:
        yield "hedge", "it needs a second attempt: allow fallbacks and at least 2 attempts"


LONGEST_STAY_S = 86_400
MOST_EXPLORED = 0.2


def learning(document: PolicyDocument, known: object) -> Found:
    """Requests that measure, and conversations that stay."""
    if not 0 <= document.sticky_s <= LONGEST_STAY_S:
        yield "sticky_s", f"must be 0 (never) to {LONGEST_STAY_S} seconds"
    wanted = document.exploration
    if wanted is None:
        return
    if not 0 <= wanted.share <= MOST_EXPLORED:
        yield "exploration", f"share must be 0 (off) to {MOST_EXPLORED}: write 0.02 for 2 %"
    if not 0 <= wanted.max_extra_cost <= 1:
        yield "exploration", "max_extra_cost is a share of the cost: write 0.05 for 5 %"


# --- conditions of rules ----------------------------------------------------------------------------


def problems_of_rule(rule: Rule, models: frozenset[str]) -> Iterator[str]:
    if not rule.then:
        yield "it changes nothing: name a setting in `then`"
    for find in _CONDITIONS:
        yield from find(rule.when)
    for name in rule.when.models:
        if models and not any(fnmatchcase(model, name) for model in models):
            yield unknown("model", name, tuple(models)[:1000])


def _names(when: Match) -> Iterator[str]:
    for what, values, existing in (
        ("capability", when.needs, tuple(CAPABILITIES)),
        ("weekday", when.weekdays, WEEKDAYS),
    ):
        for value in values:
            if value not in existing:
                yield unknown(what, value, existing)


def _sizes(when: Match) -> Iterator[str]:
    least, end = when.input_tokens_from, when.input_tokens_until
    if least is not None and least < 0:
        yield "input_tokens_from must not be negative"
    if end is not None and end <= (least or 0):
        yield "input_tokens_until must be above input_tokens_from: no request is between"


def _clocks(when: Match) -> Iterator[str]:
    for field in ("utc_from", "utc_until"):
        clock = getattr(when, field)
        if clock and not _CLOCK.fullmatch(clock):
            yield f"{field}: {clock[:20]!r} is no time of the day: write 08:30"
    if when.utc_from and when.utc_from == when.utc_until:
        yield "utc_from and utc_until are the same: no time is between"


_CONDITIONS: tuple[Callable[[Match], Iterator[str]], ...] = (_names, _sizes, _clocks)
