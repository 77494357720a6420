from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from routing.core.charges import CostStatus
from routing.core.deadlines import Deadlines
from routing.core.decision import Decision
from routing.core.errors import ConnectFailed
from routing.core.policies import Hedge
from routing.core.pricing import PICO_PER_USD
from routing.core.record import Finish, Outcome, RequestDone, decode
from tests.routing.factories import endpoint, stats
from tests.routing.gateway.scripted import (
    DONE,
    END,
    HELLO,
    JSON,
    ROLE,
    WHOLE,
    Bench,
    ScriptedAnswer,
    plain,
    plain_answer,
    stream,
    usage_frame,
)
from tests.routing.gateway.test_idempotency import KEY, MemoryStore

NEVER = asyncio.Event
ALWAYS = Hedge(after_ms=20, max_share=1.0)
INPUT_USD = Decimal("0.15") / 1_000_000


def hedged(
    *answers: ScriptedAnswer | Exception, hedge: Hedge | None = ALWAYS, **more: Any
) -> Bench:
    return Bench(*answers, rules={"hedge": hedge, **more.pop("rules", {})}, **more)


def silent(content: bytes = HELLO) -> ScriptedAnswer:
    return stream(ROLE, NEVER(), content)


def late_plain(*steps: Any) -> ScriptedAnswer:
    return ScriptedAnswer(200, JSON, [*steps, plain_answer()])


async def test_a_late_first_attempt_is_joined_by_a_second_and_the_quicker_one_answers() -> None:
    first = silent()
    bench = hedged(first, stream(*WHOLE))
    client = await bench.ask(stream=True)
    assert client.status == 200
    assert client.headers[b"x-panelboard-provider"] == b"second"
    assert client.headers[b"x-panelboard-attempts"] == b"2"
    assert client.text.endswith("data: [DONE]\n\n")
    assert client.text.count("Hello") == 1
    assert first.closed


async def test_the_loser_is_booked_once_with_what_it_will_have_cost() -> None:
    bench = hedged(silent(), stream(*WHOLE))
    await bench.ask(stream=True)
    assert len(bench.spool.intents) == 2
    lost, won = sorted(bench.spool.finishes, key=lambda one: one.attempt_no)
    assert (lost.outcome, lost.error_code) == (Outcome.HEDGE_LOST, "hedge_lost")
    assert lost.cost_status is CostStatus.ESTIMATED
    assert lost.cost_usd == bench.spool.intents[0].input_estimate * INPUT_USD
    assert (won.outcome, won.cost_status) == (Outcome.OK, CostStatus.METERED)
    done = bench.spool.done
    assert (done.outcome, done.attempts, done.endpoint_id) == (Outcome.OK, 2, 2)


async def test_every_end_is_written_before_the_request_is_done() -> None:
    bench = hedged(silent(), stream(*WHOLE))
    await bench.ask(stream=True)
    kinds = [type(decode(frame)) for frame in bench.spool.frames]
    assert kinds[-3:] == [Finish, Finish, RequestDone]


async def test_the_first_may_still_win_and_then_the_second_is_booked() -> None:
    second = silent()
    bench = hedged(stream(ROLE, 0.08, HELLO, END, usage_frame(), DONE), second)
    client = await bench.ask(stream=True)
    assert client.headers[b"x-panelboard-provider"] == b"first"
    assert client.headers[b"x-panelboard-attempts"] == b"2"
    by_no = {finish.attempt_no: finish.outcome for finish in bench.spool.finishes}
    assert by_no == {1: Outcome.OK, 2: Outcome.HEDGE_LOST}
    assert second.closed
    assert bench.spool.done.attempts == 2


async def test_plain_answers_are_hedged_too() -> None:
    bench = hedged(late_plain(NEVER()), plain())
    client = await bench.ask()
    assert b"Hello you" in client.pieces[0]
    assert client.headers[b"x-panelboard-provider"] == b"second"
    assert {finish.outcome for finish in bench.spool.finishes} == {
        Outcome.OK,
        Outcome.HEDGE_LOST,
    }


