"""Mocks of providers that others wrote, behind a hub: their faults end as the retry table says."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.clients.environments import NotInstallable
from tests.clients.mocks import catalog
from tests.clients.mocks.asking import Answer, ask
from tests.clients.mocks.servers import (
    BROKEN_OFF,
    CUT_OFF,
    SENTENCES,
    AiMock,
    LlMock,
    aimock,
    llmock,
)
from tests.support.fast_hub import fast_hub
from tests.support.hub_tools import raw_client
from tests.support.running_hub import RunningHub

pytestmark = pytest.mark.e2e
DIALECTS = pytest.mark.parametrize("dialect", catalog.DIALECTS)
MODES = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
PLAIN, STREAMED = (pytest.mark.parametrize("stream", [is_so]) for is_so in (False, True))
IMPATIENT = "from routing.services.policies import save_policy; save_policy(name='impatient', "
IMPATIENT += "document={'timeouts': {'idle_s': 1, 'first_content_s': 1}})"
LONG = {"type": "reply", "text": SENTENCES, "times": 2}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
FreshModel = Callable[[str, str], str]
Asking = Callable[..., Answer]


@dataclass(frozen=True)
class Way:
    """A model that no fault has hit yet, at mocks of one dialect, asked plain or streamed."""

    model: str
    stream: bool
    asking: Asking

    def ask(self, *, policy: str = "", **more: Any) -> Answer:
        return self.asking(f"{self.model}{policy}", stream=self.stream, **more)

    def asked_of(self, mock: LlMock) -> int:
        return len(mock.requests(self.model.removeprefix("mock/")))


Ways = Callable[[str], Way]


@contextmanager
def _installable() -> Iterator[None]:
    try:
        yield
    except NotInstallable as exc:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"the mock cannot be installed: {exc}")


@pytest.fixture(scope="module")
def llm() -> Iterator[LlMock]:
    with _installable(), llmock() as running:
        yield running


@pytest.fixture(scope="module")
def ai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AiMock]:
    with _installable(), aimock(tmp_path_factory.mktemp("aimock")) as running:
        yield running


@pytest.fixture(scope="module")
def narrow() -> Iterator[LlMock]:
    """One that takes a request a second, once sixty are used up, and short prompts."""
    with _installable(), llmock("--rpm", "60", "--context-window", "300") as running:
        yield running


@pytest.fixture(scope="module")
def asking(llm: LlMock, ai: AiMock, narrow: LlMock) -> Iterator[Asking]:
    """Questions to a hub whose providers are the two mocks."""
    with fast_hub({"PANELBOARD_PRIVATE_UPSTREAMS": "127.0.0.1"}) as hub:
        urls = {"llmock": llm.url, "locked": llm.url, "narrow": narrow.url, "aimock": ai.url}
        _load(hub, urls)
        with raw_client(hub) as http:
            _wait_until_known(http)
            yield lambda model, **more: ask(http, model, **more)


def _load(hub: RunningHub, urls: dict[str, str]) -> None:
    key = hub.data / "mock.key"
    key.write_text("mock-key")
    file = hub.data / "mocks.json"
    file.write_text(json.dumps(catalog.document(urls, key)))
    hub.manage("load_catalog", str(file))
    hub.manage("shell", "--verbosity", "0", "-c", IMPATIENT)


def _wait_until_known(http: httpx.Client) -> None:
    """The gateway hears of a new catalog within seconds."""
    deadline = time.monotonic() + 30
    last = catalog.model("both", "gemini", 0)
    while http.get(f"/v1/models/{last}").is_error:
        assert time.monotonic() < deadline, "the mocks' models did not reach the gateway"
        time.sleep(0.2)


@pytest.fixture
def fresh(used: dict[tuple[str, str], int]) -> FreshModel:
    """A model that no fault has hit yet."""

    def take(hosts: str, dialect: str) -> str:
        number = used[hosts, dialect] = used.get((hosts, dialect), -1) + 1
        return catalog.model(hosts, dialect, number)

    return take


@pytest.fixture
def way(asking: Asking, fresh: FreshModel, dialect: str, stream: bool) -> Ways:
    """By the mocks that are to serve it."""
    return lambda hosts: Way(fresh(hosts, dialect), stream, asking)


@pytest.fixture(scope="module")
def used() -> dict[tuple[str, str], int]:
    return {}


@pytest.fixture(autouse=True)
def _llmocks_verdict(llm: LlMock) -> Iterator[None]:
    """After every test: llmock has nothing to say against the hub, not even a warning."""
    llm.http.post("/_llmock/reset").raise_for_status()
    yield
    assert llm.verdict()["findings"] == []


def assert_mended(answer: Answer, attempts: int, text: str = "") -> None:
    assert (answer.status, answer.attempts, answer.is_whole) == (200, attempts, True)
    assert text in ("", answer.text)


# --- llmock: what the hub mends by itself --------------------------------------------------------


@DIALECTS
@MODES
@pytest.mark.parametrize("status", [500, 502, 503, 529])
def test_a_refusal_for_a_moment_is_tried_again(llm: LlMock, way: Ways, status: int) -> None:
    llm.script({"type": "fail", "status": status})
    answer = way("llmock").ask()
    assert_mended(answer, attempts=2)


@DIALECTS
@MODES
def test_a_rate_limit_is_waited_for_as_long_as_it_says(llm: LlMock, way: Ways) -> None:
    llm.script({"type": "fail", "status": 429, "retry_after": 0.5})
    answer = way("llmock").ask()
    assert_mended(answer, attempts=2)


@DIALECTS
@STREAMED
@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed"])
def test_a_stream_that_breaks_before_its_first_word_is_tried_again(
    llm: LlMock, way: Ways, kind: str
) -> None:
    llm.script({"type": "stream_fault", "kind": kind, "after_chunks": 0})
    answer = way("llmock").ask()
    assert_mended(answer, attempts=2)


@DIALECTS
@STREAMED
@pytest.mark.parametrize("slow", ["delay", "slow_first_token"])
def test_a_slow_answer_is_waited_for(llm: LlMock, way: Ways, slow: str) -> None:
    llm.script({"type": slow, "seconds": 0.7})
    answer = way("llmock").ask()
    assert_mended(answer, attempts=1)


# --- llmock: what the client has to be told ------------------------------------------------------


@DIALECTS
@STREAMED
@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed"])
def test_a_stream_that_breaks_later_says_so_and_never_ends_as_if_it_were_whole(
    llm: LlMock, way: Ways, kind: str
) -> None:
    one = way("llmock")
    llm.script(LONG, {"type": "stream_fault", "kind": kind, "after_chunks": 6})
    answer = one.ask()
    assert answer.text
    assert answer.error
    assert not answer.is_whole
    assert one.asked_of(llm) == 1
    # A client that was told asks again, which is why llmock finds nothing.
    assert one.ask().is_whole


@DIALECTS
@STREAMED
@pytest.mark.parametrize("after", [0, 6])
def test_a_stream_that_hangs_is_ended_by_the_hub(llm: LlMock, way: Ways, after: int) -> None:
    one = way("llmock")
    fault = {"type": "stream_fault", "kind": "stall", "after_chunks": after, "stall_seconds": 8}
    llm.script(LONG, fault)
    began = time.monotonic()
    answer = one.ask(policy=":impatient")
    assert time.monotonic() - began < 6
    assert answer.error
    assert not answer.is_whole
    assert one.ask().is_whole


@DIALECTS
@MODES
@pytest.mark.parametrize("status", [400, 404, 422])
def test_what_can_never_succeed_is_not_tried_again(llm: LlMock, way: Ways, status: int) -> None:
    one = way("llmock")
    llm.script({"type": "fail", "status": status})
    answer = one.ask()
    assert answer.status >= 400
    assert answer.error["code"]
    assert one.asked_of(llm) == 1


@DIALECTS
@PLAIN
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_the_hubs_own_key_is_no_fault_of_the_client_and_not_tried_again(
    llm: LlMock, way: Ways, status: int
) -> None:
    one = way("locked")
    llm.script({"type": "fail", "status": status})
    answer = one.ask()
    assert answer.status >= 500
    assert answer.error["code"]
    assert one.asked_of(llm) == 1


def test_a_quota_is_kept_to_and_lived_with(
    narrow: LlMock, asking: Asking, fresh: FreshModel
) -> None:
    model = fresh("narrow", "openai_compat")
    for number in range(63):
        answer = asking(model, stream=False, text=f"Question {number}")
        if answer.status == 429:  # the hub has learnt the limit, and says when to come back
            assert answer.retry_after_s is not None
            time.sleep(min(answer.retry_after_s, 5.0))
            answer = asking(model, stream=False, text=f"Question {number}")
        assert answer.is_whole
    assert narrow.verdict()["findings"] == []


def test_a_prompt_that_is_too_long_there_is_the_clients_error(
    narrow: LlMock, asking: Asking, fresh: FreshModel
) -> None:
    model = fresh("narrow", "anthropic")
    answer = asking(model, stream=False, text="word " * 2000)
    assert answer.status == 400
    assert answer.error["code"] == "context_length_exceeded"
    assert len(narrow.requests(model.removeprefix("mock/"))) == 1


@DIALECTS
@PLAIN
@pytest.mark.parametrize("kind", ["malformed_arguments", "unknown_tool"])
def test_a_broken_tool_call_reaches_the_client_as_the_model_made_it(
    llm: LlMock, way: Ways, kind: str
) -> None:
    llm.script({"type": "tool_fault", "kind": kind})
    question = "What is the weather in Oslo?"
    answer = way("llmock").ask(text=question, tools=[TOOL])
    assert_mended(answer, attempts=1)


# --- aimock: another provider steps in -----------------------------------------------------------

CHAOS = ["dropRate", "malformedRate", "disconnectRate", "rateLimitRate"]


@DIALECTS
@MODES
@pytest.mark.parametrize("fault", CHAOS)
def test_another_provider_answers_when_aimock_breaks(
    ai: AiMock, way: Ways, dialect: str, fault: str
) -> None:
    order = {"order": [catalog.slug("aimock", dialect)]}
    with ai.chaos(**{fault: 1.0}):
        answer = way("both").ask(provider=order)
    assert (answer.status, answer.is_whole) == (200, True)
    assert (answer.attempts, answer.provider) == (2, catalog.slug("llmock", dialect))


@DIALECTS
@MODES
@pytest.mark.parametrize("fault", CHAOS)
def test_aimock_alone_and_broken_is_a_clear_error(ai: AiMock, way: Ways, fault: str) -> None:
    one = way("aimock")
    with ai.chaos(**{fault: 1.0}):
        answer = one.ask()
    assert answer.status in (429, 502, 503, 504)
    assert answer.error["code"]


@DIALECTS
@MODES
def test_an_error_of_aimock_for_once_is_tried_again(ai: AiMock, way: Ways) -> None:
    ai.fail_once(503, "for a moment")
    answer = way("aimock").ask()
    assert_mended(answer, attempts=2, text=SENTENCES)


@DIALECTS
@MODES
def test_aimocks_latency_is_waited_for(ai: AiMock, way: Ways) -> None:
    with ai.chaos(latencyMs=400):
        answer = way("aimock").ask()
    assert_mended(answer, attempts=1, text=SENTENCES)


@DIALECTS
@STREAMED
@pytest.mark.parametrize("text", [CUT_OFF, BROKEN_OFF])
def test_a_stream_that_aimock_cuts_says_so(way: Ways, text: str) -> None:
    answer = way("aimock").ask(text=text)
    assert answer.text
    assert SENTENCES.startswith(answer.text)
    assert answer.error
    assert not answer.is_whole
