from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import orjson
import pytest

from routing.adapters.base import Headers
from routing.core.charges import CostStatus
from routing.core.errors import BrokenAnswer, ConnectFailed
from routing.core.pricing import NO_CHARGE
from routing.core.record import Outcome
from routing.core.usage import Usage, UsageSource, estimated_output_tokens
from routing.gateway.app import GatewayApp
from routing.gateway.asgi import Scope
from routing.gateway.money import Money
from routing.gateway.resuming import GO_ON
from routing.gateway.tally import NO_TALLY
from routing.surfaces.messages.surface import MessagesSurface
from tests.routing.factories import MODEL, endpoint
from tests.routing.gateway.scripted import (
    DONE,
    END,
    HELLO,
    ROLE,
    TOKEN,
    WHOLE,
    Bench,
    Client,
    ScriptedAnswer,
    frame,
    plain,
    stream,
    usage_frame,
)

WANTED: Headers = [(b"x-panelboard-resume", b"continue")]
CUT = BrokenAnswer("early_eof", "cut")
USER = {"role": "user", "content": "hi"}


def rest(text: str = " world") -> ScriptedAnswer:
    return stream(ROLE, frame({"content": text}, id="c2"), END, usage_frame(), DONE)


def cut_after(*pieces: bytes) -> ScriptedAnswer:
    return stream(ROLE, *pieces, CUT)


def chunks_of(client: Client) -> list[dict[str, Any]]:
    lines = [line for line in client.text.splitlines() if line.startswith("data: {")]
    return [orjson.loads(line.removeprefix("data: ")) for line in lines]


def text_of(client: Client) -> str:
    deltas = [c["delta"] for chunk in chunks_of(client) for c in chunk.get("choices", ())]
    return "".join(delta.get("content") or "" for delta in deltas)


async def test_a_cut_stream_goes_on_at_the_next_endpoint_with_a_mark_in_between() -> None:
    bench = Bench(cut_after(HELLO), rest())
    client = await bench.ask(headers=WANTED, stream=True)
    assert text_of(client) == "Hello world"
    assert client.text.endswith("data: [DONE]\n\n")
    chunks = chunks_of(client)
    (at,) = [i for i, chunk in enumerate(chunks) if "panelboard" in chunk]
    assert text_of_chunks(chunks[:at]) == "Hello"
    mark = chunks[at]
    assert mark["choices"] == []
    assert mark["panelboard"]["resumed"] == {
        "attempt": 2,
        "provider": "second",
        "after_chars": 5,
        "cause": "early_eof",
        "from_provider": "first",
        "from_cost_usd": mark["panelboard"]["resumed"]["from_cost_usd"],
    }
    assert Decimal(mark["panelboard"]["resumed"]["from_cost_usd"]) > 0


