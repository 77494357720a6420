from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from pytest_django import Settings

from routing import tasks
from routing.core.record import Finish, Intent, Outcome, Record, RequestDone, decode_all
from routing.core.spool import Frame, bytes_reader, read_header, scan
from routing.models import ProbeDay, Provider
from routing.services import policies, probes, stopping
from routing.services.keys import probe_key
from routing.services.probes import ProbeReport
from routing.services.snapshots import load_snapshot
from routing.services.stats import StatsRow, write_endpoint_stats
from routing.simulator.server import ThreadedSimulator
from tests.routing.edge import documents

DAY = dt.date(2026, 11, 23)


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, settings: Settings) -> Path:
    settings.PANELBOARD_SPOOL_DIR = tmp_path / "spool"
    return tmp_path / "spool"


def records(spool: Path) -> Iterator[Record]:
    for segment in sorted(spool.glob("*.spool")):
        data = segment.read_bytes()
        for item in scan(bytes_reader(data), read_header(data)):
            if isinstance(item, Frame):
                yield from decode_all(item.body)


def slowly(simulator: ThreadedSimulator) -> None:
    """So that one short answer is enough for a speed."""
    simulator.add_fault("pace", seconds=0.01)


def probe(slug: str) -> ProbeReport:
    provider = Provider.objects.get(slug=slug)
    return probes.probe(snapshot=load_snapshot(), provider_id=provider.pk)


def test_each_endpoint_gets_one_streaming_request_that_is_recorded_as_a_probe(
    simulated: ThreadedSimulator, spool: Path
) -> None:
    slowly(simulated)
    report = probe("beta")
    assert (report.probed, report.skipped) == (2, 0)
    written = list(records(spool))
    intents = [row for row in written if isinstance(row, Intent)]
    finishes = [row for row in written if isinstance(row, Finish)]
    assert {(row.kind, row.stream, row.key_id) for row in intents} == {
        ("probe", True, probe_key().pk)
    }
    assert [row.outcome for row in finishes] == [Outcome.OK, Outcome.OK]
    assert all(row.ttft_ms is not None and row.usage.output_total for row in finishes)
    assert len([row for row in written if isinstance(row, RequestDone)]) == 2
    assert report.cost_usd == sum((row.cost_usd for row in finishes), Decimal(0)) > 0


def test_who_is_too_quick_for_a_speed_is_asked_for_more(
    simulated: ThreadedSimulator, spool: Path
) -> None:
    assert probe("alpha").probed == 1
    finishes = [row for row in records(spool) if isinstance(row, Finish)]
    assert [row.outcome for row in finishes] == [Outcome.OK, Outcome.OK]
    first, second = (row.usage.output_total for row in finishes)
    assert (first, second) == (probes.OUTPUT_TOKENS, probes.MORE_OUTPUT_TOKENS)
    assert ProbeDay.objects.get().spent_usd == sum(row.cost_usd for row in finishes)


def test_the_day_is_charged_what_the_probes_really_cost(simulated: ThreadedSimulator) -> None:
    report = probe("beta")
    assert ProbeDay.objects.get().spent_usd == report.cost_usd


def test_a_failing_endpoint_is_a_measurement_and_no_error(
    simulated: ThreadedSimulator, spool: Path
) -> None:
    simulated.add_fault("status", provider="alpha", status=500)
    assert probe("alpha").probed == 1
    [finish] = [row for row in records(spool) if isinstance(row, Finish)]
    assert (finish.outcome, finish.http_status) == (Outcome.PROVIDER_ERROR, 500)


def test_what_the_default_policy_leaves_out_is_measured_too(simulated: ThreadedSimulator) -> None:
    policies.save_policy(name="mine", document={"ignore": ["beta"]}, is_default=True)
    assert probe("beta").cost_usd > 0


def test_endpoints_without_key_or_price_and_retired_ones_are_not_probed(
    simulated: ThreadedSimulator,
) -> None:
    Provider.objects.get(slug="alpha").credentials.all().delete()
    Provider.objects.get(slug="beta").endpoints.filter(region="eu").update(status="retired")
    assert probe("alpha").probed == 0
    assert probe("beta").probed == 1


