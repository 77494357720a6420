from __future__ import annotations

from typing import Any

import httpx
import pytest

from routing.simulator.server import ThreadedSimulator

PATH = "/v1/messages"
HEADERS = {"x-api-key": "sim-anthropic-key", "anthropic-version": "2023-06-01"}
ASKED: dict[str, Any] = {
    "model": "claude-thinks",
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "How many tokens are these words, by your count?"}],
}


def posted(
    simulator: ThreadedSimulator, http: httpx.Client, path: str, body: dict[str, Any]
) -> httpx.Response:
    url = simulator.base_url("anthropic") + path
    return http.post(url, json=body, headers=HEADERS)


def test_a_prompt_is_counted_as_it_is_billed(
    simulator: ThreadedSimulator, http: httpx.Client
) -> None:
    counted = posted(simulator, http, f"{PATH}/count_tokens", ASKED)
    answered = posted(simulator, http, PATH, {**ASKED, "max_tokens": 5})
    assert counted.json() == {"input_tokens": answered.json()["usage"]["input_tokens"]}


@pytest.mark.parametrize(
    ("more", "status"),
    [({"max_tokens": 5}, 400), ({"messages": []}, 400), ({"model": "claude-who"}, 404)],
)
def test_what_cannot_be_counted_is_refused_in_anthropics_envelope(
    simulator: ThreadedSimulator, http: httpx.Client, more: dict[str, Any], status: int
) -> None:
    refused = posted(simulator, http, f"{PATH}/count_tokens", {**ASKED, **more})
    assert refused.status_code == status
    assert refused.json()["type"] == "error"
