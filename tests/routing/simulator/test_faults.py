from __future__ import annotations

import json
import time
from collections.abc import Callable
from random import Random

import httpx
import pytest

from routing.simulator.faults import FAULTS, BadFault, Fault, FaultBook, parse_fault
from routing.simulator.server import ThreadedSimulator
from tests.routing.simulator.plays import WEATHER_TOOL, Player, events

Play = Callable[[str], Player]
BROKEN = (httpx.RemoteProtocolError, httpx.ReadError)


def _received(play: Player, text: str = "Write 60 words.") -> tuple[str, bool]:
    """What arrived of a stream, and whether it ended as HTTP says it should."""
    arrived: list[str] = []
    body = play.body(text, stream=True)
    url, headers = play.url(stream=True), play.headers()
    try:
        with play.http.stream("POST", url, json=body, headers=headers) as answer:
            arrived.extend(answer.iter_text())
    except BROKEN:
        return "".join(arrived), False
    return "".join(arrived), True


def _content_chunks(text: str) -> int:
    return text.count('"delta":{"content":"')


@pytest.mark.parametrize("status", [400, 401, 402, 404, 408, 429, 500, 502, 503, 504, 529])
def test_a_status_fault_answers_in_the_providers_envelope(
    player: Play, simulator: ThreadedSimulator, status: int
) -> None:
    simulator.add_fault("status", provider="groq", status=status, retry_after=7)
    for stream in (False, True):
        answer = player("groq").ask(stream=stream)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "code"}
        assert answer.headers["retry-after"] == "7"
    rows = simulator.journal()
    assert {(row.fault, row.closed_by, row.cost_usd) for row in rows} == {("status", "fault", "0")}
    assert simulator.violations() == []


def test_a_status_fault_can_name_code_and_message(
    player: Play, simulator: ThreadedSimulator
) -> None:
    simulator.add_fault("status", status=429, code="insufficient_quota", message="No money.")
    error = player("openai").ask().json()["error"]
    assert (error["code"], error["message"]) == ("insufficient_quota", "No money.")


def test_a_fault_strikes_as_often_as_told_and_only_where_told(
    player: Play, simulator: ThreadedSimulator
) -> None:
    simulator.add_fault("status", provider="groq", model="thinker/one", times=2)
    play = player("groq")
    assert play.ask().status_code == 200
    play.model = "reasoner"
    assert [play.ask().status_code for _ in range(3)] == [503, 503, 200]
    assert player("together").ask().status_code == 200


def test_cleared_faults_strike_no_more(player: Play, simulator: ThreadedSimulator) -> None:
    simulator.add_fault("status")
    assert player("groq").ask().status_code == 503
    simulator.clear_faults()
    assert player("groq").ask().status_code == 200


@pytest.mark.parametrize(
    ("mode", "whole"), [("rst", False), ("close", False), ("mid_frame", False), ("clean", True)]
)
def test_a_cut_stream_stops_after_so_many_chunks(
    player: Play, simulator: ThreadedSimulator, mode: str, whole: bool
) -> None:
    simulator.add_fault("cut", provider="groq", after_chunks=3, mode=mode)
    text, ended_well = _received(player("groq"))
    assert _content_chunks(text.rpartition("\n\n")[0]) == 3
    assert text.endswith("\n\n") is (mode != "mid_frame")
    assert "[DONE]" not in text
    assert '"finish_reason":"stop"' not in text
    assert ended_well is whole
    row = simulator.journal()[-1]
    assert (row.fault, row.closed_by, row.chunks) == ("cut", "fault", 3)
    assert 3 <= row.output_tokens < 30
    assert row.cost_usd != "0"


def test_a_cut_whole_answer_breaks_in_the_body(player: Play, simulator: ThreadedSimulator) -> None:
    simulator.add_fault("cut", provider="groq", mode="close")
    with pytest.raises(BROKEN):
        player("groq").ask()


