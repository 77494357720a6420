"""What the measurement makes of its samples: medians, sums over processes, ratios and verdicts."""

from __future__ import annotations

import pytest

from bench.load import LoadReport
from bench.report import Aim, aims, aims_text, rows_of, table
from bench.stages import Sample


def load(*, done: int = 100, chunks: int = 0, p50_us: float = 100.0, errors: int = 0) -> LoadReport:
    return LoadReport(
        seconds=2.0,
        done=done,
        errors=errors,
        chunks=chunks,
        latency_p50_us=p50_us,
        latency_p99_us=p50_us,
        first_byte_p50_us=p50_us,
        chunk_delay_p50_us=1.0,
        chunk_delay_p99_us=2.0,
        first_error="502 bad gateway" if errors else "",
    )


def sample(server: str, stage: str, report: LoadReport, **cpu_us: float) -> Sample:
    return Sample(server, stage, report, cpu_us, dict.fromkeys(cpu_us, 10.0))


def test_the_median_round_counts() -> None:
    rounds = [sample("nginx", "throughput", load(), nginx=us) for us in (900.0, 1000.0, 5000.0)]
    row = rows_of(rounds)["nginx"]
    assert row.cpu_us_per_request == 10.0
    assert row.requests_per_s == 50.0


def test_our_recorder_is_counted_and_the_database_is_shown() -> None:
    ours = sample(
        "panelboard", "throughput", load(), gateway=5000.0, recorder=1000.0, postgres=700.0
    )
    row = rows_of([ours])["panelboard"]
    assert row.cpu_us_per_request == 60.0
    assert row.cpu_us_per_request_by_part["postgres"] == 7.0


def test_added_latency_is_what_the_upstream_alone_does_not_take() -> None:
    rows = rows_of(
        [
            sample("direct", "latency", load(p50_us=20.0)),
            sample("nginx", "latency", load(p50_us=110.0), nginx=1.0),
        ]
    )
    assert rows["direct"].added_p50_us is None
    assert rows["nginx"].added_p50_us == 90.0


def test_a_stage_without_a_good_answer_gives_no_figure() -> None:
    failed = sample("nginx", "throughput", load(done=0, errors=3), nginx=100.0)
    row = rows_of([failed])["nginx"]
    assert row.cpu_us_per_request is None
    assert row.errors == 3


def test_an_aim_is_judged_only_when_both_figures_were_measured() -> None:
    ours = sample("panelboard", "throughput", load(), gateway=5000.0, recorder=1000.0)
    theirs = sample("litellm", "throughput", load(), litellm=600_000.0)
    judged = aims(rows_of([ours, theirs]))
    assert [aim.text for aim in judged] == ["CPU per request beside LiteLLM's"]
    assert judged[0].value == pytest.approx(0.01)
    assert aims(rows_of([theirs])) == []


def test_an_aim_that_is_missed_is_said_plainly() -> None:
    ours = sample("panelboard", "throughput", load(), gateway=50_000.0, recorder=0.0)
    theirs = sample("portkey", "throughput", load(), portkey=200_000.0)
    assert "NOT met" in aims_text(rows_of([ours, theirs]))
    assert Aim("x", 2.5, 2.5).met


def test_the_table_names_missing_peers_and_errors() -> None:
    rows = rows_of([sample("nginx", "throughput", load(errors=2), nginx=100.0)])
    text = table(rows, {"litellm": "could not be installed: no network"})
    assert "litellm: missing, could not be installed: no network" in text
    assert "nginx: first error: 502 bad gateway" in text
