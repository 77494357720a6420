"""OpenAI's client against a running hub, where the provider takes Responses as they are written."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.support.hub_tools import Rest, SimulatorControl, money

pytestmark = pytest.mark.e2e

MODEL = "openai/gpt-5-mini"  # nobody else has it
SEARCH: Any = {"type": "web_search"}


def request_of(response_id: str) -> str:
    """The id of the request that a response came from."""
    hex = response_id.removeprefix("resp_")
    return "-".join((hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]))


def test_a_search_is_run_there_told_in_events_and_on_the_receipt(
    client: OpenAI, rest: Rest, simulator: SimulatorControl
) -> None:
    asked = client.responses.stream(model=MODEL, input="Search for panels.", tools=[SEARCH])
    with asked as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.web_search_call.searching" in kinds
    assert final.output_text
    receipt = rest.receipt(request_of(final.id))
    (attempt,) = receipt["attempts"]
    (row,) = simulator.journal(request_of(final.id))
    assert money(receipt["cost_usd"]) == Decimal(str(row["cost_usd"])) > Decimal("0.01")
    assert {line["meter"] for line in attempt["lines"]} == {"input", "output", "search"}


def test_thoughts_come_back_in_the_next_turn_and_the_chain_can_be_read(client: OpenAI) -> None:
    first = client.responses.create(model=MODEL, input="My name is Ada.")
    assert first.output[0].type == "reasoning"
    second = client.responses.create(
        model=MODEL, input="What is my name?", previous_response_id=first.id
    )
    items = client.responses.input_items.list(second.id, order="asc").data
    assert [item.type for item in items] == ["message", "reasoning", "message", "message"]
    assert client.responses.retrieve(second.id).output_text == second.output_text
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)


def test_the_played_provider_was_sent_nothing_that_it_must_not_see(
    client: OpenAI, simulator: SimulatorControl
) -> None:
    client.responses.create(model=MODEL, input="hello", metadata={"team": "panels"})
    objections = simulator.violations()  # to other tests' calls of other providers too
    assert [one for one in objections if one["provider"] == "openai"] == []
