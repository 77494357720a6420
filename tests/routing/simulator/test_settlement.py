from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from routing.simulator.prices import scaled_up
from routing.simulator.server import ThreadedSimulator
from tests.routing.simulator.plays import Player

Play = Callable[[str], Player]


def _settle(play: Player, ids: Any) -> httpx.Response:
    url = play.simulator.base_url(play.slug) + "/settlement"
    return play.http.post(url, json={"requestIds": ids}, headers=play.headers())


def test_a_cost_can_be_asked_for_by_inference_id_as_often_as_one_likes(
    player: Play, simulator: ThreadedSimulator
) -> None:
    play = player("deepinfra")
    play.ask(headers={"x-request-id": "r-1"})
    (row,) = simulator.journal()
    for _ in range(2):
        (line,) = _settle(play, ["r-1", "unknown", "r-1"]).json()["requests"]
        assert line["requestId"] == "r-1"
        assert line["costNanoUsd"] == scaled_up(Decimal(row.cost_usd), 10**9) > 0
        assert line["usage"]["cost_usd"] == row.cost_usd
        assert line["usage"]["input_total"] == row.input_tokens
        assert line["usage"]["output_total"] == row.output_tokens
        assert line["usage"]["cache_read"] == 0


@pytest.mark.parametrize(("usd", "nano"), [("0", 0), ("0.0000000001", 1), ("0.000000002", 2)])
def test_fractions_of_a_nano_dollar_are_rounded_up(usd: str, nano: int) -> None:
    assert scaled_up(Decimal(usd), 10**9) == nano


def test_refused_requests_cost_nothing_and_running_ones_are_left_out(
    player: Play, simulator: ThreadedSimulator
) -> None:
    play = player("deepinfra")
    simulator.add_fault("status", times=1)
    play.ask(headers={"x-request-id": "refused"})
    simulator.add_fault("stall", times=1, after_chunks=1)
    body, headers = play.body("hi", stream=True), play.headers(**{"x-request-id": "running"})
    with play.http.stream("POST", play.url(), json=body, headers=headers):
        lines = _settle(play, ["refused", "running"]).json()["requests"]
    assert [(line["requestId"], line["costNanoUsd"]) for line in lines] == [("refused", 0)]


def test_a_provider_settles_its_own_requests_only(player: Play) -> None:
    player("deepinfra").ask(headers={"x-request-id": "r-1"})
    assert _settle(player("together"), ["r-1"]).json() == {"requests": []}


@pytest.mark.parametrize("ids", ["r-1", [1], None, ["x"] * 10_001])
def test_a_wrong_list_of_ids_is_a_400(player: Play, ids: Any) -> None:
    assert _settle(player("deepinfra"), ids).status_code == 400


def test_settlement_needs_the_credential(player: Play, simulator: ThreadedSimulator) -> None:
    url = simulator.base_url("deepinfra") + "/settlement"
    answer = player("deepinfra").http.post(url, json={"requestIds": []})
    assert answer.status_code == 401
    assert answer.json() == {"detail": {"error": "Incorrect API key provided."}}
