"""A request, and where people find it again: playground, receipt, spend."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.support.hub_tools import MODEL, Rest, chat_body, money, roll_up, signed_in
from tests.support.running_hub import RunningHub

pytestmark = pytest.mark.e2e

PROBED_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def browser_of_admin(hub: RunningHub) -> Iterator[httpx.Client]:
    with signed_in(hub) as browser:
        yield browser


def frames_of(text: str) -> list[tuple[str, str]]:
    """(event name, data) in order."""
    found = []
    for frame in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.splitlines())
        found.append((fields.get("event", ""), fields["data"]))
    return found


def run_in_playground(browser: httpx.Client, **body: Any) -> httpx.Response:
    page = browser.get("/playground/").text
    csrf = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    column = re.search(r'data-endpoint="(\d+)"', page)
    assert csrf is not None
    assert column is not None
    prompt = {"prompt": "Say something short.", "max_tokens": 60}
    asked = {"endpoint_id": int(column[1]), **prompt, **body}
    return browser.post("/playground/stream/", json=asked, headers={"x-csrftoken": csrf[1]})


def test_the_playground_streams_an_answer_with_its_figures(
    browser_of_admin: httpx.Client, rest: Rest
) -> None:
    answer = run_in_playground(browser_of_admin)
    assert answer.status_code == httpx.codes.OK
    assert answer.headers["content-type"] == "text/event-stream"
    *chunks, done, (event, figures) = frames_of(answer.text)
    deltas = [json.loads(data)["choices"] for name, data in chunks if not name]
    assert "".join(found[0]["delta"].get("content") or "" for found in deltas if found)
    assert done == ("", "[DONE]")
    assert event == "panelboard"
    told = json.loads(figures)
    receipt = rest.receipt(told["request_id"])
    assert receipt["kind"] == "playground"
    assert money(told["cost_usd"]) == money(receipt["cost_usd"]) > 0
    assert told["ttft_ms"] > 0


def test_the_playground_refuses_an_endpoint_that_does_not_exist(
    browser_of_admin: httpx.Client,
) -> None:
    answer = run_in_playground(browser_of_admin, endpoint_id=10**9)
    assert "unknown_endpoint" in answer.text
    assert "[DONE]" not in answer.text


def test_a_request_is_on_the_bill_of_the_month_and_on_the_page(
    hub: RunningHub, browser_of_admin: httpx.Client, http: httpx.Client, rest: Rest
) -> None:
    roll_up(hub)
    before = rest.bill().get("zai", Decimal(0))
    model = next(
        model["id"]
        for model in http.get("/v1/models").json()["data"]
        if any(entry["provider"] == "zai" for entry in model["providers"])
    )
    answer = http.post("/v1/chat/completions", json=chat_body(model=f"{model}:zai"))
    cost = money(answer.headers["x-panelboard-cost"])
    assert cost > 0
    rest.receipt(answer.headers["x-request-id"])
    roll_up(hub)
    assert rest.bill()["zai"] == before + cost
    page = browser_of_admin.get("/spend/", params={"by": "provider"}).text
    assert "Z.ai" in page
    receipt = browser_of_admin.get(f"/requests/{answer.headers['x-request-id']}/").text
    assert model in receipt


def test_the_log_shows_the_request_with_its_model(
    browser_of_admin: httpx.Client, http: httpx.Client, rest: Rest
) -> None:
    answer = http.post("/v1/chat/completions", json=chat_body(model=f"{MODEL}:groq"))
    request_id = answer.headers["x-request-id"]
    rest.receipt(request_id)
    assert f"/requests/{request_id}/" in browser_of_admin.get("/requests/").text


def test_the_hubs_own_probes_are_told_apart_in_the_log(browser_of_admin: httpx.Client) -> None:
    deadline = time.monotonic() + PROBED_WITHIN_S
    while not (probes := receipts_on(browser_of_admin, "probe")):
        assert time.monotonic() < deadline, "no probe is in the log"
        time.sleep(1)
    assert not probes & receipts_on(browser_of_admin, "")


def receipts_on(browser: httpx.Client, kind: str) -> set[str]:
    page = browser.get("/requests/", params={"kind": kind}).text
    return set(re.findall(r"/requests/[0-9a-f-]{36}/", page))
