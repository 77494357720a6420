"""The retry table: what each kind of failure means for the next try, health, money and client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import pytest

from routing.core.catalog import Credential
from routing.core.charges import CostStatus
from routing.core.errors import (
    BrokenAnswer,
    ConnectFailed,
    FailureClass,
    UpstreamError,
    UpstreamTimeout,
)
from routing.core.health import RETRY_TOKENS
from routing.core.policies import Timeouts
from routing.core.record import Outcome
from routing.gateway.retrying import RULES, RetryBudget
from tests.routing.factories import endpoint
from tests.routing.gateway.scripted import (
    HELLO,
    JSON,
    ROLE,
    WHOLE,
    Bench,
    ScriptedAnswer,
    plain,
    stream,
)

Answer = ScriptedAnswer | Exception


def status(code: int, error: str = "{}", **headers: str) -> Callable[[], Answer]:
    more = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    body = b'{"error":{"message":"no","code":"%b"}}' % error.encode()
    return lambda: ScriptedAnswer(code, [*JSON, *more], [body])


def raised(error: type[UpstreamError], *details: str) -> Callable[[], Answer]:
    return lambda: error(*details)  # type: ignore[arg-type]


class Row(NamedTuple):
    name: str
    failure: Callable[[], Answer]
    elsewhere: bool  # the next endpoint is asked
    again: bool  # the same one is, where there is no other
    is_ill_health: bool
    booked: CostStatus
    outcome: Outcome
    told: tuple[int, str, bytes]  # when nothing else is left: status, code, x-should-retry


METERED, ESTIMATED = CostStatus.METERED, CostStatus.ESTIMATED
FAILED, LIMITED = Outcome.PROVIDER_ERROR, Outcome.RATE_LIMITED
WRONG, LATE = Outcome.USER_ERROR, Outcome.TIMEOUT
BROKEN = (502, "provider_error", b"true")
REFUSED = (502, "provider_refused_hub", b"false")
EARLY_EOF = raised(BrokenAnswer, "early_eof", "cut")
TABLE = [
    # before any byte was sent
    Row("refused", raised(ConnectFailed, "refused"), True, True, True, METERED, FAILED, BROKEN),
    Row(
        "no place in the pool",
        lambda: UpstreamTimeout("connect", "full", was_sent=False),
        True,
        True,
        True,
        METERED,
        FAILED,
        BROKEN,
    ),
    # refused by status, before content
    Row("500", status(500), True, True, True, METERED, FAILED, BROKEN),
    Row("502", status(502), True, True, True, METERED, FAILED, BROKEN),
    Row("503", status(503), True, True, True, METERED, FAILED, BROKEN),
    Row("504", status(504), True, True, True, METERED, FAILED, BROKEN),
    Row("529", status(529), True, True, True, METERED, FAILED, BROKEN),
    Row("408", status(408), True, True, True, METERED, FAILED, BROKEN),
    Row(
        "503, come back late",
        status(503, retry_after="30"),
        True,
        False,
        True,
        METERED,
        FAILED,
        BROKEN,
    ),
    Row(
        "429",
        status(429),
        True,
        False,
        False,
        METERED,
        LIMITED,
        (429, "provider_rate_limited", b"true"),
    ),
    Row(
        "429, come back late",
        status(429, retry_after="30"),
        True,
        False,
        False,
        METERED,
        LIMITED,
        (429, "provider_rate_limited", b"true"),
    ),
    # an error instead of content
    Row(
        "error frame first",
        lambda: stream(b'data: {"error":{"message":"overloaded","code":503}}\n\n'),
        True,
        True,
        True,
        METERED,
        FAILED,
        BROKEN,
    ),
    Row("cut before content", lambda: stream(ROLE), True, True, True, METERED, FAILED, BROKEN),
    Row(
        "a page of HTML",
        lambda: ScriptedAnswer(200, [(b"content-type", b"text/html")], [b"<html>"]),
        True,
        True,
        True,
        METERED,
        FAILED,
        BROKEN,
    ),
    # sent, and nothing came back
    Row("reset", EARLY_EOF, True, True, True, ESTIMATED, FAILED, BROKEN),
    Row(
        "silence",
        raised(UpstreamTimeout, "first_content", "slow"),
        True,
        False,
        True,
        ESTIMATED,
        LATE,
        (504, "provider_timeout", b"true"),
    ),
    # the client's own
    Row(
        "400",
        status(400, "invalid_value"),
        False,
        False,
        False,
        METERED,
        WRONG,
        (400, "invalid_value", b"false"),
    ),
    Row(
        "422",
        status(422, "invalid_value"),
        False,
        False,
        False,
        METERED,
        WRONG,
        (422, "invalid_value", b"false"),
    ),
    Row(
        "content filter",
        status(400, "content_filter"),
        False,
        False,
        False,
        METERED,
        WRONG,
        (400, "content_filter", b"false"),
    ),
    # the hub's own
    Row("401", status(401, "invalid_api_key"), True, False, False, METERED, FAILED, REFUSED),
    Row("403", status(403), True, False, False, METERED, FAILED, REFUSED),
    Row("402", status(402), True, False, False, METERED, FAILED, REFUSED),
    Row(
        "the model is gone",
        status(404, "model_not_found"),
        True,
        False,
        False,
        METERED,
        FAILED,
        (502, "model_gone_upstream", b"false"),
    ),
]
every_row = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.gateway.retrying.BACKOFF_FIRST_S", 0.0)


@every_row
async def test_another_endpoint_is_asked_or_not(row: Row) -> None:
    bench = Bench(row.failure(), stream(*WHOLE))
    client = await bench.ask(stream=True)
    assert len(bench.upstream.requests) == (2 if row.elsewhere else 1)
    assert (client.status == 200) is row.elsewhere


@every_row
async def test_the_same_endpoint_is_asked_again_or_not(row: Row) -> None:
    bench = Bench(row.failure(), stream(*WHOLE), endpoints=(endpoint("first", 1),))
    client = await bench.ask(stream=True)
    assert len(bench.upstream.requests) == (2 if row.again else 1)
    assert (client.status == 200) is row.again


@every_row
async def test_what_counts_against_an_endpoints_health(row: Row) -> None:
    bench = Bench(row.failure(), endpoints=(endpoint("first", 1),), rules={"max_attempts": 1})
    await bench.ask(stream=True)
    book = bench.gateway.health.of(1)
    assert book.seen == (1 if row.is_ill_health else 0)
    assert (book.breaker.last_failure_at > 0) is row.is_ill_health
    spends = row.is_ill_health or row.outcome is LIMITED
    assert (book.retry_tokens < RETRY_TOKENS) is spends


@every_row
async def test_what_a_failed_attempt_is_booked_as(row: Row) -> None:
    bench = Bench(row.failure(), stream(*WHOLE))
    await bench.ask(stream=True)
    failed = bench.spool.finishes[0]
    assert (failed.cost_usd, failed.cost_status, failed.outcome) == (0, row.booked, row.outcome)
    assert len(bench.spool.finishes) == len(bench.spool.intents)


@every_row
async def test_what_the_client_is_told_when_nothing_else_is_left(row: Row) -> None:
    bench = Bench(row.failure(), endpoints=(endpoint("first", 1),), rules={"max_attempts": 1})
    client = await bench.ask(stream=True)
    should_retry = client.headers[b"x-should-retry"]
    assert (client.status, client.error["code"], should_retry) == row.told


def test_every_class_of_failure_has_its_rule() -> None:
    assert set(RULES) == set(FailureClass)


@pytest.mark.parametrize("ending", [[EARLY_EOF()], [b"data: {broken\n\n"], []])
async def test_after_the_first_content_nothing_is_asked_again(ending: list[bytes]) -> None:
    bench = Bench(stream(ROLE, HELLO, *ending), stream(*WHOLE))
    client = await bench.ask(stream=True)
    assert len(bench.upstream.requests) == 1
    assert "[DONE]" not in client.text


# --- one more try for what may have been done -----------------------------------------------------


async def test_what_was_never_answered_is_tried_once_more_and_not_twice() -> None:
    three = tuple(endpoint(slug, i) for i, slug in enumerate(("first", "second", "third"), 1))
    silence = raised(UpstreamTimeout, "first_content", "slow")
    bench = Bench(silence(), EARLY_EOF(), stream(*WHOLE), endpoints=three)
    client = await bench.ask(stream=True)
    assert len(bench.upstream.requests) == 2
    assert client.status == 502


@pytest.mark.parametrize(("wanted", "tries"), [(False, 1), (True, 2)])
async def test_a_policy_may_forbid_or_allow_that(wanted: bool, tries: int) -> None:
    bench = Bench(EARLY_EOF(), stream(*WHOLE), rules={"retry_unanswered": wanted})
    await bench.ask(stream=True)
    assert len(bench.upstream.requests) == tries


# --- Retry-After -------------------------------------------------------------------------------------


async def test_a_short_retry_after_is_waited_for_where_there_is_no_other_endpoint() -> None:
    bench = Bench(status(429, retry_after="1")(), plain(), endpoints=(endpoint("first", 1),))
    client = await bench.ask()
    assert client.status == 200
    first, second = bench.spool.intents
    assert second.started_at - first.started_at >= 1.0


async def test_a_wait_that_would_pass_the_deadline_is_not_begun() -> None:
    bench = Bench(
        status(429, retry_after="4")(),
        plain(),
        endpoints=(endpoint("first", 1),),
        rules={"timeouts": Timeouts(total_s=2.0)},
    )
    assert (await bench.ask()).status == 429


# --- the hub's keys ----------------------------------------------------------------------------------


def with_two_keys() -> Bench:
    keys = (Credential(1, 1, "sim-old"), Credential(2, 1, "sim-new"))
    only = endpoint("first", 1, credentials=keys)
    return Bench(status(401)(), plain(), plain(), endpoints=(only,))


async def test_a_refused_key_is_replaced_by_the_providers_other_one() -> None:
    bench = with_two_keys()
    assert (await bench.send()).status == 200
    sent = [dict(request.headers)[b"authorization"] for request in bench.upstream.requests]
    assert sent == [b"Bearer sim-old", b"Bearer sim-new"]
    assert [intent.credential_id for intent in bench.spool.intents] == [1, 2]


async def test_a_refused_key_rests_for_the_requests_that_follow() -> None:
    bench = with_two_keys()
    await bench.send()
    await bench.send()
    assert [intent.credential_id for intent in bench.spool.intents] == [1, 2, 2]


async def test_a_provider_that_refuses_again_and_again_is_left_alone_for_a_while() -> None:
    answers = [answer for _ in range(3) for answer in (status(401)(), plain())]
    bench = Bench(*answers, plain())
    for _ in range(4):
        assert (await bench.send()).status == 200
    tried = [intent.endpoint_id for intent in bench.spool.intents]
    assert tried == [1, 2, 1, 2, 1, 2, 2]


async def test_the_only_provider_is_asked_however_often_it_refused() -> None:
    bench = Bench(*[status(401)() for _ in range(5)], plain(), endpoints=(endpoint("first", 1),))
    for _ in range(5):
        assert (await bench.send()).status == 502
    assert (await bench.send()).status == 200


# --- budgets -------------------------------------------------------------------------------------------


async def test_with_everything_down_there_are_hardly_more_tries_than_requests() -> None:
    bench = Bench(*[status(503)() for _ in range(900)])
    asked = 0
    for _ in range(200):
        client = await bench.send()
        asked += 1
    assert len(bench.upstream.requests) <= 30 + 1.1 * asked
    assert client.status in (502, 503)


async def test_a_client_is_told_not_to_retry_once_the_retry_budget_is_spent() -> None:
    bench = Bench(*[status(500)() for _ in range(5)])
    for endpoint_id in (1, 2):
        bench.gateway.health.of(endpoint_id).retry_tokens = 0.0
    client = await bench.send()
    assert len(bench.upstream.requests) == 1
    assert client.headers[b"x-should-retry"] == b"false"
    assert client.error["detail"]["retry_budget"] == "exhausted"


async def test_an_endpoint_that_hardly_fails_takes_over_from_one_that_does() -> None:
    answers = [one for _ in range(60) for one in (plain(), plain(), status(503)(), plain())]
    bench = Bench(*answers)
    for _ in range(180):
        assert (await bench.send()).status == 200
    assert bench.gateway.health.is_trusted(2)
    assert not bench.gateway.health.is_trusted(1)


def test_a_budget_is_a_tenth_of_the_outcomes_and_at_least_one_a_second() -> None:
    quiet, busy = RetryBudget(0.0, 0), RetryBudget(0.0, 0)
    assert sum(quiet.take(0.0, 0) for _ in range(50)) == 10
    assert sum(quiet.take(5.0, 5) for _ in range(50)) == 5
    assert sum(busy.take(10.0, 5000) for _ in range(1000)) == 510
    assert sum(busy.take(3600.0, 5000) for _ in range(1000)) == 10


def test_a_budget_that_is_hardly_used_saves_nothing_up_for_a_storm() -> None:
    budget = RetryBudget(0.0, 0)
    assert all(budget.take(n * 9.0, n) for n in range(1, 200))
    assert sum(budget.take(199 * 9.0, 199) for _ in range(1000)) <= 20


# --- the last endpoint ---------------------------------------------------------------------------------


async def test_an_endpoint_that_is_out_and_alone_is_tried_by_few_and_the_rest_are_told_when() -> (
    None
):
    bench = Bench(*[status(503)() for _ in range(300)], endpoints=(endpoint("first", 1),))
    clients = [await bench.send() for _ in range(100)]
    told = [client for client in clients if client.status == 503]
    assert len(told) > 60
    assert {client.error["code"] for client in told} == {"temporarily_unavailable"}
    assert all(1 <= int(client.headers[b"retry-after"]) <= 5 for client in told)


async def test_it_is_found_again_within_a_second_of_its_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("routing.core.breaker.FORCED_EVERY_S", 0.05)
    bench = Bench(*[status(503)() for _ in range(300)], endpoints=(endpoint("first", 1),))
    for _ in range(30):
        await bench.send()
    bench.upstream.answers[len(bench.upstream.requests) :] = [plain() for _ in range(300)]
    for _ in range(2):
        await asyncio.sleep(0.06)
        assert (await bench.send()).status == 200
    assert bench.gateway.health.is_quiet(1, bench.gateway.monotonic())