def test_a_cut_at_zero_shows_nothing_but_the_role(
    player: Play, simulator: ThreadedSimulator
) -> None:
    simulator.add_fault("cut", provider="groq")
    text, _ = _received(player("groq"))
    assert _content_chunks(text) == 0
    assert simulator.journal()[-1].output_tokens == 0


def test_a_stalled_stream_says_nothing_more_and_knows_when_the_client_leaves(
    player: Play, simulator: ThreadedSimulator, http: httpx.Client
) -> None:
    simulator.add_fault("stall", provider="groq", after_chunks=2)
    play = player("groq")
    body = play.body("Write 60 words.", stream=True)
    with pytest.raises(httpx.ReadTimeout):
        http.post(play.url(), json=body, headers=play.headers(), timeout=0.15)
    _until(lambda: bool(simulator.journal()[-1].closed_by))
    row = simulator.journal()[-1]
    assert (row.closed_by, row.fault, row.chunks) == ("client", "stall", 2)


def test_a_stall_with_an_end_goes_on(player: Play, simulator: ThreadedSimulator) -> None:
    simulator.add_fault("stall", provider="groq", after_chunks=2, seconds=0.05)
    text, ended_well = _received(player("groq"))
    assert ended_well
    assert text.rstrip().endswith("[DONE]")
    assert simulator.journal()[-1].closed_by == "server"


def test_a_stalled_whole_answer_ends_late(player: Play, simulator: ThreadedSimulator) -> None:
    simulator.add_fault("stall", provider="groq", seconds=0.05)
    answer = player("groq").ask()
    assert answer.json()["usage"]["completion_tokens"] > 0
    assert answer.elapsed.total_seconds() >= 0.05


def test_comments_keep_a_silent_stream_open(player: Play, simulator: ThreadedSimulator) -> None:
    simulator.add_fault("comments_only", provider="groq", after_chunks=1, seconds=0.3)
    text, ended_well = _received(player("groq"))
    assert text.count(": keep-alive") >= 2
    assert ended_well


@pytest.mark.parametrize("slug", ["groq", "anthropic", "gemini"])
def test_an_error_can_be_the_first_frame(
    player: Play, simulator: ThreadedSimulator, slug: str
) -> None:
    simulator.add_fault("error_first_frame", provider=slug, status=429)
    answer = player(slug).ask(stream=True)
    assert answer.status_code == 200
    (event,) = events(answer)
    assert event["error"]["message"]
    row = simulator.journal()[-1]
    assert (row.input_tokens, row.output_tokens, row.cost_usd) == (0, 0, "0")


@pytest.mark.parametrize("slug", ["groq", "anthropic", "gemini"])
def test_an_error_can_come_in_the_middle(
    player: Play, simulator: ThreadedSimulator, slug: str
) -> None:
    simulator.add_fault("error_at", provider=slug, after_chunks=3)
    found = events(player(slug).ask("Write 60 words.", stream=True))
    assert "error" in found[-1]
    assert "[DONE]" not in found
    assert simulator.journal()[-1].chunks == 3


def test_a_malformed_frame_is_not_json_and_the_stream_goes_on(
    player: Play, simulator: ThreadedSimulator
) -> None:
    simulator.add_fault("malformed_frame", provider="groq", after_chunks=2)
    text, _ = _received(player("groq"))
    assert '"content":"half\n\n' in text
    assert text.rstrip().endswith("[DONE]")


def test_a_malformed_whole_answer_is_half_a_document(
    player: Play, simulator: ThreadedSimulator
) -> None:
    simulator.add_fault("malformed_frame", provider="groq")
    answer = player("groq").ask()
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|delimiter|Expecting"):
        answer.json()


