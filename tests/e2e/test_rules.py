"""What a request may ask of the hub besides an answer, over real sockets and the real log."""

from __future__ import annotations

import concurrent.futures
import json
import uuid
from typing import Any

import httpx
import pytest

from tests.support.hub_tools import MODEL, Rest, SimulatorControl, chat_body, money

pytestmark = pytest.mark.e2e
CHAT = "/v1/chat/completions"


def keyed(name: str) -> dict[str, str]:
    return {"idempotency-key": f"{name}-{uuid.uuid4()}"}


def chunks_of(text: str) -> list[dict[str, Any]]:
    lines = [line for line in text.splitlines() if line.startswith("data: {")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_a_decision_is_told_and_is_the_one_on_the_receipt(http: httpx.Client, rest: Rest) -> None:
    answer = http.post(CHAT, json=chat_body(), headers={"x-panelboard-explain": "1"})
    told = json.loads(answer.headers["x-panelboard-decision"])
    assert told["order"][0].startswith(answer.headers["x-panelboard-provider"] + ":")
    receipt = rest.receipt(answer.headers["x-request-id"])
    placed = [row for row in receipt["candidates"] if row["place"]]
    assert [row["provider"] for row in placed] == [key.partition(":")[0] for key in told["order"]]
    assert money(receipt["runner_up_cost_usd"]) == money(told["runner_up_cost_usd"])
    assert receipt["estimated_input_tokens"] == told["input_tokens"]


def test_a_head_that_asks_for_it_is_read_each_time_on_a_connection(http: httpx.Client) -> None:
    for wanted in ("1", "1", "0", "1", "0"):
        answer = http.post(CHAT, json=chat_body(), headers={"x-panelboard-explain": wanted})
        assert ("x-panelboard-decision" in answer.headers) is (wanted == "1")
    assert "x-panelboard-decision" not in http.post(CHAT, json=chat_body()).headers


def asked_whole(simulator: SimulatorControl) -> int:
    """Requests to providers that are no streams; the hub's own probes, which go on, are."""
    return sum(not row["stream"] for row in simulator.journal())


def test_rest_plans_without_sending(rest: Rest, simulator: SimulatorControl) -> None:
    before = asked_whole(simulator)
    answer = rest.http.post("/routing/explain", json=chat_body(model=f"{MODEL}:cheapest"))
    assert answer.status_code == httpx.codes.OK, answer.text
    decision = answer.json()["decision"]
    assert decision["objective"] == "cheapest"
    assert len(decision["candidates"]) > 5
    costs = {c["endpoint"]: money(c["estimated_cost_usd"]) for c in decision["candidates"]}
    eligible = [c["endpoint"] for c in decision["candidates"] if not c["excluded"]]
    assert costs[decision["order"][0]] == min(costs[name] for name in eligible)
    assert asked_whole(simulator) == before


def test_an_idempotent_request_is_answered_once(
    http: httpx.Client, rest: Rest, simulator: SimulatorControl
) -> None:
    headers = keyed("order")
    first = http.post(CHAT, json=chat_body(), headers=headers)
    again = http.post(CHAT, json=chat_body(), headers=headers)
    assert again.content == first.content
    assert again.headers["x-panelboard-replayed"] == "true"
    request_id = first.headers["x-request-id"]
    assert again.headers["x-request-id"] == request_id
    assert len(simulator.journal(request_id)) == 1
    assert len(rest.receipt(request_id)["attempts"]) == 1
    other = http.post(CHAT, json=chat_body("Something else."), headers=headers)
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_of_many_at_once_one_is_sent(http: httpx.Client, simulator: SimulatorControl) -> None:
    headers, text = keyed("race"), f"Say {uuid.uuid4()}."
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: http.post(CHAT, json=chat_body(text), headers=headers), range(8))
        )
    assert {answer.status_code for answer in answers} <= {200, 409}
    ids = {a.headers["x-request-id"] for a in answers if a.status_code == httpx.codes.OK}
    assert len(ids) == 1
    assert len(simulator.journal(ids.pop())) == 1


def test_a_late_first_attempt_is_hedged_and_both_are_on_the_receipt(
    http: httpx.Client, rest: Rest, simulator: SimulatorControl
) -> None:
    body = chat_body(
        stream=True,
        provider={"order": ["fireworks", "together"], "hedge": {"after_ms": 150}},
    )
    with simulator.fault("fireworks", "slow_first_token", seconds=8):
        answer = http.post(CHAT, json=body)
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert answer.headers["x-panelboard-provider"] == "together"
    lost, won = rest.receipt(answer.headers["x-request-id"])["attempts"]
    assert (lost["provider"], lost["outcome"]) == ("fireworks", "hedge_lost")
    assert (won["provider"], won["outcome"]) == ("together", "ok")


def test_a_cut_stream_goes_on_elsewhere_where_that_was_asked_for(
    http: httpx.Client, rest: Rest, simulator: SimulatorControl
) -> None:
    body = chat_body("Write 60 words.", stream=True, provider={"order": ["nscale", "together"]})
    with simulator.fault("nscale", "cut", after_chunks=8):
        answer = http.post(CHAT, json=body, headers={"x-panelboard-resume": "continue"})
    assert answer.text.rstrip().endswith("data: [DONE]")
    (mark,) = [chunk["panelboard"] for chunk in chunks_of(answer.text) if "panelboard" in chunk]
    assert mark["resumed"]["from_provider"] == "nscale"
    attempts = rest.receipt(answer.headers["x-request-id"])["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["provider_error", "ok"]
    assert all(money(attempt["cost_usd"]) > 0 for attempt in attempts)
