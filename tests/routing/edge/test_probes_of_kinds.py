"""Probes of models that write no text: embeddings and rankings are asked for, pictures are not."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from routing import tasks
from routing.core.record import Finish, Intent, Outcome, Record, RequestDone, decode_all
from routing.core.spool import Frame, bytes_reader, read_header, scan
from routing.models import Credential, Endpoint, Price, ProbeDay, Provider
from routing.services import catalog, credentials, probes
from routing.services.probes import ProbeReport
from routing.services.snapshots import load_snapshot
from routing.services.stats import StatsRow, write_endpoint_stats
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from tests.routing.edge.documents import START, price

NOVITA: dict[str, Any] = {
    "slug": "novita",
    "name": "Novita",
    "dialect": "openai_compat",
    "base_url": "https://api.novita.example/openai/v1",
    "key_env": ["NOVITA_API_KEY"],
}
MODELS = {"acme/embed": "embedding", "acme/rank": "rerank", "acme/paint": "image"}
PRICES = {
    "acme/embed": [price("input", "0.10")],
    "acme/rank": [price("input", "0.05"), price("output", "0.05")],
    "acme/paint": [price("image", "0.04")],
}
DOCUMENT: dict[str, Any] = {
    "format": "panelboard-catalog/1",
    "providers": [NOVITA],
    "models": [{"name": name, "kind": kind} for name, kind in MODELS.items()],
    "endpoints": [
        {
            "provider": "novita",
            "model": name,
            "upstream_model": name,
            "capabilities": [],
            "prices": prices,
        }
        for name, prices in PRICES.items()
    ],
}


@pytest.fixture(scope="module")
def player() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator([DOCUMENT], Options(speed=0)) as simulator:
        yield simulator


@pytest.fixture
def played(
    db: None, settings: Settings, tmp_path: Path, player: ThreadedSimulator
) -> ThreadedSimulator:
    player.clear()
    settings.PANELBOARD_SPOOL_DIR = tmp_path / "spool"
    settings.PANELBOARD_PRIVATE_UPSTREAMS = ["127.0.0.1"]
    catalog.load(DOCUMENT)
    provider = Provider.objects.get()
    provider.simulated_base_url = player.base_url(provider.slug)
    provider.save()
    credentials.store_credential(
        provider=provider,
        name="simulator",
        secret=player.key(provider.slug),
        origin=Credential.Origin.SIMULATOR,
    )
    return player


def probe() -> ProbeReport:
    return probes.probe(snapshot=load_snapshot(), provider_id=Provider.objects.get().pk)


def records(folder: Path) -> list[Record]:
    found: list[Record] = []
    for segment in sorted((folder / "spool").glob("*.spool")):
        data = segment.read_bytes()
        for item in scan(bytes_reader(data), read_header(data)):
            if isinstance(item, Frame):
                found += decode_all(item.body)
    return found


def test_embeddings_and_rankings_are_probed_and_pictures_are_not(
    played: ThreadedSimulator, tmp_path: Path
) -> None:
    report = probe()
    assert (report.probed, report.skipped) == (2, 0)
    written = records(tmp_path)
    intents = [row for row in written if isinstance(row, Intent)]
    finishes = [row for row in written if isinstance(row, Finish)]
    assert {(row.kind, row.surface) for row in intents} == {
        ("probe", "embeddings"),
        ("probe", "rerank"),
    }
    assert [row.outcome for row in finishes] == [Outcome.OK, Outcome.OK]
    assert all(row.e2e_ms > 0 for row in finishes)
    assert len([row for row in written if isinstance(row, RequestDone)]) == 2
    assert played.violations() == []


def test_they_are_paid_from_the_budget_of_the_day(played: ThreadedSimulator) -> None:
    report = probe()
    assert ProbeDay.objects.get().spent_usd == report.cost_usd > 0
    assert report.cost_usd < Decimal("0.0001")


@pytest.mark.usefixtures("played")
def test_nothing_is_asked_once_the_day_is_spent(settings: Settings, tmp_path: Path) -> None:
    settings.PANELBOARD_PROBE_DAILY_USD = "0.0000001"
    assert probe() == ProbeReport(probed=0, skipped=2, cost_usd=Decimal(0))
    assert records(tmp_path) == []


def test_a_ranking_that_is_priced_by_the_search_is_left_to_traffic(
    played: ThreadedSimulator,
) -> None:
    rank = Endpoint.objects.get(model__name="acme/rank")
    Price.objects.create(
        endpoint=rank,
        meter="search",
        unit_price_usd=Decimal("0.002"),
        effective_from=START,
        source="test",
        checked_on=START[:10],
        state=Price.State.APPROVED,
    )
    assert probe().probed == 1


def test_a_failing_endpoint_is_a_measurement(played: ThreadedSimulator, tmp_path: Path) -> None:
    played.add_fault("status", model="acme/embed", status=500)
    assert probe().probed == 2
    outcomes = {row.outcome for row in records(tmp_path) if isinstance(row, Finish)}
    assert outcomes == {Outcome.OK, Outcome.PROVIDER_ERROR}


@pytest.mark.usefixtures("played")
def test_a_start_probes_those_without_any_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    embed, rank = (Endpoint.objects.get(model__name=f"acme/{name}") for name in ("embed", "rank"))
    sent: dict[int, list[int]] = {}
    monkeypatch.setattr(tasks.probe_provider, "delay", sent.__setitem__)
    assert tasks.probe_unmeasured() == 2
    figures = StatsRow(endpoint_id=embed.pk, n=3, success_rate=1.0)
    write_endpoint_stats([figures], updated_at=timezone.now())
    assert tasks.probe_unmeasured() == 1
    assert sent == {embed.provider_id: [rank.pk]}
