"""Responses at a provider that takes them as they are, by OpenAI's client over sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import openai
import pytest

from routing.core.decision import Decision
from routing.core.policies import Hedge
from routing.core.record import Outcome, RequestDone
from routing.core.usage import UsageSource
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from tests.routing.simulator.test_responses import BUILTIN, FUNCTION
from tests.routing.surfaces.responses.live import CATALOG, TALKER, THINKER, LiveHub
from tests.routing.surfaces.responses.support import checked_events, checked_response, kinds

SEALED = "reasoning.encrypted_content"
AS_WRITTEN = {
    "instructions": "be brief",
    "tools": [*BUILTIN, FUNCTION],
    "include": ["web_search_call.action.sources", "code_interpreter_call.outputs"],
    "metadata": {"team": "panels"},
    "prompt_cache_key": "k1",
    "truncation": "auto",
    "text": {"verbosity": "low"},
    "max_tool_calls": 5,
    "service_tier": "priority",
    "safety_identifier": "u1",
    "temperature": 0.5,
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[ThreadedSimulator]:
    options = Options(speed=0, keep_requests=True)
    with ThreadedSimulator([CATALOG], options) as running:
        yield running


@pytest.fixture
async def hub(simulator: ThreadedSimulator) -> AsyncIterator[LiveHub]:
    simulator.clear()
    hub = LiveHub(simulator)
    async with hub.served():
        yield hub
    assert simulator.violations() == []


async def events_of(hub: LiveHub, **body: Any) -> list[dict[str, Any]]:
    return checked_events((await hub.post(**body, stream=True)).content)


def without_ids(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{n: v for n, v in item.items() if n not in ("id", "call_id")} for item in items]


# --- in the client's own words ---------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_the_provider_gets_what_the_client_wrote(hub: LiveHub, stream: bool) -> None:
    answer = await hub.post(**AS_WRITTEN, stream=stream, provider={"only": ["openai"]})
    assert answer.status_code == 200, answer.text
    assert "x-panelboard-dropped-params" not in answer.headers
    assert hub.asked_at() == ["openai /responses"]
    sent = hub.sent()
    assert {name: sent[name] for name in AS_WRITTEN} == AS_WRITTEN
    assert (sent["model"], sent["input"], sent["store"]) == (TALKER, "hi", False)
    assert sent.keys() - AS_WRITTEN.keys() <= {"model", "input", "store", "stream"}


async def test_an_answer_is_the_providers_but_for_the_ids(hub: LiveHub) -> None:
    answer = await hub.post(**AS_WRITTEN)
    response = checked_response(answer.content)
    hex = answer.headers["x-request-id"].replace("-", "")
    assert response["id"] == f"resp_{hex}"
    assert [item["id"] for item in response["output"]] == [
        f"{word}_{hex}o{place}"
        for place, word in enumerate(["ws", "ws", "fs", "ci", "mcpl", "mcp", "ig", "msg"])
    ]
    assert response["output"][3]["outputs"] == [{"type": "logs", "logs": "42\n"}]
    assert response["output"][0]["action"]["sources"]
    assert response["service_tier"] == "priority"
    assert response["truncation"] == "auto"
    assert response["store"] is True
    assert hub.cost() == hub.billed() > 0


async def test_a_stream_tells_every_event_of_the_provider(hub: LiveHub) -> None:
    whole = checked_response((await hub.post(**AS_WRITTEN)).content)
    events = await events_of(hub, **AS_WRITTEN)
    told = kinds(events)
    for kind in (
        "web_search_call.searching",
        "file_search_call.completed",
        "code_interpreter_call_code.delta",
        "mcp_list_tools.completed",
        "mcp_call_arguments.done",
        "image_generation_call.partial_image",
        "output_text.annotation.added",
    ):
        assert kind in told
    last = events[-1]["response"]
    assert without_ids(last["output"]) == without_ids(whole["output"])
    ids = {item["id"] for item in last["output"]}
    assert {event["item_id"] for event in events if "item_id" in event} <= ids
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert done == last["output"]
    assert {e["response"]["id"] for e in events if "response" in e} == {last["id"]}
    assert last["store"] is True
    assert hub.cost() == hub.billed() > 0


async def test_openais_client_reads_the_stream(hub: LiveHub) -> None:
    async with hub.client() as client:
        tools: Any = [FUNCTION, {"type": "web_search"}]
        asked = client.responses.stream(model=THINKER, input="search for panels", tools=tools)
        async with asked as stream:
            text = [e.delta async for e in stream if e.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        assert final.output_text == "".join(text)
        kept = await client.responses.retrieve(final.id)
    assert kept.output_text == final.output_text
    assert hub.asked_at() == ["openai /responses"]


async def test_words_of_chat_still_work_by_way_of_chat(hub: LiveHub) -> None:
    checked_response((await hub.post(seed=7, stop=["panel"])).content)
    assert hub.asked_at() == ["openai /chat/completions"]
    refused = await hub.post(seed=7, tools=[{"type": "web_search"}])
    assert refused.status_code == 400
    assert hub.asked_at()[1:] == ["openai /responses"]  # which says itself that it has no seed
    assert "seed" in refused.json()["error"]["message"]


async def test_marks_for_other_dialects_caches_stay_behind_and_are_named(hub: LiveHub) -> None:
    marked = {"type": "input_text", "text": "hi", "cache_control": {"type": "ephemeral"}}
    asked = {"input": [{"role": "user", "content": [marked]}], "tools": [{"type": "web_search"}]}
    answer = await hub.post(**asked)
    assert answer.headers["x-panelboard-dropped-params"] == "input.content.cache_control"
    assert hub.sent()["input"][0]["content"] == [{"type": "input_text", "text": "hi"}]


# --- what it costs ---------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": THINKER, "reasoning": {"summary": "auto"}},
        {"model": THINKER, "input": "word " * 6000},
        {"tools": [{"type": "web_search"}], "input": "search, and search, and search"},
        {"service_tier": "priority", "tools": [{"type": "web_search"}]},
        {"tools": [FUNCTION], "input": "What is the weather in Oslo?"},
        {"max_output_tokens": 16},
    ],
)
async def test_what_is_booked_is_what_the_provider_bills(
    hub: LiveHub, body: dict[str, Any], stream: bool
) -> None:
    for _ in range(2):  # the second time some of it may be cached
        await hub.post(**body, stream=stream)
    assert hub.cost() == hub.billed() > 0
    assert {one.outcome for one in hub.spool.finishes} == {Outcome.OK}
    row, usage = hub.simulator.journal()[-1], hub.finish.usage
    assert usage.input_total == row.input_tokens
    assert usage.output_total == row.output_tokens


async def test_searches_are_metered_where_they_are_made(hub: LiveHub) -> None:
    await hub.post(tools=[{"type": "web_search"}], input="search and search", stream=True)
    assert hub.finish.usage.searches == 2
    without = await hub.post(input="search and search")
    assert without.status_code == 200
    assert hub.finish.usage.searches is None
    assert hub.spool.finishes[0].cost_usd > Decimal("0.02") > hub.spool.finishes[1].cost_usd


async def test_cached_and_reasoning_tokens_are_told_apart(hub: LiveHub) -> None:
    for _ in range(2):
        await hub.post(model=THINKER, input="word " * 6000, reasoning={"effort": "high"})
    usage = hub.finish.usage
    assert 0 < (usage.cache_read or 0) < (usage.input_total or 0)
    assert 0 < (usage.reasoning or 0) < (usage.output_total or 0)


async def test_an_answer_without_usage_is_estimated(hub: LiveHub) -> None:
    hub.simulator.add_fault("no_usage", provider="openai")
    events = await events_of(hub)
    assert events[-1]["response"]["usage"] is None
    assert hub.finish.usage.source is UsageSource.ESTIMATED
    assert hub.finish.cost_usd > 0


# --- conversations ---------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_thoughts_survive_a_chain_that_the_hub_keeps(hub: LiveHub, stream: bool) -> None:
    async def say(**body: Any) -> dict[str, Any]:
        if stream:
            last: dict[str, Any] = (await events_of(hub, model=THINKER, **body))[-1]["response"]
            return last
        return checked_response((await hub.post(model=THINKER, **body)).content)

    first = await say(input="What is the weather in Oslo?", tools=[FUNCTION])
    assert hub.sent()["include"] == [SEALED]
    thought, call = first["output"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "4 C"}
    second = await say(input=[result], previous_response_id=first["id"], tools=[FUNCTION])
    assert second["previous_response_id"] == first["id"]
    assert "4 C" in second["output"][-1]["content"][0]["text"]
    sent = hub.sent()["input"]
    assert [item["type"] for item in sent] == [
        *("message", "reasoning", "function_call"),
        "function_call_output",
    ]
    assert sent[1]["encrypted_content"] == thought["encrypted_content"]
    third = await say(input="and Paris?", previous_response_id=second["id"])
    assert len(hub.sent()["input"]) == 7
    assert third["store"] is True
    assert hub.asked_at() == ["openai /responses"] * 3


async def test_a_client_that_keeps_everything_itself_gets_thoughts_only_if_it_asks(
    hub: LiveHub,
) -> None:
    asked = {"model": THINKER, "store": False}
    plain = checked_response((await hub.post(**asked)).content)
    assert "encrypted_content" not in plain["output"][0]
    assert "include" not in hub.sent()
    sealed = checked_response((await hub.post(**asked, include=[SEALED])).content)
    turns = [{"role": "user", "content": "hi"}, *sealed["output"]]
    again = await hub.post(**asked, input=[*turns, {"role": "user", "content": "go on"}])
    assert again.status_code == 200, again.text
    assert hub.sent()["input"][1]["encrypted_content"] == sealed["output"][0]["encrypted_content"]
    assert not hub.store.rows


async def test_items_can_be_named_by_the_ids_that_the_client_saw(hub: LiveHub) -> None:
    first = (await events_of(hub, tools=[{"type": "web_search"}]))[-1]["response"]
    references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
    answer = await hub.post(input=[*references, {"role": "user", "content": "go on"}])
    assert answer.status_code == 200, answer.text
    kinds_sent = [item.get("type") for item in hub.sent()["input"]]
    assert kinds_sent == ["web_search_call", "web_search_call", "message", None]


async def test_what_the_client_lets_the_provider_keep_is_kept_there_too(hub: LiveHub) -> None:
    first = checked_response((await hub.post(model=THINKER, store=True)).content)
    assert hub.sent()["store"] is True
    assert "include" not in hub.sent()
    assert first["store"] is True
    assert len(hub.store.rows) == 1


async def test_kept_responses_are_read_and_deleted_by_the_clients_id(hub: LiveHub) -> None:
    async with hub.client() as client:
        first = await client.responses.create(model=TALKER, input="q1", tools=BUILTIN)  # type: ignore[arg-type]
        assert await client.responses.retrieve(first.id) == first
        listed = await client.responses.input_items.list(first.id)
        assert [item.type async for item in listed] == ["message"]
        await client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(first.id)
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(model=TALKER, input="q2", previous_response_id=first.id)


async def test_without_its_store_the_hub_says_so_in_a_native_answer_too(hub: LiveHub) -> None:
    hub.store.broken = True
    assert checked_response((await hub.post()).content)["store"] is False
    assert (await events_of(hub))[-1]["response"]["store"] is False


# --- where it goes when something fails ------------------------------------------------------


@pytest.mark.parametrize("fault", ["status", "error_200", "html_200", "empty_200"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_chain_goes_on_in_chat_and_comes_back(
    hub: LiveHub, fault: str, stream: bool
) -> None:
    first = checked_response((await hub.post(model=THINKER)).content)
    hub.simulator.add_fault(fault, provider="openai", status=503)
    chained = {"model": THINKER, "input": "go on", "previous_response_id": first["id"]}
    answer = await hub.post(**chained, stream=stream)
    assert answer.headers["x-panelboard-provider"] == "plain"
    events = checked_events(answer.content) if stream else []
    second = events[-1]["response"] if stream else checked_response(answer.content)
    assert [message["role"] for message in hub.sent()["messages"]] == ["user", "assistant", "user"]
    assert hub.asked_at()[-1] == "plain /chat/completions"
    hub.simulator.clear_faults()
    more = {"only": ["openai"]}
    third = await hub.post(
        model=THINKER, input="once more", previous_response_id=second["id"], provider=more
    )
    assert third.status_code == 200, third.text
    assert hub.asked_at()[-1] == "openai /responses"
    roles = [item["role"] for item in hub.sent()["input"] if item["type"] == "message"]
    assert roles == ["user", "assistant"] * 2 + ["user"]


async def test_an_error_before_content_is_tried_in_chat(hub: LiveHub) -> None:
    hub.simulator.add_fault("error_first_frame", provider="openai", status=500)
    answer = await hub.post(stream=True)
    assert answer.headers["x-panelboard-provider"] == "plain"
    assert kinds(checked_events(answer.content))[-1] == "completed"


@pytest.mark.parametrize("tool", BUILTIN)
async def test_a_built_in_tool_never_goes_to_an_endpoint_that_lacks_it(
    hub: LiveHub, tool: dict[str, Any]
) -> None:
    hub.simulator.add_fault("status", provider="openai", status=503)
    answer = await hub.post(tools=[tool])
    assert answer.status_code >= 500
    assert set(hub.asked_at()) == {"openai /responses"}
    refused = await hub.post(tools=[tool], provider={"only": ["plain"]})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "unsupported_parameter")
    assert f"other_dialect (1: tools.{tool['type']})" in error["message"]
    assert error["detail"]["excluded_by"] == {"other_dialect": 1, "not_in_only": 1}


async def test_a_refusal_of_the_provider_reaches_the_client(hub: LiveHub) -> None:
    answer = await hub.post(max_output_tokens=5)
    assert answer.status_code == 400
    assert "Expected a value >= 16" in answer.json()["error"]["message"]
    assert hub.cost() == 0


# --- streams that break ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "more"),
    [
        ("cut", {"after_chunks": 3}),
        ("cut", {"after_chunks": 3, "mode": "rst"}),
        ("cut", {"after_chunks": 3, "mode": "clean"}),
        ("cut", {"after_chunks": 3, "mode": "mid_frame"}),
        ("no_done", {}),
    ],
)
async def test_a_stream_without_its_end_fails_in_its_own_words(
    hub: LiveHub, fault: str, more: dict[str, Any]
) -> None:
    hub.simulator.add_fault(fault, provider="openai", **more)
    events = await events_of(hub, tools=[{"type": "web_search"}])
    assert kinds(events)[-2:] == ["error", "failed"]
    failed = events[-1]["response"]
    assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")
    assert [item["type"] for item in failed["output"]][:2] == ["web_search_call"] * 2
    assert failed["id"] == events[0]["response"]["id"]
    assert failed["store"] is False
    assert not hub.store.rows
    assert hub.finish.outcome is Outcome.PROVIDER_ERROR
    assert hub.finish.usage.searches == 1
    assert hub.finish.cost_usd > Decimal("0.01")


async def test_a_search_is_paid_for_where_the_answer_to_it_never_came(hub: LiveHub) -> None:
    hub.simulator.add_fault("cut", provider="openai")
    events = await events_of(hub, tools=[{"type": "web_search"}])
    assert "output_text.delta" not in kinds(events)
    assert kinds(events)[-2:] == ["error", "failed"]
    assert (hub.finish.usage.searches, hub.finish.usage.source) == (1, UsageSource.ESTIMATED)
    assert hub.finish.cost_usd > Decimal("0.01")


@pytest.mark.parametrize(
    "fault", ["byte_by_byte", "crlf", "bare_cr", "no_space", "bom", "double_done"]
)
async def test_other_ways_to_write_the_stream_are_read_alike(hub: LiveHub, fault: str) -> None:
    hub.simulator.add_fault(fault, provider="openai")
    async with hub.client() as client:
        asked = client.responses.stream(model=TALKER, input="hi", tools=[{"type": "web_search"}])
        async with asked as stream:
            final = await stream.get_final_response()
    assert final.output_text
    assert hub.cost() == hub.billed()


async def test_the_decision_tells_who_was_left_out_and_why(hub: LiveHub) -> None:
    await hub.post(tools=[{"type": "web_search"}])
    decision = json.dumps(json.loads(hub.spool.done.decision))
    assert "other_dialect" in decision
    assert "tools.web_search" in decision


@pytest.mark.parametrize("is_cut", [True, False])
async def test_what_a_provider_says_itself_is_not_continued_by_another(
    hub: LiveHub, is_cut: bool
) -> None:
    if is_cut:
        hub.simulator.add_fault("cut", provider="openai", after_chunks=3)
    wish = {"x-panelboard-resume": "continue"}
    answer = await hub.post(headers=wish, tools=[FUNCTION], stream=True)
    events = checked_events(answer.content)
    ends = ["error", "failed"] if is_cut else ["output_item.done", "completed"]
    assert kinds(events)[-2:] == ends
    assert hub.asked_at() == ["openai /responses"]
    assert len(hub.store.rows) == (0 if is_cut else 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_of_two_attempts_side_by_side_one_is_told_and_kept(
    simulator: ThreadedSimulator, stream: bool
) -> None:
    simulator.clear()
    simulator.add_fault("slow_first_token", provider="openai", seconds=2, times=1)
    hub = LiveHub(simulator, hedge=Hedge(after_ms=50, max_share=1.0))
    async with hub.served():
        answer = await hub.post(stream=stream)
    assert answer.headers["x-panelboard-provider"] == "plain"
    assert sorted(hub.asked_at()) == ["openai /responses", "plain /chat/completions"]
    events = checked_events(answer.content) if stream else []
    last = events[-1]["response"] if stream else checked_response(answer.content)
    assert [row.id for row in hub.store.rows.values()] == [last["id"]]


async def test_a_search_that_is_expected_is_in_the_expected_cost(hub: LiveHub) -> None:
    await hub.post()
    await hub.post(tools=[{"type": "web_search"}])
    without, searching = (
        {one.cost_pico for one in msgspec.json.decode(done.decision, type=Decision).candidates}
        for done in hub.spool.of(RequestDone)
    )
    a_cent_pico = 10**10
    assert min(searching) > a_cent_pico > max(without)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_form_of_its_calls_is_learned_from_the_provider_s_own_words(
    hub: LiveHub, stream: bool
) -> None:
    asked = {"model": TALKER, "input": "Weather in Oslo?", "tools": [FUNCTION], "stream": stream}
    for fault, sound in ("", 1), ("broken_form", 0):
        if fault:
            hub.simulator.add_fault(fault)
        assert (await hub.post(**asked)).status_code == 200
        ((answers, found),) = hub.gateway.health.forms.take().values()
        assert (answers, found) == (1, sound)
