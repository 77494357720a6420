from __future__ import annotations

import asyncio
import logging
from decimal import Decimal

import msgspec
import pytest

from routing.core.charges import CostStatus
from routing.core.deadlines import Deadlines
from routing.core.decision import Decision
from routing.core.errors import BrokenAnswer, ConnectFailed, UpstreamTimeout
from routing.core.record import Outcome
from tests.routing.factories import endpoint
from tests.routing.gateway.scripted import (
    DONE,
    END,
    HELLO,
    JSON,
    ROLE,
    WHOLE,
    Bench,
    Client,
    ScriptedAnswer,
    frame,
    plain,
    stream,
    usage_frame,
)

COST_OF_TEN_AND_FOUR = Decimal("0.0000039")  # 10 x 0.15 + 4 x 0.60 per million


async def test_a_plain_answer_is_passed_on_and_settled() -> None:
    bench = Bench(plain())
    client = await bench.ask()
    assert client.status == 200
    assert b"Hello you" in client.pieces[0]
    assert client.headers[b"x-panelboard-provider"] == b"first"
    assert client.headers[b"x-panelboard-cost"] == b"0.0000039"
    (finish,) = bench.spool.finishes
    assert (finish.outcome, finish.cost_usd, finish.cost_status) == (
        Outcome.OK,
        COST_OF_TEN_AND_FOUR,
        CostStatus.METERED,
    )
    assert [line["price_id"] for line in msgspec.json.decode(finish.lines)] == [10, 11]
    assert (bench.spool.done.outcome, bench.spool.done.attempts) == (Outcome.OK, 1)


async def test_the_intent_is_written_before_the_request_and_the_end_before_the_last_byte() -> None:
    bench = Bench(stream(*WHOLE))
    client = bench.client(stream=True)
    written: list[int] = []
    client.on_piece = lambda _: written.append(len(bench.spool.frames))
    await bench.ask(client)
    assert bench.upstream.requests
    assert written[0] == 1
    assert written[-1] == 3


async def test_with_durability_host_the_last_byte_waits_for_the_disk() -> None:
    bench = Bench(stream(*WHOLE), durability="host")
    client = bench.client(stream=True)
    synced: list[int] = []
    client.on_piece = lambda seen: synced.append(bench.spool.synced) if seen.complete else None
    await bench.ask(client)
    assert synced == [3]


async def test_our_own_request_id_travels_to_the_provider_and_the_clients_key_does_not() -> None:
    bench = Bench(plain())
    client = await bench.ask()
    headers = dict(bench.upstream.requests[0].headers)
    mark = bench.upstream.requests[0].mark
    assert mark == client.headers[b"x-request-id"] + b"-1"
    assert headers[b"authorization"] == b"Bearer sim-first-key"


async def test_a_stream_is_held_back_until_its_first_content() -> None:
    bench = Bench(stream(ROLE, 0.02, HELLO, END, DONE))
    client = await bench.ask(stream=True)
    assert b"Hello" in client.pieces[0]
    assert client.text.endswith("data: [DONE]\n\n")
    assert bench.spool.done.ttft_ms is not None
    assert bench.spool.done.ttft_ms >= 20


@pytest.mark.parametrize(
    ("broken", "outcome"),
    [
        (ConnectFailed("refused"), Outcome.PROVIDER_ERROR),
        (BrokenAnswer("early_eof", "cut"), Outcome.PROVIDER_ERROR),
        (UpstreamTimeout("first_content", "slow"), Outcome.TIMEOUT),
        (plain(b'{"error":{"message":"x","type":"server_error"}}', 503), Outcome.PROVIDER_ERROR),
        (
            plain(b'{"error":{"message":"x","code":"rate_limit_exceeded"}}', 429),
            Outcome.RATE_LIMITED,
        ),
        (
            plain(b'{"error":{"message":"bad key","code":"invalid_api_key"}}', 401),
            Outcome.PROVIDER_ERROR,
        ),
        (
            stream(b'data: {"error":{"message":"overloaded","code":503}}\n\n'),
            Outcome.PROVIDER_ERROR,
        ),
        (stream(ROLE), Outcome.PROVIDER_ERROR),
        (stream(), Outcome.PROVIDER_ERROR),
        (
            ScriptedAnswer(200, [(b"content-type", b"text/html")], [b"<html>"]),
            Outcome.PROVIDER_ERROR,
        ),
        (ScriptedAnswer(200, JSON, [b'{"error":{"message":"no"}}']), Outcome.PROVIDER_ERROR),
    ],
)
async def test_a_failure_before_content_is_answered_by_the_next_endpoint(
    broken: ScriptedAnswer | Exception, outcome: Outcome
) -> None:
    bench = Bench(broken, stream(*WHOLE))
    client = await bench.ask(stream=True)
    assert client.status == 200
    assert client.headers[b"x-panelboard-provider"] == b"second"
    assert client.headers[b"x-panelboard-attempts"] == b"2"
    first, second = bench.spool.finishes
    assert (first.outcome, second.outcome) == (outcome, Outcome.OK)
    assert first.cost_usd == 0
    assert (bench.spool.done.outcome, bench.spool.done.attempts) == (Outcome.OK, 2)
    assert not isinstance(broken, ScriptedAnswer) or broken.closed


