from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from analytics import settlement
from analytics.models import Attempt, ChargeCorrection, DirtyBucket
from analytics.queries import headline
from analytics.rollups.fill import roll_up
from analytics.settlement import Settled, SettlementFailed, settle
from routing.core.charges import CostStatus
from routing.core.record import Outcome, Record
from routing.core.usage import Usage, UsageSource
from routing.services.credentials import store_credential
from tests.analytics.conftest import Log
from tests.analytics.records import NOON, Told
from tests.analytics.stories import EVENING, everything
from tests.analytics.world import World

pytestmark = pytest.mark.django_db
SOON = NOON + dt.timedelta(minutes=5)
USED = {"input_total": 120, "cache_read": 20, "output_total": 77, "cost_usd": "0.1"}


def estimated(world: World, told: Told, **changes: Any) -> list[Record]:
    usage = Usage(input_total=100, output_total=50, source=UsageSource.ESTIMATED)
    cut = told.finish(
        outcome=Outcome.CLIENT_CANCELLED,
        usage=usage,
        cost_usd=Decimal("0.000045"),
        cost_status=CostStatus.ESTIMATED,
        **changes,
    )
    return [told.intent(endpoint_id=world.at_swift.pk), cut, told.done()]


class Answers:
    def __init__(self, *answers: Settled) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []

    def __call__(self, provider: Any, request_ids: list[str]) -> list[Settled]:
        self.asked.append(request_ids)
        return list(self.answers)


def said(told: Told, **answer: Any) -> Settled:
    return Settled(request_id=f"{told.id}-1", **answer)


def test_a_usage_is_priced_to_the_last_digit(world: World, log: Log) -> None:
    told = Told()
    log(estimated(world, told))
    assert settle(SOON, Answers(said(told, usage=USED, cost_nano_usd=1))) == 1
    correction = ChargeCorrection.objects.get()
    exact = (Decimal("0.15") * 100 + Decimal("0.15") * 20 + Decimal("0.60") * 77) / 10**6
    assert Decimal("0.000045") + correction.delta_usd == exact
    assert correction.cost_status == "metered"
    assert (correction.input_delta, correction.cache_read_delta) == (20, 20)
    assert correction.output_delta == 27
    assert {line["meter"] for line in correction.lines} == {"input", "cache_read", "output"}


def test_a_cost_alone_is_taken_at_the_providers_word(world: World, log: Log) -> None:
    told = Told()
    log(estimated(world, told))
    assert settle(SOON, Answers(said(told, cost_nano_usd=61_000))) == 1
    correction = ChargeCorrection.objects.get()
    assert Decimal("0.000045") + correction.delta_usd == Decimal("0.000061")
    assert (correction.cost_status, correction.output_delta) == ("provider_reported", 0)


@pytest.mark.parametrize(
    "answer",
    [
        {"cost_nano_usd": 0},
        {"cost_nano_usd": None},
        {"usage": {"input_total": -1, "output_total": 5}},
        {"usage": {"input_total": 1.5, "output_total": 5}},
        {"usage": {"output_total": 5}},
        {"usage": {}},
    ],
)
def test_an_answer_that_says_nothing_changes_nothing(
    world: World, log: Log, answer: dict[str, Any]
) -> None:
    told = Told()
    log(estimated(world, told))
    assert settle(SOON, Answers(said(told, **answer))) == 0


def test_settling_again_adds_nothing(world: World, log: Log) -> None:
    told = Told()
    log(estimated(world, told))
    answers = Answers(said(told, usage=USED))
    assert settle(SOON, answers) == 1
    assert settle(SOON, answers) == 0
    assert len(answers.asked) == 1


def test_two_at_once_book_it_once(world: World, log: Log) -> None:
    told = Told()
    log(estimated(world, told))
    attempt = Attempt.objects.get()

    def meanwhile(provider: Any, request_ids: list[str]) -> list[Settled]:
        settle(SOON, Answers(said(told, usage=USED)))
        return [said(told, usage=USED)]

    assert settle(SOON, meanwhile) == 0
    assert ChargeCorrection.objects.filter(request_id=attempt.request_id).count() == 1


