"""Turn after turn: by sending everything again, by naming the response before, by naming items."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.adapters.anthropic.messages import system_and_messages
from routing.core.errors import HubError
from routing.surfaces.responses import KeptResponse, Shelf
from routing.surfaces.responses.resources import (
    cannot_cancel,
    deleted_body,
    input_items_body,
    response_body,
)
from tests.routing.adapters.support import endpoint_of
from tests.routing.surfaces.responses.support import (
    TOOL,
    MemoryStore,
    asked,
    chat_answer,
    chat_stream,
    checked_events,
    checked_items,
    checked_response,
    chunk,
    request,
    stream_to,
    tool_delta,
    voice_of,
)

CALL = {"id": "c0", "type": "function", "function": {"name": "get_temp", "arguments": "{}"}}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def shelf(store: MemoryStore) -> Shelf:
    return Shelf(store, project_id=1)


async def answer(
    store: MemoryStore | None, no: int, body: dict[str, Any], message: Any, finish: str = "stop"
) -> dict[str, Any]:
    voice = await asked(body, store, no)
    return checked_response(await voice.deliver(chat_bytes(message, finish)))


def chat_bytes(message: Any, finish: str = "stop") -> bytes:
    return json.dumps(chat_answer(message, finish)).encode()


async def chat_messages(store: MemoryStore, no: int, body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await asked(body, store, no)).chat["messages"]
    return found


# --- by the id of the response before --------------------------------------------------------


async def test_a_request_goes_on_from_the_response_it_names(store: MemoryStore) -> None:
    first = await answer(store, 1, request("my name is Ada", instructions="be brief"), "hi Ada")
    body = request("who am I?", previous_response_id=first["id"], instructions="be long")
    assert await chat_messages(store, 2, body) == [
        {"role": "system", "content": "be long"},  # instructions are not carried over
        {"role": "user", "content": "my name is Ada"},
        {"role": "assistant", "content": "hi Ada"},
        {"role": "user", "content": "who am I?"},
    ]


async def test_a_chain_holds_all_its_turns(store: MemoryStore) -> None:
    previous: str | None = None
    for no in range(1, 5):
        body = request(f"q{no}", previous_response_id=previous)
        response = await answer(store, no, body, f"a{no}")
        assert response["previous_response_id"] == previous
        previous = response["id"]
    messages = await chat_messages(store, 9, request("q5", previous_response_id=previous))
    assert [m["content"] for m in messages] == [
        *("q1", "a1", "q2", "a2", "q3", "a3", "q4", "a4"),
        "q5",
    ]


async def test_a_chain_may_branch_and_outlives_what_it_came_from(
    shelf: Shelf, store: MemoryStore
) -> None:
    first = await answer(store, 1, request("q1"), "a1")
    left = await answer(store, 2, request("q2", previous_response_id=first["id"]), "a2")
    right = await answer(store, 3, request("q3", previous_response_id=first["id"]), "a3")
    await shelf.forget(first["id"])
    for response, said in ((left, "a2"), (right, "a3")):
        body = request("and?", previous_response_id=response["id"])
        contents = [m["content"] for m in await chat_messages(store, 9, body)]
        assert contents[0] == "q1"
        assert contents[-2] == said


async def test_a_tool_loop_needs_to_send_results_only(store: MemoryStore) -> None:
    body = request("how warm?", tools=[TOOL])
    first = await answer(store, 1, body, {"content": None, "tool_calls": [CALL]}, "tool_calls")
    result = {"type": "function_call_output", "call_id": "c0", "output": "4 C"}
    body = request([result], tools=[TOOL], previous_response_id=first["id"])
    assert await chat_messages(store, 2, body) == [
        {"role": "user", "content": "how warm?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c0", "content": "4 C"},
    ]


async def test_an_unanswered_call_of_the_response_before_is_refused(store: MemoryStore) -> None:
    message = {"content": None, "tool_calls": [CALL]}
    first = await answer(store, 1, request("how warm?", tools=[TOOL]), message, "tool_calls")
    with pytest.raises(HubError, match="No tool output found for the call with call_id 'c0'"):
        await asked(request("well?", previous_response_id=first["id"]), store, 2)


async def test_the_last_event_leaves_after_the_response_was_kept(
    shelf: Shelf, store: MemoryStore
) -> None:
    voice = await asked(request("hi"), store, 1)
    stream = voice.open_stream()
    told = stream.feed(chat_stream(chunk({"content": "hello"})))
    assert b"response.completed" not in told
    events = checked_events(told + await stream.end())
    assert events[-1]["response"]["store"] is True
    kept = await shelf.find(events[-1]["response"]["id"])
    assert kept.response == events[-1]["response"]
    assert await stream.end() == b""


async def test_what_is_not_to_be_stored_is_not(shelf: Shelf, store: MemoryStore) -> None:
    response = await answer(store, 1, request("hi", store=False), "hello")
    assert response["store"] is False
    assert store.asked == 0
    with pytest.raises(HubError) as raised:
        await shelf.history(request("and?", previous_response_id=response["id"]))
    assert (raised.value.status, raised.value.code) == (400, "previous_response_not_found")


async def test_a_broken_stream_is_not_kept(store: MemoryStore) -> None:
    stream = (await asked(request("hi"), store, 1)).open_stream()
    stream.feed(chunk({"content": "half"}))
    stream.broken(HubError(502, "provider_broke_off", "broke"))
    assert await stream.end() == b""
    assert not store.rows


# --- whose they are --------------------------------------------------------------------------


async def test_another_project_finds_nothing(shelf: Shelf, store: MemoryStore) -> None:
    first = await answer(store, 1, request("secret"), "secret too")
    other = Shelf(store, project_id=2)
    with pytest.raises(HubError) as raised:
        await other.history(request("and?", previous_response_id=first["id"]))
    assert raised.value.code == "previous_response_not_found"
    reference = [{"type": "item_reference", "id": first["output"][0]["id"]}]
    with pytest.raises(HubError) as raised:
        await asked(request(reference), store, 2, project_id=2)
    assert raised.value.code == "item_not_found"
    for attempt in (other.find, other.forget):
        with pytest.raises(HubError) as raised:
            await attempt(first["id"])
        assert raised.value.status == 404
    assert (await shelf.find(first["id"])).response["id"] == first["id"]


# --- when the store is away ------------------------------------------------------------------


async def test_without_a_store_the_answer_comes_all_the_same(
    shelf: Shelf, store: MemoryStore
) -> None:
    store.broken = True
    response = await answer(store, 1, request("hi"), "hello")
    assert response["output"][0]["content"][0]["text"] == "hello"
    assert response["store"] is False


async def test_going_on_without_the_earlier_turns_is_refused(
    shelf: Shelf, store: MemoryStore
) -> None:
    first = await answer(store, 1, request("q1"), "a1")
    store.broken = True
    with pytest.raises(HubError) as raised:
        await shelf.history(request("q2", previous_response_id=first["id"]))
    assert (raised.value.status, raised.value.should_retry) == (503, True)


async def test_a_response_that_is_too_large_is_answered_and_not_kept(store: MemoryStore) -> None:
    store.too_large = True
    assert (await answer(store, 1, request("hi"), "hello"))["store"] is False


async def test_a_hub_that_keeps_nothing_says_so() -> None:
    assert (await answer(None, 1, request("hi"), "hello"))["store"] is False
    nowhere = Shelf(None, 1)
    with pytest.raises(HubError, match="not found"):
        await nowhere.history(request("q", previous_response_id="resp_" + "0" * 32))
    with pytest.raises(HubError, match="not found"):
        await nowhere.forget("resp_1")


async def test_a_plain_reply_keeps_nothing(store: MemoryStore) -> None:
    voice = await asked(request("hi"), store, 1)
    assert checked_response(voice.reply(chat_bytes("hello")))["store"] is False
    stream = voice.open_stream()
    events = checked_events(stream.feed(chat_stream(chunk({"content": "a"}))) + stream.close())
    assert events[0]["response"]["store"] is True  # what was asked for
    assert events[-1]["response"]["store"] is False  # what came of it
    assert store.asked == 0


async def test_a_request_that_refers_to_nothing_does_not_ask(
    shelf: Shelf, store: MemoryStore
) -> None:
    await shelf.history(request([{"role": "user", "content": "hi"}]))
    assert store.asked == 0


# --- by the ids of items ---------------------------------------------------------------------


async def test_items_may_be_named_instead_of_sent(store: MemoryStore) -> None:
    first = await answer(store, 1, request("q1"), {"content": "a1", "reasoning_content": "hm"})
    named = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
    second = await answer(
        store, 2, request([{"role": "user", "content": "q1"}, *named, _user("q2")]), "a2"
    )
    store.asked = 0
    named += [{"id": item["id"]} for item in second["output"]]  # the type may be left out
    body = request([_user("q1"), *named, _user("q3")])
    assert await chat_messages(store, 3, body) == [
        _user("q1"),
        {"role": "assistant", "content": "a1", "reasoning_content": "hm"},
        {"role": "assistant", "content": "a2"},
        _user("q3"),
    ]
    assert store.asked == 1  # the newest response held the older items too


async def test_too_many_named_responses_are_refused(shelf: Shelf) -> None:
    named = [{"type": "item_reference", "id": f"msg_{i:032x}o0"} for i in range(40)]
    with pytest.raises(HubError, match="more than 32 responses"):
        await shelf.history(request(named))


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


# --- by sending everything again -------------------------------------------------------------


def test_thinking_goes_back_with_its_signature() -> None:
    """As Anthropic's endpoints tell it, and as they want it back."""
    detail = {"type": "reasoning.text", "text": "hm", "signature": "sig", "index": 0}
    stream = chat_stream(
        chunk({"reasoning_content": "hm"}),
        chunk({"reasoning_details": [detail]}),
        tool_delta(0, "{}", "c0", "get_temp"),
        finish="tool_calls",
    )
    output = stream_to(voice_of(tools=[TOOL]), stream)[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "function_call"]
    result = {"type": "function_call_output", "call_id": "c0", "output": "4 C"}
    chat = voice_of([_user("how warm?"), *output, result], tools=[TOOL]).chat
    _, turns = system_and_messages(chat, endpoint_of("anthropic"))
    assert turns[1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "tool_use", "id": "c0", "name": "get_temp", "input": {}},
    ]


