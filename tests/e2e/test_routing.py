"""Routing as a client sees it: suffixes, the provider object, failover, refusals."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.support.hub_tools import MODEL, Rest, SimulatorControl, chat_body, money

pytestmark = pytest.mark.e2e

MEASURED_WITHIN_S = 100.0
MEASURED_PROVIDERS = 8  # of the twelve, because other tests break some of them


def providers_of(http: httpx.Client, model: str = MODEL) -> dict[str, dict[str, Any]]:
    """Those that are routed to now."""
    listed = http.get(f"/v1/models/{model}").json()["providers"]
    return {entry["provider"]: entry for entry in listed if entry["status"] == "live"}


def measured(http: httpx.Client, field: str) -> dict[str, float]:
    """The figure of each provider that has it, once the first probes are in."""
    deadline = time.monotonic() + MEASURED_WITHIN_S
    while True:
        found = {slug: row[field] for slug, row in providers_of(http).items() if field in row}
        if len(found) >= MEASURED_PROVIDERS:
            return found
        assert time.monotonic() < deadline, f"not measured: {found}"
        time.sleep(0.5)


def answered_by(http: httpx.Client, **body: Any) -> str:
    answer = http.post("/v1/chat/completions", json=chat_body(**body))
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.headers["x-panelboard-provider"]


def asked_first_and_held_back(http: httpx.Client, **body: Any) -> tuple[str, set[str]]:
    """Who was asked first, and whom a brake held back: other tests have providers fail."""
    explain = {"x-panelboard-explain": "1"}
    answer = http.post("/v1/chat/completions", json=chat_body(**body), headers=explain)
    assert answer.status_code == httpx.codes.OK, answer.text
    decision = json.loads(answer.headers["x-panelboard-decision"])
    excluded = {one["provider"]: one["excluded"] for one in decision["candidates"]}
    assert set(excluded.values()) <= {None, "breaker_open", "cooling_down", "capacity_cap"}
    return answer.headers["x-panelboard-provider"], {
        slug for slug, code in excluded.items() if code
    }


def test_a_new_hub_measures_every_chat_endpoint_by_itself(http: httpx.Client) -> None:
    deadline = time.monotonic() + MEASURED_WITHIN_S
    while unmeasured := [
        (model["id"], entry["provider"])
        for model in http.get("/v1/models").json()["data"]
        for entry in model["providers"]
        if model["kind"] == "chat" and entry["status"] == "live" and not entry["samples"]
    ]:
        assert time.monotonic() < deadline, unmeasured
        time.sleep(1)


@pytest.mark.parametrize(
    "asked", [{"model": f"{MODEL}:fastest"}, {"provider": {"sort": "throughput"}}]
)
def test_fastest_picks_the_highest_throughput_of_the_listing(
    http: httpx.Client, asked: dict[str, Any]
) -> None:
    before = measured(http, "throughput")
    picked, held_back = asked_first_and_held_back(http, **asked)
    after = measured(http, "throughput")  # probes go on meanwhile
    assert picked in {best(max, before, held_back), best(max, after, held_back)}


def test_lowest_latency_picks_the_earliest_first_token_of_the_listing(http: httpx.Client) -> None:
    before = measured(http, "first_token_latency_ms")
    picked, held_back = asked_first_and_held_back(http, model=f"{MODEL}:lowest-latency")
    after = measured(http, "first_token_latency_ms")
    assert picked in {best(min, before, held_back), best(min, after, held_back)}


def best(choose: Callable[..., str], figures: dict[str, float], held_back: set[str]) -> str:
    return choose(figures.keys() - held_back, key=figures.__getitem__)


def test_cheapest_picks_the_lowest_price_for_this_requests_tokens(http: httpx.Client) -> None:
    listed = providers_of(http)

    def price(slug: str) -> float:
        pricing = listed[slug]["pricing"]
        return pricing["input"] * 20 + pricing["output"] * 400

    asked = {"model": f"{MODEL}:cheapest", "max_tokens": 400}
    picked, held_back = asked_first_and_held_back(http, **asked)
    assert picked == min(listed.keys() - held_back, key=price)


def test_a_provider_suffix_and_the_provider_object_are_obeyed(http: httpx.Client) -> None:
    assert answered_by(http, model=f"{MODEL}:groq") == "groq"
    assert answered_by(http, provider={"order": ["together", "groq"]}) == "together"
    assert answered_by(http, provider={"only": ["novita"]}) == "novita"


def test_a_fault_at_the_first_provider_is_answered_by_the_second_and_billed_once(
    client: OpenAI, simulator: SimulatorControl, rest: Rest
) -> None:
    with simulator.fault("groq", "status", status=503):
        answer = client.chat.completions.with_raw_response.create(
            **chat_body(), extra_body={"provider": {"order": ["groq", "together"]}}
        )
    assert answer.headers["x-panelboard-provider"] == "together"
    assert answer.headers["x-panelboard-attempts"] == "2"
    receipt = rest.receipt(answer.headers["x-request-id"])
    first, second = receipt["attempts"]
    assert (first["provider"], first["outcome"], first["http_status"]) == (
        "groq",
        "provider_error",
        503,
    )
    assert (second["provider"], second["outcome"]) == ("together", "ok")
    assert money(first["cost_usd"]) == 0
    assert money(receipt["cost_usd"]) == money(second["cost_usd"]) > 0
    assert money(answer.headers["x-panelboard-cost"]) == money(receipt["cost_usd"])


@pytest.mark.parametrize(
    ("first", "fault"),  # each at a provider of its own: five failures in a row put one out of use
    [
        ("groq", "error_first_frame"),
        ("cerebras", "error_200"),
        ("novita", "html_200"),
        ("deepinfra", "empty_200"),
        ("baseten", "refuse"),
    ],
)
def test_a_stream_that_fails_before_its_content_is_answered_by_the_next_provider(
    client: OpenAI, simulator: SimulatorControl, first: str, fault: str
) -> None:
    with simulator.fault(first, fault):
        answer = client.chat.completions.with_raw_response.create(
            **chat_body(stream=True), extra_body={"provider": {"order": [first, "together"]}}
        )
        text = "".join(c.choices[0].delta.content or "" for c in answer.parse() if c.choices)
    assert text
    assert answer.headers["x-panelboard-provider"] == "together"


@pytest.mark.parametrize(
    ("provider", "fault"),
    [("nebius", "cut"), ("sambanova", "error_at"), ("hyperbolic", "malformed_frame")],
)
def test_a_stream_that_breaks_after_content_ends_with_an_error_and_no_done(
    http: httpx.Client,
    client: OpenAI,
    simulator: SimulatorControl,
    rest: Rest,
    provider: str,
    fault: str,
) -> None:
    """At providers that cannot be asked for the cost later, so that the estimate stays."""
    body = chat_body("Write 100 words.", stream=True, provider={"only": [provider]})
    with simulator.fault(provider, fault, after_chunks=10):
        raw = http.post("/v1/chat/completions", json=body)
        with pytest.raises(openai.APIError):
            list(
                client.chat.completions.create(
                    model=MODEL,
                    messages=body["messages"],
                    stream=True,
                    extra_body={"provider": {"only": [provider]}},
                )
            )
    frames = [line for line in raw.text.splitlines() if line.startswith("data: ")]
    assert raw.status_code == httpx.codes.OK
    assert '"error"' in frames[-1]
    assert "[DONE]" not in raw.text
    assert len(frames) > 2
    (attempt,) = rest.receipt(raw.headers["x-request-id"])["attempts"]
    assert attempt["cost_status"] == "estimated"
    assert money(attempt["cost_usd"]) > 0


def test_a_provider_that_refuses_the_hubs_key_is_never_the_clients_401(
    http: httpx.Client, simulator: SimulatorControl
) -> None:
    with simulator.fault("groq", "status", status=401):
        answer = http.post("/v1/chat/completions", json=chat_body(model=f"{MODEL}:groq"))
    assert answer.status_code == httpx.codes.BAD_GATEWAY
    assert answer.json()["error"]["code"] == "provider_refused_hub"
    assert answer.headers["x-should-retry"] == "false"


def test_filters_that_leave_nothing_name_the_exclusion_codes(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/chat/completions", json=chat_body(provider={"max_price": {"completion": 0.000001}})
    )
    assert answer.status_code == httpx.codes.NOT_FOUND
    error = answer.json()["error"]
    assert error["code"] == "no_endpoint"
    assert "max_price" in error["detail"]["excluded_by"]


def test_the_bill_of_a_request_is_usage_times_the_listed_price(
    http: httpx.Client, rest: Rest
) -> None:
    answer = http.post("/v1/chat/completions", json=chat_body(model=f"{MODEL}:together"))
    usage = answer.json()["usage"]
    pricing = providers_of(http)["together"]["pricing"]
    expected = (
        usage["prompt_tokens"] * Decimal(str(pricing["input"]))
        + usage["completion_tokens"] * Decimal(str(pricing["output"]))
    ) / 1_000_000
    receipt = rest.receipt(answer.headers["x-request-id"])
    assert money(receipt["cost_usd"]) == expected