def test_what_a_provider_does_not_know_yet_is_asked_again_for_half_an_hour(
    world: World, log: Log
) -> None:
    log(estimated(world, Told()))
    silent = Answers()
    settle(SOON, silent)
    settle(SOON, silent)
    assert len(silent.asked) == 2
    settle(NOON + settlement.WINDOW + dt.timedelta(minutes=1), silent)
    assert len(silent.asked) == 2


def test_only_estimates_of_providers_that_can_be_asked_are(world: World, log: Log) -> None:
    metered = Told()
    log([metered.intent(endpoint_id=world.at_swift.pk), metered.finish(), metered.done()])
    told = Told()
    records = estimated(world, told)
    log([told.intent(endpoint_id=world.at_steady.pk), *records[1:]])
    answers = Answers()
    settle(SOON, answers)
    assert answers.asked == []


def test_it_asks_by_our_id_and_by_the_providers(world: World, log: Log) -> None:
    told = Told()
    log(estimated(world, told, provider_request_id="theirs"))
    answers = Answers(Settled(request_id="theirs", usage=USED), said(told, usage=USED))
    assert settle(SOON, answers) == 1
    assert answers.asked == [[f"{told.id}-1", "theirs"]]


def test_a_provider_that_fails_does_not_stop_the_others(
    world: World, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    world.steady.quirks = {"settlement_path": "/settlement"}
    world.steady.save()
    first, second = Told(), Told()
    log(estimated(world, first))
    records = estimated(world, second)
    log([second.intent(endpoint_id=world.at_steady.pk), *records[1:]])

    def half_broken(provider: Any, request_ids: list[str]) -> list[Settled]:
        if provider.slug == "swift":
            raise SettlementFailed("503")
        return [said(second, usage=USED)]

    assert settle(SOON, half_broken) == 1
    assert "swift does not settle: 503" in caplog.text


def test_every_total_counts_the_correction(world: World, log: Log) -> None:
    told = Told()
    log(estimated(world, told))
    roll_up(EVENING)
    settle(SOON, Answers(said(told, usage=USED)))
    assert DirtyBucket.objects.exists()
    roll_up(EVENING)
    exact = (Decimal("0.15") * 120 + Decimal("0.60") * 77) / 10**6
    found = headline(everything())
    assert found.cost_usd == exact
    assert found.cost_by_status == {"metered": exact}
    assert found.output_tokens == 77


# --- over a real socket ------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, self.headers["authorization"], body))  # type: ignore[attr-defined]
        status, answer = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def provider_server() -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), _Handler)
    server.asked = []
    server.answer = (200, b'{"requests":[]}')
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_asks_with_the_providers_credential(
    world: World, log: Log, provider_server: Any
) -> None:
    world.swift.simulated_base_url = f"http://127.0.0.1:{provider_server.server_port}/swift/v1"
    world.swift.save()
    store_credential(provider=world.swift, name="main", secret="sim-swift-key")
    told = Told()
    log(estimated(world, told))
    answer = {"requestId": f"{told.id}-1", "costNanoUsd": 61_000, "usage": USED, "else": 1}
    provider_server.answer = (200, json.dumps({"requests": [answer]}).encode())
    assert settle(SOON) == 1
    ids = [f"{told.id}-1", "up-1"]
    assert provider_server.asked == [
        ("/swift/v1/settlement", "Bearer sim-swift-key", {"requestIds": ids})
    ]


@pytest.mark.parametrize("answer", [(500, b"no"), (200, b"<html>"), (200, b'{"requests":1}')])
def test_an_answer_that_cannot_be_read_waits_for_the_next_time(
    world: World, log: Log, provider_server: Any, answer: tuple[int, bytes]
) -> None:
    world.swift.simulated_base_url = f"http://127.0.0.1:{provider_server.server_port}/swift/v1"
    world.swift.save()
    store_credential(provider=world.swift, name="main", secret="sim-swift-key")
    log(estimated(world, Told()))
    provider_server.answer = answer
    assert settle(SOON) == 0
    assert not ChargeCorrection.objects.exists()


def test_without_a_credential_nobody_is_asked(
    world: World, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    log(estimated(world, Told()))
    assert settle(SOON) == 0
    assert "no credential" in caplog.text