def text_of_chunks(chunks: list[dict[str, Any]]) -> str:
    deltas = [c["delta"] for chunk in chunks for c in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


async def test_the_next_endpoint_gets_the_text_so_far_and_is_asked_to_go_on() -> None:
    bench = Bench(cut_after(HELLO), rest())
    await bench.ask(headers=WANTED, stream=True, max_tokens=100)
    sent = orjson.loads(bench.upstream.requests[1].body)
    assert sent["messages"] == [
        USER,
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": GO_ON},
    ]
    assert sent["max_tokens"] == 98
    assert sent["stream"] is True


async def test_both_attempts_are_booked_and_the_request_once() -> None:
    bench = Bench(cut_after(HELLO), rest())
    client = await bench.ask(headers=WANTED, stream=True)
    first, second = bench.spool.finishes
    assert (first.outcome, second.outcome) == (Outcome.PROVIDER_ERROR, Outcome.OK)
    assert first.cost_usd > 0
    assert second.cost_usd > 0
    done = bench.spool.done
    assert (done.outcome, done.attempts, done.http_status) == (Outcome.OK, 2, 200)
    assert client.headers[b"x-panelboard-attempts"] == b"1"  # they left before it was cut


def usage_of(client: Client) -> dict[str, Any]:
    (found,) = [chunk["usage"] for chunk in chunks_of(client) if chunk.get("usage")]
    return dict(found)


async def test_the_usage_told_at_the_end_is_that_of_all_attempts_and_so_is_the_cost() -> None:
    three = tuple(endpoint(slug, i) for i, slug in enumerate(("first", "second", "third"), 1))
    again = cut_after(frame({"content": " dear"}))
    bench = Bench(cut_after(HELLO), again, rest(), endpoints=three)
    client = await bench.ask(headers=WANTED, stream=True, stream_options={"include_usage": True})
    ends, usage = bench.spool.finishes, usage_of(client)
    assert usage["prompt_tokens"] == sum(end.usage.input_total or 0 for end in ends)
    assert usage["completion_tokens"] == sum(end.usage.output_total or 0 for end in ends)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert Decimal(usage["cost"]) == sum(end.cost_usd for end in ends)
    assert usage["cost_status"] == "estimated"  # of those that were cut


async def test_every_attempt_is_booked_with_its_own_usage_and_its_own_prompt() -> None:
    bench = Bench(cut_after(HELLO), stream(ROLE, frame({"content": " world"}, id="c2"), END, DONE))
    await bench.ask(headers=WANTED, stream=True)
    first, second = bench.spool.finishes
    assert (first.usage.source, second.usage.source) == (UsageSource.ESTIMATED,) * 2
    assert (first.usage.output_total, second.usage.output_total) == (2, 2)
    longer = (second.usage.input_total or 0) - (first.usage.input_total or 0)
    assert longer == estimated_output_tokens(len("Hello") + len(GO_ON))
    assert [one.input_estimate for one in bench.spool.intents] == [
        first.usage.input_total,
        second.usage.input_total,
    ]


async def test_a_detail_is_summed_where_an_attempt_spoke_of_it_and_else_unsaid() -> None:
    usage = Usage(input_total=10, output_total=4, cache_read=6)
    tally = NO_TALLY.plus(Money(usage, NO_CHARGE, CostStatus.METERED)).plus(None)
    shown = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    assert tally.added_to(shown) == {
        "prompt_tokens": 15,
        "completion_tokens": 5,
        "total_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 6},
    }
    details = {"prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 1}}
    assert tally.added_to({**shown, **details})["prompt_tokens_details"] == {
        "cached_tokens": 8,
        "audio_tokens": 1,
    }


async def test_the_chunks_keep_one_id_and_have_one_beginning() -> None:
    bench = Bench(cut_after(HELLO), rest())
    client = await bench.ask(headers=WANTED, stream=True)
    chunks = chunks_of(client)
    assert {chunk["id"] for chunk in chunks} == {"c1"}
    roles = [c for chunk in chunks for c in chunk["choices"] if "role" in c["delta"]]
    assert len(roles) == 1


async def test_a_policy_may_ask_for_it_too() -> None:
    bench = Bench(cut_after(HELLO), rest(), rules={"resume": True})
    assert text_of(await bench.ask(stream=True)) == "Hello world"


@pytest.mark.parametrize("headers", [[], [(b"x-panelboard-resume", b"off")]])
async def test_nobodys_stream_goes_on_unasked(headers: Headers) -> None:
    bench = Bench(cut_after(HELLO), rest())
    client = await bench.ask(headers=headers, stream=True)
    assert "[DONE]" not in client.text
    assert "provider_broke_off" in client.text
    assert len(bench.upstream.requests) == 1


async def test_a_second_that_fails_before_its_content_is_followed_by_a_third() -> None:
    three = tuple(endpoint(slug, i) for i, slug in enumerate(("first", "second", "third"), 1))
    bench = Bench(cut_after(HELLO), ConnectFailed("no"), rest(), endpoints=three)
    client = await bench.ask(headers=WANTED, stream=True)
    assert text_of(client) == "Hello world"
    assert client.text.count("panelboard") == 1
    assert bench.spool.done.attempts == 3


async def test_a_stream_that_is_cut_twice_goes_on_twice() -> None:
    three = tuple(endpoint(slug, i) for i, slug in enumerate(("first", "second", "third"), 1))
    again = cut_after(frame({"content": " dear"}))
    bench = Bench(cut_after(HELLO), again, rest(), endpoints=three)
    client = await bench.ask(headers=WANTED, stream=True)
    assert text_of(client) == "Hello dear world"
    said = orjson.loads(bench.upstream.requests[2].body)["messages"][1]
    assert said == {"role": "assistant", "content": "Hello dear"}


async def test_when_nobody_can_go_on_it_is_broken_off_as_ever() -> None:
    bench = Bench(cut_after(HELLO), ConnectFailed("a"), ConnectFailed("b"))
    client = await bench.ask(headers=WANTED, stream=True)
    assert "[DONE]" not in client.text
    assert "provider_broke_off" in client.text
    assert bench.spool.done.outcome is Outcome.PROVIDER_ERROR
    assert bench.spool.done.attempts == 3


TOOL = frame({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f"}}]})


@pytest.mark.parametrize("piece", [TOOL, frame({}, "stop"), frame({"refusal": "no"})])
async def test_what_is_not_plain_text_is_not_continued(piece: bytes) -> None:
    bench = Bench(stream(ROLE, HELLO, piece, b'data: {"error":{"message":"x"}}\n\n'), rest())
    await bench.ask(headers=WANTED, stream=True)
    assert len(bench.upstream.requests) == 1


@pytest.mark.parametrize(
    "more", [{"n": 2}, {"response_format": {"type": "json_object"}}], ids=["choices", "schema"]
)
async def test_what_is_bound_to_a_form_is_not_continued(more: dict[str, Any]) -> None:
    bench = Bench(cut_after(HELLO), rest())
    await bench.ask(headers=WANTED, stream=True, **more)
    assert len(bench.upstream.requests) == 1


async def test_a_failure_before_content_is_a_fresh_start() -> None:
    bench = Bench(cut_after(), stream(*WHOLE))
    client = await bench.ask(headers=WANTED, stream=True)
    assert text_of(client) == "Hello you"
    assert "panelboard" not in client.text
    assert orjson.loads(bench.upstream.requests[1].body)["messages"] == [USER]


async def test_a_client_that_left_gets_no_second_attempt() -> None:
    bench = Bench(stream(ROLE, HELLO, asyncio.Event()), rest())
    client = bench.client(stream=True)
    client.on_piece = lambda seen: seen.leave()
    await bench.ask(client, WANTED)
    assert len(bench.upstream.requests) == 1


async def test_a_whole_answer_has_nothing_to_go_on_from() -> None:
    bench = Bench(plain())
    assert (await bench.ask(headers=WANTED)).status == 200


async def test_in_another_dialect_the_mark_is_a_comment() -> None:
    bench = Bench(cut_after(HELLO), rest())
    app = GatewayApp(bench.gateway, {"/v1/messages": MessagesSurface()})
    body = {"model": MODEL, "max_tokens": 50, "stream": True, "messages": [USER]}
    client = Client(orjson.dumps(body))
    scope: Scope = {
        "type": "http",
        "path": "/v1/messages",
        "method": "POST",
        "headers": [(b"authorization", b"Bearer " + TOKEN), *WANTED],
    }
    await app(scope, client.receive, client.send)
    before, mark, after = client.text.partition(": panelboard-resumed ")
    assert mark
    assert '"text":"Hello"' in before
    assert '"text":" world"' in after
    assert client.text.count('"type":"message_start"') == 1
    assert client.text.count('"type":"message_stop"') == 1
    assert client.text.count('"type":"content_block_start"') == 1


@pytest.mark.parametrize("choices", [[{"delta": "x"}], [{"delta": 1}], ["x"], "x", 5, [[]]])
async def test_nonsense_in_the_place_of_a_choice_is_passed_over(choices: Any) -> None:
    odd = b"data: " + orjson.dumps({"id": "c1", "choices": choices}) + b"\n\n"
    goes_on = stream(ROLE, odd, frame({"content": " world"}, id="c2"), END, usage_frame(), DONE)
    bench = Bench(cut_after(HELLO, odd), goes_on)
    client = await bench.ask(headers=WANTED, stream=True)
    assert client.text.endswith("data: [DONE]\n\n")
    sent = orjson.loads(bench.upstream.requests[1].body)
    assert sent["messages"][1] == {"role": "assistant", "content": "Hello"}
    assert bench.spool.done.outcome is Outcome.OK
