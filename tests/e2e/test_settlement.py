"""Streams that end without a usage: the providers are asked afterwards, and the bill is theirs."""

from __future__ import annotations

import httpx
import pytest

from tests.support.hub_tools import Rest, SimulatorControl, chat_body, money
from tests.support.running_hub import RunningHub

pytestmark = pytest.mark.e2e

SETTLE = "from analytics.tasks import settle_with_providers; settle_with_providers()"


def request_id_of_a_broken_stream(http: httpx.Client, provider: str, *, leave: bool = False) -> str:
    body = chat_body("Write 200 words.", stream=True, provider={"only": [provider]})
    with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        for number, _ in enumerate(answer.iter_lines()):
            if leave and number > 10:
                break
    return answer.headers["x-request-id"]


def test_what_broke_off_costs_what_the_provider_billed(
    hub: RunningHub, http: httpx.Client, simulator: SimulatorControl, rest: Rest
) -> None:
    ids = [request_id_of_a_broken_stream(http, "novita", leave=True)]
    for provider, fault in [("together", "cut"), ("deepinfra", "error_at"), ("groq", "no_usage")]:
        with simulator.fault(provider, fault, after_chunks=12):
            ids.append(request_id_of_a_broken_stream(http, provider))
    outcomes = [rest.receipt(request_id)["attempts"][0]["outcome"] for request_id in ids]
    assert outcomes == ["client_cancelled", "provider_error", "provider_error", "ok"]
    hub.manage("shell", "--verbosity", "0", "-c", SETTLE)  # sooner than its schedule does
    for request_id in ids:
        (row,) = simulator.journal(request_id)
        receipt = rest.receipt(request_id)
        (attempt,), (correction,) = receipt["attempts"], receipt["corrections"]
        assert correction["source"] == "settlement"
        assert attempt["cost_status"] == "metered"
        assert money(attempt["settled_usd"]) == money(row["cost_usd"]) > 0
        assert attempt["output_tokens"] == row["output_tokens"]
