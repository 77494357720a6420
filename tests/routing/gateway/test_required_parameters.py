"""What an adapter would leave out is refused where every parameter is required."""

from __future__ import annotations

import orjson

from routing.adapters.quirks import Quirks
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
    assert "seed" in error["message"]
    assert not bench.upstream.requests


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