@pytest.mark.parametrize(
    "ending",
    [
        [BrokenAnswer("early_eof", "cut")],
        [b'data: {"error":{"message":"overloaded"}}\n\n'],
        [b"data: {broken\n\n"],
        [],
        [DONE],
        [frame({}, "error")],
    ],
)
async def test_a_failure_after_content_is_an_error_event_and_no_second_endpoint(
    ending: list,
) -> None:
    bench = Bench(stream(ROLE, HELLO, *ending), stream(*WHOLE))
    client = await bench.ask(stream=True)
    assert len(bench.upstream.requests) == 1
    assert client.complete
    assert "[DONE]" not in client.text
    assert '"error"' in client.text.rstrip().rpartition("data: ")[2]
    assert "send the request again" in client.text
    (finish,) = bench.spool.finishes
    assert finish.cost_status is CostStatus.ESTIMATED
    assert finish.usage.output_total == 2  # "Hello" is 5 characters
    assert finish.cost_usd > 0
    assert bench.spool.done.outcome is Outcome.PROVIDER_ERROR


async def test_a_client_error_is_told_and_not_tried_elsewhere() -> None:
    bench = Bench(
        plain(b'{"error":{"message":"bad temperature","code":"invalid_value"}}', 400), plain()
    )
    client = await bench.ask()
    assert (client.status, client.error["code"]) == (400, "invalid_value")
    assert "bad temperature" in client.error["message"]
    assert len(bench.upstream.requests) == 1
    assert bench.spool.done.outcome is Outcome.USER_ERROR


async def test_a_failed_attempt_is_one_log_line_that_leads_to_its_receipt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "panelboard.gateway"):
        client = await Bench(plain(b"{}", 400)).ask()
    (line,) = [one.getMessage() for one in caplog.records if "attempt at" in one.getMessage()]
    request_id = client.headers[b"x-request-id"].decode()
    assert line.startswith(f"request {request_id}: attempt at first:")


async def test_when_every_endpoint_fails_the_client_gets_one_honest_error() -> None:
    bench = Bench(ConnectFailed("a"), plain(b"{}", 500), ConnectFailed("b"))
    client = await bench.ask()
    assert (client.status, client.error["code"]) == (502, "provider_error")
    assert client.headers[b"x-should-retry"] == b"true"
    assert bench.spool.done.attempts == 3


async def test_without_fallbacks_the_same_endpoint_is_tried_again_within_its_limit() -> None:
    bench = Bench(
        ConnectFailed("a"), ConnectFailed("b"), plain(), endpoints=(endpoint("first", 1),)
    )
    client = await bench.ask()
    assert client.status == 200
    assert [intent.endpoint_id for intent in bench.spool.intents] == [1, 1, 1]


async def test_a_rate_limited_only_endpoint_says_when_to_come_back() -> None:
    limited = ScriptedAnswer(
        429, [*JSON, (b"retry-after", b"17")], [b'{"error":{"message":"slow down"}}']
    )
    bench = Bench(limited, endpoints=(endpoint("first", 1),))
    client = await bench.ask()
    assert client.status == 429
    assert client.headers[b"retry-after"] == b"17"


async def test_a_client_that_leaves_cancels_upstream_and_is_booked_for_what_it_got() -> None:
    answer = stream(ROLE, HELLO, asyncio.Event())
    bench = Bench(answer, stream(*WHOLE))
    client = bench.client(stream=True)
    client.on_piece = lambda seen: seen.leave()
    await bench.ask(client)
    assert answer.closed
    assert len(bench.upstream.requests) == 1
    (finish,) = bench.spool.finishes
    assert (finish.outcome, finish.error_code) == (Outcome.CLIENT_CANCELLED, "client_closed")
    assert finish.cost_usd > 0
    assert bench.spool.done.outcome is Outcome.CLIENT_CANCELLED