@pytest.mark.parametrize("streamed", [True, False])
def test_the_signature_of_a_call_goes_back_with_it(streamed: bool) -> None:
    """As Gemini's endpoints tell it."""
    extra = {"google": {"thought_signature": "sig"}}
    call = {**CALL, "extra_content": extra}
    if streamed:
        stream = chat_stream(tool_delta(0, "{}", "c0", "get_temp", extra_content=extra))
        response = stream_to(voice_of(), stream)[-1]["response"]
    else:
        raw = json.dumps(chat_answer({"content": None, "tool_calls": [call]})).encode()
        response = json.loads(voice_of().reply(raw))
    output = response["output"]
    assert [item["type"] for item in output] == ["reasoning", "function_call"]
    result = {"type": "function_call_output", "call_id": "c0", "output": "4 C"}
    messages = voice_of([_user("how warm?"), *output, result]).chat["messages"]
    assert messages[1] == {"role": "assistant", "content": None, "tool_calls": [call]}


def test_a_signature_that_comes_late_is_not_lost() -> None:
    extra = {"google": {"thought_signature": "sig"}}
    stream = chat_stream(
        tool_delta(0, "{", "c0", "get_temp"), tool_delta(0, "}", extra_content=extra)
    )
    output = stream_to(voice_of(), stream)[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["function_call", "reasoning"]
    result = {"type": "function_call_output", "call_id": "c0", "output": "4 C"}
    (call,) = voice_of([*output, result]).chat["messages"][0]["tool_calls"]
    assert call["extra_content"] == extra


def test_redacted_thinking_goes_back_unseen() -> None:
    detail = {"type": "reasoning.encrypted", "data": "blob", "index": 0}
    stream = chat_stream(chunk({"reasoning_details": [detail]}), chunk({"content": "a"}))
    output = stream_to(voice_of(), stream)[-1]["response"]["output"]
    assert output[0]["summary"] == []
    (message,) = voice_of([*output]).chat["messages"]
    assert message["reasoning_details"] == [detail]


async def test_every_output_can_be_sent_back_as_it_is(store: MemoryStore) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    custom = {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    message = {
        "content": "see",
        "reasoning_content": "hm",
        "images": [image],
        "tool_calls": [CALL, custom],
    }
    first = await answer(store, 1, request("q"), message, "tool_calls")
    results = [
        {"type": "function_call_output", "call_id": "c0", "output": "4 C"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "1"},
    ]
    sent_again = await chat_messages(store, 2, request([_user("q"), *first["output"], *results]))
    by_name = request(results, previous_response_id=first["id"])
    assert await chat_messages(store, 3, by_name) == sent_again
    assert sent_again[1] == {
        "role": "assistant",
        "content": "see",
        "reasoning_content": "hm",
        "images": [image],
        "tool_calls": [CALL, custom],
    }


# --- reading what is kept --------------------------------------------------------------------


async def test_a_kept_response_reads_as_it_was_answered(shelf: Shelf, store: MemoryStore) -> None:
    first = await answer(store, 1, request("q1", metadata={"a": "b"}), "a1")
    assert checked_response(response_body(await shelf.find(first["id"]), {})) == first
    with pytest.raises(HubError, match="not kept"):
        response_body(await shelf.find(first["id"]), {"stream": "true"})


async def test_a_deleted_response_is_gone(shelf: Shelf, store: MemoryStore) -> None:
    first = await answer(store, 1, request("q1"), "a1")
    await shelf.forget(first["id"])
    assert json.loads(deleted_body(first["id"])) == {
        "id": first["id"],
        "object": "response",
        "deleted": True,
    }
    for attempt in (shelf.find, shelf.forget):
        with pytest.raises(HubError) as raised:
            await attempt(first["id"])
        assert (raised.value.status, raised.value.code) == (404, "response_not_found")


@pytest.fixture
async def kept(store: MemoryStore, shelf: Shelf) -> KeptResponse:
    items = [
        _user("q1"),
        {"role": "assistant", "content": "a1"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c0", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c0", "output": "4 C"},
        {"type": "custom_tool_call", "call_id": "c1", "name": "sql", "input": "S"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c1",
            "output": [{"type": "input_image", "image_url": "https://a.example/a.png"}],
        },
    ]
    first = await answer(store, 1, request(items), "a2")
    second = await answer(store, 2, request("q2", previous_response_id=first["id"]), "a3")
    return await shelf.find(second["id"])


async def test_input_items_are_all_that_the_model_saw(kept: KeptResponse) -> None:
    page = checked_items(input_items_body(kept, {"order": "asc"}))
    assert [item["type"] for item in page["data"]] == [
        "message",
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "message",
        "message",
    ]
    assert len({item["id"] for item in page["data"]}) == 9
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])


async def test_input_items_come_in_pages_newest_first(kept: KeptResponse) -> None:
    seen: list[str] = []
    query = {"limit": "2"}
    while True:
        page = checked_items(input_items_body(kept, query))
        seen += [item["id"] for item in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["last_id"]
    assert seen == [item["id"] for item in reversed(kept.input)]


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"order": "up"}, {"after": "msg_other"}],
)
async def test_a_page_that_cannot_be_is_refused(kept: KeptResponse, query: dict[str, str]) -> None:
    with pytest.raises(HubError) as raised:
        input_items_body(kept, query)
    assert raised.value.param == next(iter(query))


def test_nothing_can_be_cancelled_here() -> None:
    assert cannot_cancel().status == 400


async def test_a_provider_of_the_dialect_gets_the_turns_themselves(store: MemoryStore) -> None:
    first = await answer(store, 1, request("q1"), {"content": "a1", "reasoning_content": "hm"})
    body = request("q2", previous_response_id=first["id"], truncation="auto")
    native = (await asked(body, store, 2)).native.body
    assert [item["role"] for item in native["input"]] == ["user", "assistant", "user"]
    assert native["truncation"] == "auto"
    assert "previous_response_id" not in native
