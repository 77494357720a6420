"""What the measurement makes of its samples: medians, sums over processes, and its tables."""

from __future__ import annotations

import msgspec

from bench.figures import figures_of
from bench.report import stage_text
from bench.rounds import Outcome
from bench.stages import STAGE_BY_NAME
from tests.bench.samples import load, sample

THROUGHPUT = STAGE_BY_NAME["throughput"]
STREAMS = STAGE_BY_NAME["streams-1000"]


def test_the_median_round_counts() -> None:
    rounds = [sample("nginx", "throughput", load(), nginx=us) for us in (900.0, 1000.0, 5000.0)]
    figures = figures_of(rounds)["throughput"]["nginx"]
    assert figures.cpu_us_per_request == 10.0
    assert figures.requests_per_s == 50.0
    assert figures.rounds == 3


def test_our_recorder_is_counted_and_the_database_is_shown() -> None:
    ours = sample(
        "panelboard", "throughput", load(), gateway=5000.0, recorder=1000.0, postgres=700.0
    )
    table = figures_of([ours])["throughput"]
    assert table["panelboard"].cpu_us_per_request == 60.0
    assert table["panelboard"].cpu_us_per_request_by_part["postgres"] == 7.0
    text = stage_text(THROUGHPUT, table, Outcome())
    assert "CPU us/request gateway 50.0, recorder 10.0, postgres 7.0" in text


def test_the_parts_of_each_form_are_told_under_its_name() -> None:
    forms = [
        sample(form, "throughput", load(), gateway=us, recorder=0.0)
        for form, us in (("panelboard", 4000.0), ("interpreted", 6000.0))
    ]
    text = stage_text(THROUGHPUT, figures_of(forms)["throughput"], Outcome())
    assert "panelboard by process: CPU us/request gateway 40.0" in text
    assert "interpreted by process: CPU us/request gateway 60.0" in text


def test_memory_is_told_for_the_gateway_alone_and_with_the_recorder() -> None:
    ours = sample("panelboard", "streams-1000", load(chunks=1000), gateway=1.0, recorder=1.0)
    ours = msgspec.structs.replace(ours, resident_mb={"gateway": 60.0, "recorder": 41.0})
    table = figures_of([ours])["streams-1000"]
    assert table["panelboard"].memory_mb == 101.0
    text = stage_text(STREAMS, table, Outcome())
    assert "memory MB gateway 60.0, recorder 41.0; gateway + recorder 101.0" in text


def test_added_latency_is_what_the_upstream_alone_does_not_take() -> None:
    table = figures_of(
        [
            sample("direct", "latency", load(p50_us=20.0)),
            sample("nginx", "latency", load(p50_us=110.0), nginx=1.0),
        ]
    )["latency"]
    assert table["direct"].added_p50_us is None
    assert table["nginx"].added_p50_us == 90.0


def test_stages_are_kept_apart() -> None:
    tables = figures_of(
        [
            sample("nginx", "throughput", load(), nginx=1000.0),
            sample("nginx", "prompts-100k", load(), nginx=9000.0),
        ]
    )
    assert tables["throughput"]["nginx"].cpu_us_per_request == 10.0
    assert tables["prompts-100k"]["nginx"].cpu_us_per_request == 90.0


def test_a_stage_says_who_is_left_out_of_it_and_why_and_who_was_measured_once() -> None:
    table = figures_of([sample("nginx", "throughput", load(errors=1), nginx=100.0)])["throughput"]
    outcome = Outcome(
        left_out={"throughput": {"litellm": "it gives no answer"}, "claude": {"portkey": "500"}},
        one_round={"throughput": ["nginx"]},
    )
    text = stage_text(THROUGHPUT, table, outcome)
    assert "litellm: left out, it gives no answer" in text
    assert "nginx: one round only" in text
    assert "nginx: first error: 502 bad gateway" in text
    assert "portkey" not in text


def test_a_page_of_an_answer_is_shortened() -> None:
    outcome = Outcome(left_out={"throughput": {"litellm": "500\n" + "Traceback " * 100}})
    text = stage_text(THROUGHPUT, {}, outcome)
    reason = text.splitlines()[-1]
    assert reason.startswith("  litellm: left out, 500 Traceback")
    assert len(reason) < 250


def test_columns_are_aligned_under_their_titles() -> None:
    table = figures_of(
        [
            sample("direct", "throughput", load()),
            sample("nginx", "throughput", load(), nginx=123_456.0),
        ]
    )["throughput"]
    _, head, direct, nginx = stage_text(THROUGHPUT, table, Outcome()).splitlines()
    end = head.index("CPU us/request") + len("CPU us/request")
    assert direct[:end].endswith(" –")
    assert nginx[:end].endswith(" 1,234.6")