async def test_a_client_that_leaves_before_the_answer_leaves_one_settled_attempt() -> None:
    bench = Bench(ScriptedAnswer(200, JSON, [asyncio.Event()]))
    client = bench.client()
    asyncio.get_running_loop().call_later(0.05, client.leave)
    await bench.ask(client)
    (finish,) = bench.spool.finishes
    assert (finish.outcome, finish.cost_status) == (Outcome.CLIENT_CANCELLED, CostStatus.ESTIMATED)
    assert client.status == 0


async def test_a_client_that_leaves_after_the_last_byte_was_served() -> None:
    bench = Bench(stream(*WHOLE, 0.1))
    client = bench.client(stream=True)
    client.on_piece = lambda seen: seen.leave() if seen.complete else None
    await bench.ask(client)
    assert bench.spool.done.outcome is Outcome.OK


async def test_silence_before_content_is_a_timeout_that_fails_over() -> None:
    bench = Bench(
        stream(ROLE, asyncio.Event()), stream(*WHOLE), deadlines=Deadlines(first_content_s=0.05)
    )
    client = await bench.ask(stream=True)
    assert client.headers[b"x-panelboard-provider"] == b"second"
    assert bench.spool.finishes[0].error_code == "timeout_first_content"


async def test_keep_alives_without_content_end_the_stream() -> None:
    comments = [piece for _ in range(50) for piece in (b": keep-alive\n\n", 0.01)]
    bench = Bench(stream(ROLE, HELLO, *comments), deadlines=Deadlines(progress_s=0.05))
    client = await bench.ask(stream=True)
    assert bench.spool.finishes[0].error_code == "timeout_progress"
    assert "[DONE]" not in client.text


async def test_a_request_has_one_deadline_for_all_its_attempts() -> None:
    bench = Bench(
        stream(ROLE, asyncio.Event()),
        stream(ROLE, asyncio.Event()),
        deadlines=Deadlines(first_content_s=0.2, total_s=0.3),
    )
    client = await bench.ask(stream=True)
    assert client.status == 504
    assert [f.error_code for f in bench.spool.finishes] == [
        "timeout_first_content",
        "timeout_total",
    ]


async def test_a_client_that_stops_reading_is_let_go() -> None:
    bench = Bench(stream(ROLE, HELLO, HELLO, END, DONE), deadlines=Deadlines(client_write_s=0.05))
    client = bench.client(stream=True)
    blocked = asyncio.Event()
    unblocked_send = client.send

    async def send(message) -> None:
        await unblocked_send(message)
        if message["type"] == "http.response.body":
            await blocked.wait()

    client.send = send  # type: ignore[method-assign]
    await bench.ask(client)
    assert bench.spool.finishes[0].error_code == "client_stalled"


async def test_progress_is_written_while_a_long_answer_runs() -> None:
    long_text = frame({"content": "x" * 3000})
    bench = Bench(stream(ROLE, *[long_text] * 4, END, usage_frame(), DONE))
    await bench.ask(stream=True)
    assert [p.output_chars for p in bench.spool.progress] == sorted(
        p.output_chars for p in bench.spool.progress
    )
    assert bench.spool.progress


async def test_the_usage_chunk_carries_the_cost_when_usage_was_asked_for() -> None:
    bench = Bench(stream(*WHOLE))
    client = await bench.ask(stream=True, stream_options={"include_usage": True})
    assert '"cost":"0.0000039"' in client.text
    assert '"cost_status":"metered"' in client.text


async def test_usage_is_asked_for_upstream_and_kept_from_a_client_that_did_not_ask() -> None:
    bench = Bench(stream(*WHOLE))
    client = await bench.ask(stream=True)
    assert b'"include_usage":true' in bench.upstream.requests[0].body
    assert "prompt_tokens" not in client.text
    assert bench.spool.finishes[0].usage.input_total == 10


async def test_an_answer_without_usage_is_estimated_and_says_so() -> None:
    bench = Bench(stream(ROLE, HELLO, END, DONE))
    await bench.ask(stream=True)
    (finish,) = bench.spool.finishes
    assert finish.cost_status is CostStatus.ESTIMATED
    assert finish.cost_usd > 0


async def test_a_finished_stream_is_read_on_so_that_its_connection_can_be_reused() -> None:
    answer = stream(*WHOLE, b"", b"late")
    bench = Bench(answer)
    await bench.ask(stream=True)
    assert answer.delivered == len(WHOLE) + 2