def test_nothing_is_sent_once_the_day_is_spent_and_the_log_says_so(
    simulated: ThreadedSimulator,
    settings: Settings,
    spool: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.PANELBOARD_PROBE_DAILY_USD = "0.000001"
    assert probe("beta") == ProbeReport(probed=0, skipped=2, cost_usd=Decimal(0))
    assert "daily probe budget of 0.000001 USD is used up" in caplog.text
    assert list(records(spool)) == []


@pytest.mark.django_db
def test_reservations_never_pass_the_cap(settings: Settings) -> None:
    settings.PANELBOARD_PROBE_DAILY_USD = "0.10"
    taken = [probes.reserve(DAY, Decimal("0.03")) for _ in range(5)]
    assert taken == [True, True, True, False, False]
    assert probes.reserve(DAY, Decimal("0.01"))
    assert not probes.reserve(DAY, Decimal("0.000001"))
    assert ProbeDay.objects.get().spent_usd == Decimal("0.10")
    assert probes.reserve(DAY + dt.timedelta(days=1), Decimal("0.10"))


@pytest.mark.django_db
def test_a_first_reservation_beyond_the_cap_is_refused(settings: Settings) -> None:
    settings.PANELBOARD_PROBE_DAILY_USD = "0.10"
    assert not probes.reserve(DAY, Decimal("0.11"))
    assert not ProbeDay.objects.exists()


@pytest.mark.django_db
def test_a_correction_never_makes_a_day_negative() -> None:
    probes.reserve(DAY, Decimal("0.01"))
    probes.correct(DAY, Decimal(-5))
    assert ProbeDay.objects.get().spent_usd == 0


@pytest.mark.django_db
def test_the_schedule_fans_out_to_active_providers_with_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents.load_with_keys()
    Provider.objects.filter(slug="alpha").update(lifecycle="paused")
    sent: list[int] = []
    monkeypatch.setattr(tasks.probe_provider, "delay", sent.append)
    assert tasks.probe_endpoints() == 1
    assert sent == [Provider.objects.get(slug="beta").pk]


def test_the_task_says_what_it_did(simulated: ThreadedSimulator) -> None:
    said = tasks.probe_provider(Provider.objects.get(slug="alpha").pk)
    assert said.startswith("1 probed, 0 skipped, 0.0")


def test_a_start_probes_only_what_nobody_has_measured(
    simulated: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    beta = Provider.objects.get(slug="beta")
    known, *rest = beta.endpoints.order_by("pk")
    now = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    figures = {"ttft_p50_ms": 100.0, "speed_p50_tps": 50.0}
    half_known = [StatsRow(endpoint_id=endpoint.pk, n=1, ttft_p50_ms=100.0) for endpoint in rest]
    whole = StatsRow(endpoint_id=known.pk, n=1, **figures)
    write_endpoint_stats([whole, *half_known], updated_at=now)
    sent: dict[int, list[int]] = {}
    monkeypatch.setattr(tasks.probe_provider, "delay", sent.__setitem__)
    assert tasks.probe_unmeasured() == 2
    assert sent[beta.pk] == [endpoint.pk for endpoint in rest]
    monkeypatch.undo()
    assert tasks.probe_provider(beta.pk, sent[beta.pk]).startswith("1 probed")


@pytest.fixture
def told() -> Iterator[None]:
    """A worker that was told to stop before its task began."""
    stopping.say()
    yield
    stopping.forget()


@pytest.fixture
def told_soon(simulated: ThreadedSimulator) -> Iterator[None]:
    """A worker that is told to stop while providers keep its task waiting."""
    simulated.add_fault("slow_first_token", seconds=60)
    timer = threading.Timer(0.5, stopping.say)
    timer.start()
    yield
    timer.join()
    stopping.forget()


@pytest.mark.usefixtures("told_soon")
def test_running_probes_are_broken_off_and_booked_when_the_worker_stops(spool: Path) -> None:
    assert probe("beta") == ProbeReport(probed=0, skipped=2, cost_usd=Decimal(0))
    written = list(records(spool))
    finishes = [row for row in written if isinstance(row, Finish)]
    assert [row.outcome for row in finishes] == [Outcome.CLIENT_CANCELLED] * 2
    assert len([row for row in written if isinstance(row, RequestDone)]) == 2
    assert ProbeDay.objects.get().spent_usd > 0  # what they may have used stays reserved


@pytest.mark.usefixtures("simulated", "told")
def test_a_worker_that_stops_begins_no_probe(spool: Path) -> None:
    assert probe("beta").probed == 0
    assert list(records(spool)) == []