@pytest.mark.parametrize("slug", ["groq", "together", "mistral", "anthropic", "gemini"])
def test_usage_can_be_withheld_while_the_bill_goes_on(
    player: Play, simulator: ThreadedSimulator, slug: str
) -> None:
    simulator.add_fault("no_usage", provider=slug)
    for stream in (False, True):
        answer = player(slug).ask(stream=stream)
        assert "_tokens" not in answer.text
        assert "TokenCount" not in answer.text
        assert simulator.journal()[-1].output_tokens > 0


@pytest.mark.parametrize("slug", ["groq", "anthropic", "gemini"])
def test_usage_can_be_absurd(player: Play, simulator: ThreadedSimulator, slug: str) -> None:
    simulator.add_fault("usage_absurd", provider=slug)
    assert "987654321012" in player(slug).ask(stream=True).text
    assert simulator.journal()[-1].output_tokens < 1000


def test_the_end_mark_can_be_missing_or_doubled(player: Play, simulator: ThreadedSimulator) -> None:
    simulator.add_fault("no_done", provider="groq", times=1)
    simulator.add_fault("double_done", provider="groq", times=1)
    assert player("groq").ask(stream=True).text.count("[DONE]") == 0
    assert player("groq").ask(stream=True).text.count("[DONE]") == 2
    assert player("groq").ask(stream=True).text.count("[DONE]") == 1


def test_anthropic_without_its_last_event(player: Play, simulator: ThreadedSimulator) -> None:
    simulator.add_fault("no_done", provider="anthropic")
    assert events(player("anthropic").ask(stream=True))[-1]["type"] == "message_delta"


