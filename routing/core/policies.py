"""A policy's document, and which part of it holds for a request.

A document is settings and, besides, rules: the first rule whose conditions a request meets changes
some of the settings for it. Everything here is a pure function of the request's facts and the time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from routing.core.request import RequestFacts

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NO_RULE = -1


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conditions on a request; all that are set must hold, and one of each list's values."""

    models: tuple[str, ...] = ()  # canonical names; `*` stands for anything
    tags: tuple[str, ...] = ()  # of the request
    needs: tuple[str, ...] = ()  # capabilities that the request needs
    input_tokens_from: int | None = None  # estimate, inclusive
    input_tokens_until: int | None = None  # exclusive
    stream: bool | None = None
    utc_from: str = ""  # "HH:MM"; with `utc_until` a half-open window that may wrap midnight
    utc_until: str = ""
    weekdays: tuple[str, ...] = ()  # of WEEKDAYS, in UTC


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    when: Match
    then: dict[str, Any]  # settings of the document that differ when the rule holds
    name: str = ""  # shown in decisions


class ServiceLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the objective "slo-cheapest" asks of an endpoint before it looks at the price."""

    ttft_p95_ms: float | None = None
    speed_p50_tps: float | None = None
    success_rate: float | None = None  # 0..1


class Canary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """This share of the requests tries the provider first; the others try it last."""

    provider: str
    share: float  # 0..1


class Shadow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """This share of the requests is sent to the provider besides; its answer is thrown away."""

    provider: str
    share: float  # 0..1
    max_usd_per_day: str = "1"  # decimal string; each gateway process has its part


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one request; None leaves the limit as the provider or the hub has it. See core.deadlines."""

    first_content_s: float | None = None
    idle_s: float | None = None
    progress_s: float | None = None
    total_s: float | None = None


class Hedge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second attempt at the next endpoint when the first one is late, before anything was sent."""

    after_ms: float | None = None  # None: when 95 of 100 answers of the endpoint would have begun
    max_share: float = 0.05  # of the requests that may be hedged
    max_usd_per_day: str = "1"  # decimal string; each gateway process has its part


class Exploration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests tried elsewhere to keep every endpoint measured. See core.exploration."""

    share: float = 0.02  # of the requests, for each endpoint; 0 switches it off
    max_extra_cost: float = 0.05  # of a request's expected cost: exploring adds no more


class PolicyDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an admin writes. A request may narrow the filters further, never widen them."""

    objective: str = "balanced"
    order: tuple[str, ...] = ()  # provider slugs, tried first and in this order
    only: tuple[str, ...] = ()  # provider slugs; empty means all
    ignore: tuple[str, ...] = ()
    weights: dict[str, int] = {}  # objective "weighted": provider slug -> share
    max_price_input: str | None = None  # USD per 1M input tokens, decimal string
    max_price_output: str | None = None
    allow_fallbacks: bool = True
    max_attempts: int = 3
    quantizations: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    max_price_request: str | None = None  # USD per request
    max_price_image: str | None = None  # USD per image
    require_parameters: bool = False  # only endpoints that take every parameter that is sent
    data_collection: str = ""  # "deny": only providers that promise not to train on prompts
    zdr: bool = False  # zero data retention: only providers that promise to keep nothing
    slo: ServiceLevel | None = None  # for the objective "slo-cheapest"
    canary: Canary | None = None
    stable_by: str = ""  # "conversation" | "key": draw the same endpoint for it each time
    shadow: Shadow | None = None
    rules: tuple[Rule, ...] = ()  # the first that matches changes what it names
    retry_unanswered: bool | None = None  # once more what was sent and not answered; None: by kind
    timeouts: Timeouts | None = None
    hedge: Hedge | None = None  # None: never, unless a request asks for it
    resume: bool = False  # a stream that is cut goes on at another endpoint, marked
    exploration: Exploration | None = None  # None: as the objective has it
    sticky_s: float = (
        600.0  # a conversation stays where it is cached, unless idle so long; 0: never
    )

    @property
    def says_how_to_try(self) -> bool:
        """Whether the attempts themselves differ from the usual, not only where they go."""
        settings = self.retry_unanswered, self.timeouts, self.hedge
        return (
            self.resume
            or self.require_parameters
            or any(setting is not None for setting in settings)
        )

    @property
    def has_max_price(self) -> bool:
        return not (
            self.max_price_input
            is self.max_price_output
            is self.max_price_request
            is self.max_price_image
            is None
        )


RULELESS = frozenset({"rules"})  # settings that a rule cannot change


def merged(document: PolicyDocument, rule: Rule) -> PolicyDocument:
    """The settings while `rule` holds. Raises msgspec.ValidationError where `then` is no such."""
    for name in sorted(RULELESS & rule.then.keys()):
        raise msgspec.ValidationError(f"a rule cannot change {name} - at `$.{name}`")
    settings: dict[str, Any] = msgspec.to_builtins(document)
    return msgspec.convert({**settings, **rule.then, "rules": ()}, PolicyDocument)


def matching_rule(document: PolicyDocument, facts: RequestFacts, utc: dt.datetime) -> int:
    """The index of the first rule that holds, or NO_RULE."""
    for i, rule in enumerate(document.rules):
        if holds(rule.when, facts, utc):
            return i
    return NO_RULE


def holds(when: Match, facts: RequestFacts, utc: dt.datetime) -> bool:
    return all(condition(when, facts, utc) for condition in _CONDITIONS)


def _model(when: Match, facts: RequestFacts, utc: dt.datetime) -> bool:
    return not when.models or any(fnmatchcase(facts.model, name) for name in when.models)


def _tags(when: Match, facts: RequestFacts, utc: dt.datetime) -> bool:
    return not when.tags or not facts.tags.isdisjoint(when.tags)


def _needs(when: Match, facts: RequestFacts, utc: dt.datetime) -> bool:
    return not when.needs or not facts.needs.isdisjoint(when.needs)


def _size(when: Match, facts: RequestFacts, utc: dt.datetime) -> bool:
    least, end = when.input_tokens_from, when.input_tokens_until
    tokens = facts.input_tokens
    return (least is None or tokens >= least) and (end is None or tokens < end)


def _stream(when: Match, facts: RequestFacts, utc: dt.datetime) -> bool:
    return when.stream is None or facts.stream is when.stream


def _hours(when: Match, facts: RequestFacts, utc: dt.datetime) -> bool:
    start, end = when.utc_from, when.utc_until
    if not start and not end:
        return True
    now = f"{utc:%H:%M}"  # such texts sort as the times they stand for
    start, end = start or "00:00", end or "24:00"
    return start <= now < end if start <= end else now >= start or now < end


def _day(when: Match, facts: RequestFacts, utc: dt.datetime) -> bool:
    return not when.weekdays or WEEKDAYS[utc.weekday()] in when.weekdays


_CONDITIONS: tuple[Callable[[Match, RequestFacts, dt.datetime], bool], ...] = (
    _model,
    _tags,
    _needs,
    _size,
    _stream,
    _hours,
    _day,
)


def stable_identity(document: PolicyDocument, facts: RequestFacts) -> str:
    """Whose draws are to be the same each time; "" draws anew for each request."""
    if document.stable_by == "conversation" and facts.conversation:
        return conversation_identity(facts)
    if document.stable_by == "key" and facts.key_id:
        return f"key {facts.key_id}"
    return ""


def conversation_identity(facts: RequestFacts) -> str:
    return f"conversation {facts.key_id} {facts.conversation}"
