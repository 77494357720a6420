from __future__ import annotations

from typing import Any

import orjson
import pytest

from routing.adapters.base import Headers
from routing.core.catalog import Caller
from routing.core.errors import ConnectFailed, HubError
from routing.core.explanation import MAX_HEADER_BYTES
from routing.gateway.dry_run import decide
from routing.surfaces.messages.surface import MessagesSurface
from tests.routing.factories import MODEL, endpoint, policy
from tests.routing.gateway.scripted import WHOLE, Bench, Client, plain, stream

WANTED: Headers = [(b"x-panelboard-explain", b"1")]
CALLER = Caller(key_id=5, key_name="k", project_id=6, organization_id=7)


def decision_of(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(client.headers[b"x-panelboard-decision"])
    return found


async def test_the_decision_comes_with_an_answer_that_asked_for_it() -> None:
    client = await Bench(plain()).ask(headers=WANTED)
    told = decision_of(client)
    assert told["order"] == [f"first:{MODEL}", f"second:{MODEL}"]
    assert [one["provider"] for one in told["candidates"]] == ["first", "second"]
    assert told["runner_up_cost_usd"] == told["candidates"][1]["estimated_cost_usd"]
    assert client.status == 200


async def test_it_comes_with_a_stream_too() -> None:
    client = await Bench(stream(*WHOLE)).ask(headers=WANTED, stream=True)
    assert decision_of(client)["policy"] == "mine"


@pytest.mark.parametrize("headers", [[], [(b"x-panelboard-explain", b"0")]])
async def test_nobody_gets_it_unasked(headers: Headers) -> None:
    client = await Bench(plain()).ask(headers=headers)
    assert b"x-panelboard-decision" not in client.headers


async def test_a_wish_that_is_not_understood_is_refused() -> None:
    bench = Bench(plain())
    client = await bench.ask(headers=[(b"x-panelboard-explain", b"maybe")])
    assert (client.status, client.error["code"]) == (400, "invalid_header")
    assert not bench.upstream.requests


async def test_a_request_without_an_endpoint_left_says_why_in_header_and_body() -> None:
    client = await Bench(rules={"max_price_output": "0.01"}).ask(headers=WANTED)
    assert client.status == 404
    assert {one["excluded"] for one in decision_of(client)["candidates"]} == {"max_price"}
    assert client.error["detail"]["decision"]["candidates"][0]["excluded"] == "max_price"
    assert client.error["detail"]["excluded_by"] == {"max_price": 2}


async def test_a_request_that_failed_everywhere_says_where_it_was_to_go() -> None:
    bench = Bench(ConnectFailed("a"), ConnectFailed("b"), ConnectFailed("c"))
    client = await bench.ask(headers=WANTED)
    assert client.status == 502
    assert decision_of(client)["order"] == [f"first:{MODEL}", f"second:{MODEL}"]
    assert client.error["detail"]["decision"]["order"] == decision_of(client)["order"]


async def test_an_error_before_any_decision_has_none_to_tell() -> None:
    client = await Bench().ask(Client(b"{}"), headers=WANTED)
    assert client.status == 400
    assert b"x-panelboard-decision" not in client.headers


async def test_with_hundreds_of_endpoints_the_header_stays_short() -> None:
    many = tuple(endpoint(f"p{i}", i) for i in range(1, 200))
    bench = Bench(plain(), endpoints=many)
    client = await bench.ask(headers=WANTED)
    told = decision_of(client)
    assert len(client.headers[b"x-panelboard-decision"]) <= MAX_HEADER_BYTES
    assert len(told["candidates"]) + told["candidates_omitted"] == 199


async def test_a_plan_can_be_had_without_sending_anything() -> None:
    bench = Bench()
    body = {"model": f"{MODEL}:cheapest", "messages": [{"role": "user", "content": "hi"}]}
    decision, refusal = await decide(bench.gateway, CALLER, body, [])
    assert (decision.objective, refusal) == ("cheapest", None)
    assert not bench.upstream.requests
    assert not bench.spool.frames


async def test_a_plan_that_leaves_nothing_comes_with_its_refusal() -> None:
    bench = Bench(rules={})
    narrow = policy(max_price_output="0.01")
    caller = Caller(key_id=5, key_name="k", project_id=6, organization_id=7, policy=narrow)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    decision, refusal = await decide(bench.gateway, caller, body, [])
    assert {one.excluded for one in decision.candidates} == {"max_price"}
    assert refusal is not None
    assert refusal.status == 404


async def test_a_plan_reads_the_other_dialects_and_refuses_what_they_would() -> None:
    bench = Bench()
    body = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    decision, _ = await decide(bench.gateway, CALLER, body, [], surface=MessagesSurface())
    assert decision.output_tokens == 5
    with pytest.raises(HubError, match="embedding"):
        await decide(bench.gateway, CALLER, {"model": MODEL, "input": "x"}, [], kind="embedding")
