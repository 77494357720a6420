"""What an adapter would leave out is refused where every parameter is required."""

from __future__ import annotations

import orjson

from routing.adapters.quirks import Quirks
from routing.core.policies import Match, Rule
from tests.routing.factories import endpoint, provider
from tests.routing.gateway.scripted import Bench, plain

DEAF = endpoint("first", 1, at=provider("first", 1, quirks=Quirks(drop_params=("seed",))))
STRICT = {"require_parameters": True}


async def test_what_is_left_out_is_named_in_a_header() -> None:
    client = await Bench(plain(), endpoints=(DEAF,)).ask(seed=7)
    assert client.status == 200
    assert client.headers[b"x-panelboard-dropped-params"] == b"seed"


async def test_what_would_be_left_out_is_refused_by_name_where_it_is_required() -> None:
    bench = Bench(plain(), endpoints=(DEAF,))
    client = await bench.ask(seed=7, provider=STRICT)
    error = orjson.loads(client.pieces[0])["error"]
    assert (client.status, error["code"]) == (400, "unsupported_parameter")
    assert error["message"].count(error["detail"]["provider"]) == 1
    assert ": seed cannot be sent there. Leave it out" in error["message"]
    assert not bench.upstream.requests


async def test_a_policy_that_requires_them_refuses_too_and_lets_the_rest_through() -> None:
    bench = Bench(plain(), endpoints=(DEAF,), rules={"require_parameters": True})
    client = await bench.send(seed=7)
    error = orjson.loads(client.pieces[0])["error"]
    assert (client.status, error["code"]) == (400, "unsupported_parameter")
    assert "seed" in error["message"]
    assert not bench.upstream.requests
    assert (await bench.send(top_p=0.5)).status == 200


async def test_a_policy_that_requires_them_asks_another_provider_that_takes_them() -> None:
    ends = (DEAF, endpoint("second", 2))
    client = await Bench(plain(), endpoints=ends, rules={"require_parameters": True}).ask(seed=7)
    assert client.headers[b"x-panelboard-provider"] == b"second"


async def test_a_rule_of_a_policy_may_require_them_for_some_requests_alone() -> None:
    rule = Rule(when=Match(tags=("strict",)), then={"require_parameters": True})
    for tag, status in (("strict", 400), ("lax", 200)):
        bench = Bench(plain(), endpoints=(DEAF,), rules={"rules": (rule,)})
        client = await bench.ask(headers=[(b"x-panelboard-tags", tag.encode())], seed=7)
        assert client.status == status


async def test_another_provider_that_takes_it_is_asked_instead() -> None:
    bench = Bench(plain(), endpoints=(DEAF, endpoint("second", 2)))
    client = await bench.ask(seed=7, provider=STRICT)
    assert client.headers[b"x-panelboard-provider"] == b"second"


async def test_a_capability_that_is_missing_is_named() -> None:
    plainest = endpoint("first", 1, capabilities=frozenset({"tools"}))
    client = await Bench(endpoints=(plainest,)).ask(logprobs=True)
    error = orjson.loads(client.pieces[0])["error"]
    assert error["code"] == "no_endpoint"
    assert "missing_capability (1: logprobs)" in error["message"]