@pytest.mark.parametrize("stream", [False, True])
def test_a_200_can_be_a_page_an_error_or_nothing(
    player: Play, simulator: ThreadedSimulator, stream: bool
) -> None:
    for fault in ("html_200", "error_200", "empty_200"):
        simulator.add_fault(fault, provider="together", times=1)
    page, error, nothing = (player("together").ask(stream=stream) for _ in range(3))
    assert {page.status_code, error.status_code, nothing.status_code} == {200}
    assert page.headers["content-type"].startswith("text/html")
    assert error.json()["error"]["message"]
    assert nothing.content == b""
    assert {row.cost_usd for row in simulator.journal()} == {"0"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_length_promises_more_than_comes(
    player: Play, simulator: ThreadedSimulator, stream: bool
) -> None:
    simulator.add_fault("wrong_length", provider="groq")
    with pytest.raises(BROKEN):
        player("groq").ask(stream=stream)
    assert simulator.journal()[-1].output_tokens > 0


def test_a_refused_request_gets_no_byte(player: Play, simulator: ThreadedSimulator) -> None:
    simulator.add_fault("refuse", provider="groq")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        player("groq").ask()
    assert simulator.journal()[-1].status == 0


@pytest.mark.parametrize("fault", ["slow_headers", "slow_first_token"])
@pytest.mark.parametrize("stream", [False, True])
def test_slowness_is_in_real_seconds(
    player: Play, simulator: ThreadedSimulator, fault: str, stream: bool
) -> None:
    simulator.add_fault(fault, provider="groq", seconds=0.08)
    play = player("groq")
    answer = play.ask(stream=stream)
    assert answer.status_code == 200
    row = simulator.journal()[-1]
    assert row.ended_at is not None
    assert row.ended_at - row.time >= 0.07


def test_a_slow_first_token_lets_the_headers_through(
    player: Play, simulator: ThreadedSimulator
) -> None:
    simulator.add_fault("slow_first_token", provider="groq", seconds=0.4)
    play = player("groq")
    body = play.body("hi", stream=True)
    with play.http.stream("POST", play.url(), json=body, headers=play.headers()) as answer:
        assert answer.status_code == 200
        assert simulator.journal()[-1].chunks == 0


def test_a_fixed_pace_spreads_the_chunks(player: Play, simulator: ThreadedSimulator) -> None:
    simulator.add_fault("pace", provider="groq", seconds=0.005)
    player("groq").ask("Write 30 words.", stream=True)
    row = simulator.journal()[-1]
    assert row.ended_at is not None
    assert row.ended_at - row.time >= 0.004 * row.chunks


def test_byte_by_byte_arrives_the_same(player: Play, simulator: ThreadedSimulator) -> None:
    whole = player("together").ask(stream=True).content
    simulator.add_fault("byte_by_byte", provider="together")
    sliced = player("together").ask(stream=True).content
    assert len(sliced) == len(whole)
    assert sliced.count(b"data:") == whole.count(b"data:")


def test_the_same_stream_can_be_written_differently(
    player: Play, simulator: ThreadedSimulator
) -> None:
    def dressed(fault: str) -> bytes:
        simulator.clear_faults()
        simulator.add_fault(fault, provider="together")
        return player("together").ask(stream=True).content

    assert b"\n" not in dressed("crlf").replace(b"\r\n", b"")
    assert b"\n" not in dressed("bare_cr")
    assert b"data: " not in dressed("no_space")
    assert dressed("bom").startswith(b"\xef\xbb\xbfdata: ")


def test_the_control_address_sets_lists_and_clears_faults(
    simulator: ThreadedSimulator, player: Play, http: httpx.Client
) -> None:
    url = simulator.root_url() + "/_control/faults"
    made = http.post(url, json={"provider": "groq", "fault": "status", "status": 500}).json()
    assert player("groq").ask().status_code == 500
    (listed,) = http.get(url).json()["faults"]
    assert (listed["id"], listed["hits"]) == (made["id"], 1)
    http.delete(url)
    assert player("groq").ask().status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"fault": "earthquake"}, "use one of status,"),
        ({"fault": "status", "provider": "nobody"}, "'nobody' is not played here"),
        ({"fault": "status", "status": 99}, "99 is not an HTTP status"),
        ({"fault": "slow_headers"}, "needs `seconds`"),
        ({"fault": "cut", "after": 3}, "unknown field `after`"),
        ([], "Expected `object`"),
    ],
)
def test_a_wrong_fault_is_explained(
    simulator: ThreadedSimulator, http: httpx.Client, body: object, message: str
) -> None:
    answer = http.post(simulator.root_url() + "/_control/faults", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_probability_is_drawn_from_the_seed() -> None:
    def hits(seed: int) -> list[bool]:
        book = FaultBook(Random(seed))
        book.add(Fault("status", probability=0.3))
        return [book.pick("a", ("m", "m"), stream=False) is not None for _ in range(200)]

    assert hits(1) == hits(1) != hits(2)
    assert 35 <= sum(hits(1)) <= 85


def test_faults_of_streams_leave_whole_answers_alone() -> None:
    book = FaultBook(Random(1))
    for name, modes in FAULTS.items():
        book.clear()
        book.add(parse_fault({"fault": name, "seconds": 1}))
        assert (book.pick("a", ("m", "m"), stream=False) is not None) == ("w" in modes)
        assert (book.pick("a", ("m", "m"), stream=True) is not None) == ("s" in modes)


def test_a_fault_needs_a_known_mode() -> None:
    with pytest.raises(BadFault, match="mode"):
        parse_fault({"fault": "cut", "mode": "gently"})


def _until(condition: Callable[[], bool], seconds: float = 3.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def test_broken_form_spoils_calls_and_json_and_leaves_prose_alone(
    player: Play, simulator: ThreadedSimulator
) -> None:
    simulator.add_fault("broken_form", provider="groq")
    play = player("groq")
    tools = [{"type": "function", "function": WEATHER_TOOL}]
    called = play.ask("Weather in Oslo?", tools=tools).json()["choices"][0]["message"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(called["tool_calls"][0]["function"]["arguments"])
    written = play.ask(response_format={"type": "json_object"}).json()["choices"][0]["message"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(written["content"])
    said = play.ask("Say exactly: still here").json()["choices"][0]["message"]
    assert said["content"] == "still here"
    assert simulator.violations() == []
