"""What can be said in one dialect only goes to those who speak it, and is named where nobody does."""

from __future__ import annotations

from random import Random

import pytest

from routing.core.catalog import Endpoint
from routing.core.decision import Exclusion
from routing.core.filters import HardFilters, Verdict
from routing.core.plan import NoEndpointLeft, plan
from routing.core.request import RequestFacts, needing, needs_other_words
from tests.routing.factories import (
    EMPTY_POLICY,
    endpoint,
    facts,
    health,
    moment,
    policy,
    provider,
    snapshot,
)

OWN = endpoint("own", 1, at=provider("own", 1, dialect="openai_responses"))
BESIDE = endpoint(
    "beside", 2, at=provider("beside", 2, also_speaks=frozenset({"openai_responses"}))
)
CHAT = endpoint("chat", 3, capabilities=frozenset({"tools"}))
SEARCHING = needing(facts(), "openai_responses", ["tools.web_search", "prompt"])


def verdict(one: Endpoint, asked: RequestFacts = SEARCHING) -> Verdict | None:
    return HardFilters(asked, policy().document, moment()).exclude(one)


def test_whoever_speaks_the_dialect_has_all_that_is_said_in_it() -> None:
    assert verdict(OWN) is None
    assert verdict(BESIDE) is None
    assert verdict(CHAT) == (Exclusion.OTHER_DIALECT, "prompt, tools.web_search")


def test_a_capability_is_needed_besides() -> None:
    blind = endpoint("beside", 2, at=BESIDE.provider, capabilities=frozenset())
    seeing = needing(facts(needs=frozenset({"vision"})), "openai_responses", ["prompt"])
    assert verdict(blind, seeing) == (Exclusion.MISSING_CAPABILITY, "vision")
    assert verdict(CHAT, seeing) == (Exclusion.OTHER_DIALECT, "prompt")


def test_nothing_is_planned_elsewhere_however_cheap_it_is() -> None:
    cheap = endpoint("cheap", 4, ("0.01", "0.01"))
    drawn = plan(
        SEARCHING, EMPTY_POLICY, snapshot(cheap, BESIDE, CHAT), health(), moment(), Random(1)
    )
    assert [one.id for one in drawn.attempts] == [BESIDE.id]


def test_where_nobody_speaks_it_the_refusal_names_what_was_said() -> None:
    with pytest.raises(NoEndpointLeft) as raised:
        plan(SEARCHING, EMPTY_POLICY, snapshot(CHAT), health(), moment(), Random(1))
    assert (raised.value.status, raised.value.code) == (400, "unsupported_parameter")
    assert "other_dialect (1: prompt, tools.web_search)" in raised.value.message
    assert "Leave it out" in raised.value.message


def test_a_copy_in_another_dialect_would_ask_something_else() -> None:
    assert needs_other_words(SEARCHING, "openai_compat")
    assert not needs_other_words(SEARCHING, "openai_responses")
    assert not needs_other_words(facts(needs=frozenset({"tools"})), "openai_compat")


def test_where_a_key_would_help_the_request_is_not_at_fault() -> None:
    keyless = endpoint("beside", 2, at=BESIDE.provider, credentials=())
    with pytest.raises(NoEndpointLeft) as raised:
        plan(SEARCHING, EMPTY_POLICY, snapshot(CHAT, keyless), health(), moment(), Random(1))
    assert (raised.value.status, raised.value.code) == (404, "no_endpoint")
    assert "An administrator can add a provider key." in raised.value.message
