"""Broken tool calls in a whole hub: learned at once, kept in Postgres, and shown on the page."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import httpx
import pytest

from tests.support.hub_tools import (
    MODEL,
    ROLL_UP,
    SETTLED_WITHIN_S,
    SimulatorControl,
    chat_body,
    signed_in,
)
from tests.support.running_hub import RunningHub

pytestmark = pytest.mark.e2e

HOST = "nscale"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
SHOWN = re.compile(r"<b>([\d.]+)%</b>(?:(?!</td>).)*? n (\d+)</span></span></td>", re.DOTALL)


def asked(**more: Any) -> dict[str, Any]:
    return chat_body("Weather in Oslo?", tools=[TOOL], **more)


def decided_on(http: httpx.Client) -> dict[str, Any]:
    answer = http.post("/v1/chat/completions", json=asked(), headers={"x-panelboard-explain": "1"})
    decision = json.loads(answer.headers["x-panelboard-decision"])
    return next(one for one in decision["candidates"] if one["provider"] == HOST)


def form_cell_of(page: str) -> tuple[str, str] | None:
    """The share and its n, from the column of the endpoint's row."""
    titles = re.findall(r"<th scope=\"col\"[^>]*>(.*?)</th>", page, re.DOTALL)
    places = [i for i, title in enumerate(titles) if "Sound form" in title]
    if not places:
        return None
    start = page.index(f'href="/providers/{HOST}/"')
    cells = re.findall(r"<td.*?</td>", page[start : page.index("</tr>", start)], re.DOTALL)
    found = SHOWN.search(cells[places[0] - 1])
    return None if found is None else (found[1], found[2])


def test_a_host_that_breaks_tool_calls_is_known_for_it_and_the_page_says_how_often(
    hub: RunningHub, http: httpx.Client, simulator: SimulatorControl
) -> None:
    with simulator.fault(HOST, "broken_form"):
        for n in range(6):
            answer = http.post(
                "/v1/chat/completions", json=asked(provider={"only": [HOST]}, stream=n % 2 == 0)
            )
            assert answer.status_code == httpx.codes.OK, answer.text
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while (found := decided_on(http))["valid_samples"] < 6:
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    assert found["valid_rate"] < 0.6
    with signed_in(hub) as browser:
        while True:
            hub.manage("shell", "-c", ROLL_UP)
            shown = form_cell_of(browser.get(f"/models/{MODEL.replace('/', '-')}/").text)
            if shown is not None and int(shown[1]) >= 6:
                break
            assert time.monotonic() < deadline + SETTLED_WITHIN_S, shown
    assert float(shown[0]) < 50