async def test_a_connection_that_does_not_end_is_let_go_after_the_answer() -> None:
    import routing.gateway.trying as trying

    before, trying.DRAIN_S = trying.DRAIN_S, 0.05
    try:
        bench = Bench(stream(*WHOLE, asyncio.Event()))
        client = await bench.ask(stream=True)
    finally:
        trying.DRAIN_S = before
    assert client.text.endswith("data: [DONE]\n\n")
    assert bench.spool.done.outcome is Outcome.OK


async def test_no_request_is_taken_that_could_not_be_written_down() -> None:
    bench = Bench(plain())
    bench.spool.room = False
    client = await bench.ask()
    assert (client.status, client.error["code"]) == (503, "accounting_unavailable")
    assert not bench.upstream.requests


async def test_a_refused_request_leaves_its_decision() -> None:
    bench = Bench(rules={"max_price_output": "0.01"})
    client = await bench.ask()
    assert client.status == 404
    done = bench.spool.done
    assert done.outcome is Outcome.BLOCKED
    decision = msgspec.json.decode(done.decision, type=Decision)
    assert {candidate.excluded for candidate in decision.candidates} == {"max_price"}


async def test_a_stopping_gateway_settles_what_it_cancels() -> None:
    bench = Bench(stream(ROLE, HELLO, asyncio.Event()))
    client = bench.client(stream=True)
    asking = asyncio.create_task(bench.ask(client))
    await asyncio.sleep(0.05)
    await bench.gateway.stop(drain_s=0.01)
    await asking
    assert client.complete
    assert '"gateway_stopping"' in client.text.rstrip().rpartition("data: ")[2]
    assert "[DONE]" not in client.text
    (finish,) = bench.spool.finishes
    assert finish.error_code == "gateway_stopping"
    assert finish.cost_usd > 0
    done = bench.spool.done
    assert (done.error_code, done.outcome) == ("gateway_stopping", Outcome.HUB_ERROR)


async def test_a_stopping_gateway_cuts_a_client_that_does_not_hear_it() -> None:
    bench = Bench(stream(ROLE, HELLO, asyncio.Event()))
    client = bench.client(stream=True)
    unblocked_send, blocked = client.send, asyncio.Event()

    async def send(message) -> None:
        await unblocked_send(message)
        if message["type"] == "http.response.body":
            await blocked.wait()

    client.send = send  # type: ignore[method-assign]
    asking = asyncio.create_task(bench.send(client))
    await asyncio.sleep(0.05)
    await bench.gateway.stop(drain_s=0.01)
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert bench.spool.finishes[0].error_code == "gateway_stopping"
    assert bench.spool.done.error_code == "gateway_stopping"


async def test_a_stopping_gateway_tells_a_client_that_has_nothing_yet_to_come_back() -> None:
    bench = Bench(ScriptedAnswer(200, JSON, [asyncio.Event()]))
    client = bench.client()
    asking = asyncio.create_task(bench.send(client))
    await asyncio.sleep(0.05)
    await bench.gateway.stop(drain_s=0.01)
    await asking
    assert (client.status, client.error["code"]) == (503, "gateway_stopping")
    assert client.headers[b"retry-after"] == b"1"
    assert len(bench.spool.finishes) == 1
    assert bench.spool.done.http_status == 503


async def test_a_stopping_gateway_lets_running_requests_end_first() -> None:
    bench = Bench(stream(ROLE, HELLO, 0.1, END, usage_frame(), DONE))
    client = bench.client(stream=True)
    asking = asyncio.create_task(bench.send(client))
    await asyncio.sleep(0.02)
    stopping = asyncio.create_task(bench.gateway.stop(drain_s=5))
    await asyncio.sleep(0.02)
    refused = await bench.send()
    assert (refused.status, refused.error["code"]) == (503, "gateway_stopping")
    await asyncio.gather(asking, stopping)
    assert client.text.endswith("data: [DONE]\n\n")


async def test_no_task_is_left_behind() -> None:
    before = len(asyncio.all_tasks())
    for answer in (plain(), stream(*WHOLE), ConnectFailed("x")):
        await Bench(answer, plain(), plain()).ask(Client(b'{"model":"m","messages":[]}'))
        await Bench(answer, plain(), plain()).ask()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before


async def test_progress_is_written_about_once_a_second_and_not_at_every_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("routing.gateway.trying.PROGRESS_S", 0.1)
    pieces = [piece for _ in range(40) for piece in (HELLO, 0.01)]
    bench = Bench(stream(ROLE, *pieces, END, DONE))
    await bench.ask(stream=True)
    assert 1 <= len(bench.spool.progress) <= 6