async def test_an_answer_in_time_is_not_hedged() -> None:
    bench = hedged(plain(), plain(), hedge=Hedge(after_ms=500, max_share=1.0))
    await bench.ask()
    assert len(bench.upstream.requests) == 1


async def test_a_second_that_fails_leaves_the_first_alone() -> None:
    bench = hedged(stream(ROLE, 0.08, HELLO, END, usage_frame(), DONE), ConnectFailed("no"))
    client = await bench.ask(stream=True)
    assert client.headers[b"x-panelboard-provider"] == b"first"
    assert client.text.endswith("data: [DONE]\n\n")
    assert bench.spool.done.attempts == 2


async def test_a_first_that_fails_before_it_is_late_is_answered_by_the_next_as_ever() -> None:
    bench = hedged(ConnectFailed("no"), plain())
    client = await bench.ask()
    assert client.headers[b"x-panelboard-provider"] == b"second"
    assert [finish.outcome for finish in bench.spool.finishes] == [
        Outcome.PROVIDER_ERROR,
        Outcome.OK,
    ]


async def test_when_both_fail_the_third_is_tried() -> None:
    three = tuple(endpoint(slug, i) for i, slug in enumerate(("first", "second", "third"), 1))
    bench = hedged(
        late_plain(0.05, ConnectFailed("a")), ConnectFailed("b"), plain(), endpoints=three
    )
    client = await bench.ask()
    assert client.status == 200
    assert client.headers[b"x-panelboard-attempts"] == b"3"
    assert [intent.attempt_no for intent in bench.spool.intents] == [1, 2, 3]
    assert bench.spool.done.attempts == 3


async def test_when_all_fail_the_client_gets_one_error_and_one_row() -> None:
    bench = hedged(
        late_plain(0.05, ConnectFailed("a")), ConnectFailed("b"), rules={"max_attempts": 2}
    )
    client = await bench.ask()
    assert (client.status, client.error["code"]) == (502, "provider_error")
    assert bench.spool.done.attempts == 2
    assert len(bench.spool.finishes) == 2


async def test_a_client_that_leaves_ends_both_and_both_are_booked() -> None:
    first, second = silent(), silent()
    bench = hedged(first, second)
    client = bench.client(stream=True)
    asyncio.get_running_loop().call_later(0.15, client.leave)
    await bench.ask(client)
    assert [finish.error_code for finish in bench.spool.finishes] == ["client_closed"] * 2
    assert bench.spool.done.outcome is Outcome.CLIENT_CANCELLED
    assert first.closed
    assert second.closed


async def test_a_winner_that_breaks_off_is_told_as_ever_and_nobody_else_takes_over() -> None:
    bench = hedged(silent(), stream(ROLE, HELLO), stream(*WHOLE))
    client = await bench.ask(stream=True)
    assert "[DONE]" not in client.text
    assert "provider_broke_off" in client.text
    assert len(bench.upstream.requests) == 2
    assert bench.spool.done.outcome is Outcome.PROVIDER_ERROR
    assert {finish.outcome for finish in bench.spool.finishes} == {
        Outcome.HEDGE_LOST,
        Outcome.PROVIDER_ERROR,
    }


async def test_deadlines_hold_for_each_of_them() -> None:
    bench = hedged(silent(), silent(), deadlines=Deadlines(first_content_s=0.1))
    client = await bench.ask(stream=True)
    assert client.status == 504
    assert [finish.error_code for finish in bench.spool.finishes] == ["timeout_first_content"] * 2


async def test_a_stopping_gateway_settles_both() -> None:
    bench = hedged(silent(), silent())
    asking = asyncio.create_task(bench.send(stream=True))
    await asyncio.sleep(0.1)
    await bench.gateway.stop(drain_s=0)
    assert (await asking).status == 503
    assert len(bench.spool.finishes) == 2
    assert bench.spool.done.error_code == "gateway_stopping"


