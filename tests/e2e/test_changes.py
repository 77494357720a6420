"""What people change on pages, and how soon the gateway goes by it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.hub_tools import MODEL, chat_body, signed_in
from tests.support.running_hub import RunningHub

pytestmark = pytest.mark.e2e

LIVE_WITHIN_S = 2.0
REVOKED_WITHIN_S = 1.0
SAVE_POLICY = """
import time
from routing.services.policies import save_policy
save_policy(name="house", document={{"only": ["{provider}"]}})
print(time.time())
"""


@pytest.fixture(scope="module")
def browser_of_admin(hub: RunningHub) -> Iterator[httpx.Client]:
    with signed_in(hub) as browser:
        yield browser


def save_policy(hub: RunningHub, provider: str) -> float:
    """When it was in the database, in Unix seconds."""
    return float(
        hub.manage("shell", "--verbosity", "0", "-c", SAVE_POLICY.format(provider=provider))
    )


def ask_until(http: httpx.Client, provider: str, timeout_s: float) -> float:
    """When the first request began that this provider answered."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        began = time.time()
        answer = http.post(
            "/v1/chat/completions", json=chat_body(model=f"{MODEL}:house", max_tokens=1)
        )
        if answer.headers.get("x-panelboard-provider") == provider:
            return began
        time.sleep(0.05)
    pytest.fail(f"{provider} did not answer: {answer.text}")


def test_a_changed_policy_is_live_within_two_seconds(hub: RunningHub, http: httpx.Client) -> None:
    save_policy(hub, "groq")
    ask_until(http, "groq", timeout_s=LIVE_WITHIN_S)
    seen: list[float] = []
    asking = threading.Thread(target=lambda: seen.append(ask_until(http, "cerebras", 30)))
    asking.start()
    saved_at = save_policy(hub, "cerebras")
    asking.join()
    assert seen[0] - saved_at < LIVE_WITHIN_S


def make_key(browser: httpx.Client) -> tuple[str, str]:
    """The key and the address that revokes it, from the page."""
    page = browser.get("/keys/").text
    project = re.search(r'<option value="(\d+)"', page)
    assert project is not None
    form = {"name": "short-lived", "project": project[1]}
    answer = browser.post("/keys/", data={**form, "csrfmiddlewaretoken": token_in(page)})
    assert answer.status_code == httpx.codes.OK
    plaintext = re.search(r"pb_live_\w{46}", answer.text)
    revoke = re.search(r"/keys/\d+/revoke/", answer.text)
    assert plaintext is not None
    assert revoke is not None
    return plaintext[0], revoke[0]


def token_in(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found is not None
    return found[1]


def status_turns(http: httpx.Client, key: str, wanted: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        headers = {"authorization": f"Bearer {key}"}
        if http.get("/v1/models", headers=headers).status_code == wanted:
            return True
        time.sleep(0.02)
    return False


def test_a_key_works_when_it_is_made_and_stops_when_it_is_revoked(
    browser_of_admin: httpx.Client, http: httpx.Client
) -> None:
    key, revoke = make_key(browser_of_admin)
    assert status_turns(http, key, 200, LIVE_WITHIN_S)
    form = {"csrfmiddlewaretoken": token_in(browser_of_admin.get("/keys/").text)}
    assert browser_of_admin.post(revoke, data=form).status_code == httpx.codes.FOUND
    assert status_turns(http, key, 401, REVOKED_WITHIN_S)
