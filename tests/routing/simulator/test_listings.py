from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from routing.simulator.listings import KINDS, listed
from routing.simulator.server import ThreadedSimulator
from tests.routing.simulator.plays import CATALOG, Player

Play = Callable[[str], Player]
MILLION = 1_000_000


def _listing(play: Player, query: str = "") -> Any:
    url = play.simulator.base_url(play.slug) + play.spec.listing_path + query
    answer = play.http.get(url, headers=play.headers())
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text, parse_float=Decimal)


# How each shape tells the prices of its first model, back in USD per million.
READERS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "together": lambda a: (a[0]["pricing"]["input"], a[0]["pricing"]["output"]),
    "deepinfra": lambda a: (
        a["data"][0]["metadata"]["pricing"]["input_tokens"],
        a["data"][0]["metadata"]["pricing"]["output_tokens"],
    ),
    "novita": lambda a: (
        Decimal(a["data"][0]["input_token_price_per_m"]) / 10_000,
        Decimal(a["data"][0]["output_token_price_per_m"]) / 10_000,
    ),
    "sambanova": lambda a: (
        Decimal(a["data"][0]["pricing"]["prompt"]) * MILLION,
        Decimal(a["data"][0]["pricing"]["completion"]) * MILLION,
    ),
    "fireworks": lambda a: (
        Decimal(a["data"][0]["pricing"]["prompt"]) * MILLION,
        Decimal(a["data"][0]["pricing"]["completion"]) * MILLION,
    ),
    "deepseek": lambda a: (
        a["data"][0]["providers"][0]["pricing"]["input"],
        a["data"][0]["providers"][0]["pricing"]["output"],
    ),
}


@pytest.mark.parametrize("slug", READERS)
def test_listed_prices_equal_the_catalog(player: Play, slug: str) -> None:
    row = next(row for row in CATALOG["endpoints"] if row["provider"] == slug)
    expected = tuple(
        next(
            Decimal(price["usd"])
            for price in row["prices"]
            if price["meter"] == meter and not price.get("service_tier")
        )
        for meter in ("input", "output")
    )
    assert READERS[slug](_listing(player(slug))) == expected


def test_together_lists_a_bare_array_with_its_cached_price(player: Play) -> None:
    listing = _listing(player("together"))
    assert isinstance(listing, list)
    assert listing[0]["pricing"]["cachedInput"] == Decimal("0.075")


def test_dialects_list_in_their_own_shape(player: Play) -> None:
    assert _listing(player("gemini"))["models"][0]["name"] == "models/gemini-thinks"
    claude = _listing(player("anthropic"))
    assert (claude["first_id"], claude["has_more"]) == ("claude-thinks", False)
    plain = _listing(player("openai"))
    assert plain["data"][0]["object"] == "model"
    assert "pricing" not in plain["data"][0]
    groq = _listing(player("groq"))["data"]
    assert [row["id"] for row in groq] == ["openai/gpt-oss-120b", "reasoner"]
    assert groq[0]["context_window"] == 131072


def test_the_openrouter_format_can_be_asked_for(player: Play) -> None:
    listing = _listing(player("together"), "?format=openrouter")
    assert listing["data"][0]["pricing"]["prompt"] == "0.00000015"
    assert listing["data"][0]["hugging_face_id"] == "openai/gpt-oss-120b"


def test_a_retired_model_is_not_listed_and_a_free_one_costs_zero(player: Play) -> None:
    assert [row["id"] for row in _listing(player("homemade"))["data"]] == ["gpt-oss"]
    free = _listing(player("homemade"), "?format=openrouter")["data"][0]["pricing"]
    assert (free["prompt"], free["completion"]) == ("0", "0")


def test_open_listings_need_no_key_and_others_do(
    simulator: ThreadedSimulator, http: httpx.Client
) -> None:
    assert http.get(simulator.base_url("deepinfra") + "/models").status_code == 200
    closed = http.get(simulator.base_url("novita") + "/models")
    assert closed.status_code == 401
    assert closed.json()["reason"] == "INVALID_API_KEY"


def test_a_price_changed_over_the_control_address_is_listed_and_billed(http: httpx.Client) -> None:
    with ThreadedSimulator([CATALOG]) as simulator:
        play = Player(simulator, http, "together")
        change = {"provider": "together", "model": "openai/gpt-oss-120b", "meter": "output"}
        url = simulator.root_url() + "/_control/prices"
        assert http.post(url, json=change | {"usd": "0.9"}).status_code == 200
        assert _listing(play)[0]["pricing"]["output"] == Decimal("0.9")
        play.ask()
        row = simulator.journal()[-1]
        cost = row.input_tokens * Decimal("0.15") + row.output_tokens * Decimal("0.9")
        assert Decimal(row.cost_usd) == cost / MILLION
        assert http.post(url, json=change | {"usd": "lots"}).status_code == 400
        assert http.post(url, json=change | {"model": "nope"}).status_code == 400


def test_every_kind_lists_every_endpoint(simulator: ThreadedSimulator) -> None:
    for make in KINDS.values():
        for provider in simulator.server.world.values():
            moment = simulator.in_loop(lambda service: service.moment(service.wall()))
            shape = make(provider, listed(provider, moment))
            rows = shape if isinstance(shape, list) else shape.get("data", shape.get("models"))
            assert len(rows) == len(provider.endpoints)