async def test_no_task_and_no_running_request_is_left_behind() -> None:
    before = len(asyncio.all_tasks())
    for answers in ([silent(), stream(*WHOLE)], [silent(), ConnectFailed("x"), plain()]):
        bench = hedged(*answers, deadlines=Deadlines(first_content_s=0.1))
        await bench.ask(stream=True)
        assert not bench.gateway.running
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before


# --- who may, and how often ---------------------------------------------------------------------------


async def test_nobody_is_hedged_unasked() -> None:
    bench = hedged(late_plain(0.1), plain(), hedge=None)
    await bench.ask()
    assert len(bench.upstream.requests) == 1


@pytest.mark.parametrize(("wanted", "attempts"), [({"after_ms": 20}, 2), (False, 1)])
async def test_a_request_may_ask_for_it_or_forbid_it(wanted: object, attempts: int) -> None:
    bench = hedged(late_plain(0.1), plain(), hedge=None if wanted else ALWAYS)
    await bench.ask(provider={"hedge": wanted})
    assert len(bench.upstream.requests) == attempts


async def test_a_wrong_wish_names_the_field() -> None:
    client = await hedged().ask(provider={"hedge": {"delay": 1}})
    assert (client.status, client.error["param"]) == (400, "provider.hedge.delay")


async def test_no_more_than_the_policys_share_is_hedged() -> None:
    answers = [late_plain(0.03) for _ in range(30)]
    bench = hedged(*answers, hedge=Hedge(after_ms=5, max_share=0.25))
    for _ in range(12):
        assert (await bench.send()).status == 200
    assert len(bench.upstream.requests) == 12 + 4  # one at once, then every fourth


async def test_no_more_than_the_policys_dollars_a_day_are_spent() -> None:
    answers = [late_plain(0.03) for _ in range(30)]
    bench = hedged(*answers, hedge=Hedge(after_ms=5, max_share=1.0, max_usd_per_day="0"))
    for _ in range(3):
        await bench.send()
    assert len(bench.upstream.requests) == 3


@pytest.mark.parametrize(("processes", "attempts"), [(1, 2), (2, 1)])
async def test_processes_share_what_may_be_spent(processes: int, attempts: int) -> None:
    bench = hedged(late_plain(0.05), plain())
    await bench.send()
    (_, second) = msgspec.json.decode(bench.spool.done.decision, type=Decision).candidates
    enough_for_one = Decimal(second.cost_pico) / PICO_PER_USD * Decimal("1.5")
    hedge = Hedge(after_ms=5, max_share=1.0, max_usd_per_day=f"{enough_for_one:f}")
    bench = hedged(late_plain(0.05), plain(), hedge=hedge)
    bench.gateway.learning.meet(processes)
    await bench.send()
    assert len(bench.upstream.requests) == attempts


async def test_what_is_late_is_learnt_from_the_endpoint() -> None:
    known = (endpoint("first", 1, stats=stats(20, 500)), endpoint("second", 2))
    bench = hedged(silent(), stream(*WHOLE), hedge=Hedge(max_share=1.0), endpoints=known)
    client = await bench.ask(stream=True)
    assert client.headers[b"x-panelboard-provider"] == b"second"
    first, second = bench.spool.intents
    assert 0.03 <= second.started_at - first.started_at < 0.5  # its p95 is 40 ms


async def test_where_nothing_was_measured_nothing_is_late() -> None:
    bench = hedged(late_plain(0.1), plain(), hedge=Hedge(max_share=1.0))
    await bench.ask()
    assert len(bench.upstream.requests) == 1


async def test_an_idempotent_request_may_be_hedged() -> None:
    bench = hedged(late_plain(NEVER()), plain())
    bench.gateway.idempotency = MemoryStore()
    first = await bench.send(headers=KEY)
    again = await bench.send(headers=KEY)
    assert first.pieces == again.pieces
    assert len(bench.upstream.requests) == 2
