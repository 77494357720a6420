"""Whether an aim is met is said plainly, and only where its figures were measured."""

from __future__ import annotations

import msgspec
import pytest

from bench.aims import COMPLETE, FIRST, FURTHER, RULES, Aim, aims
from bench.figures import figures_of
from bench.forms import FORMS, INTERPRETED, OURS
from bench.report import aims_text
from bench.stages import STAGE_BY_NAME, Sample
from tests.bench.samples import load, sample


def ours(stage: str = "throughput", form: str = OURS, **cpu_us: float) -> Sample:
    return sample(form, stage, load(chunks=100), **{"recorder": 0.0, **cpu_us})


def judged(*samples: Sample) -> list[Aim]:
    return aims(figures_of(samples))


def test_an_aim_is_judged_only_when_both_figures_were_measured() -> None:
    theirs = sample("litellm", "throughput", load(), litellm=600_000.0)
    found = judged(ours(gateway=5000.0, recorder=1000.0), theirs)
    assert [(aim.list, aim.text) for aim in found] == [
        (FIRST, "CPU per request beside LiteLLM's"),
        (COMPLETE, "CPU per request beside LiteLLM's"),
    ]
    assert found[0].value == pytest.approx(0.01)
    assert judged(theirs) == []


@pytest.mark.parametrize(
    ("cpu_us", "first", "complete"),
    [(10_000.0, True, True), (15_000.0, True, False), (20_000.0, False, False)],
)
def test_the_complete_gateway_is_held_to_a_smaller_share(
    cpu_us: float, first: bool, complete: bool
) -> None:
    found = judged(
        ours(gateway=cpu_us), sample("litellm", "throughput", load(), litellm=1_000_000.0)
    )
    assert [aim.met for aim in found] == [first, complete]


def test_a_share_in_another_stage_is_judged_by_that_stage_alone() -> None:
    found = judged(
        ours("prompts-100k", gateway=30_000.0),
        sample("litellm", "prompts-100k", load(), litellm=1_500_000.0),
        sample("litellm", "throughput", load(), litellm=9_000_000.0),
    )
    assert [(aim.list, aim.met) for aim in found] == [(FURTHER, False)]


def test_memory_is_judged_by_the_gateway_process_with_the_sum_beside_it() -> None:
    streams = msgspec.structs.replace(
        ours("streams-1000", gateway=1.0), resident_mb={"gateway": 89.0, "recorder": 40.0}
    )
    found = judged(streams)
    assert [(aim.value, aim.met) for aim in found] == [(89.0, True)]
    text = aims_text(found)
    assert "89 MB, aim 90 MB or less: met (gateway + recorder: 129 MB)" in text


def test_an_aim_that_is_missed_is_said_plainly() -> None:
    text = aims_text(
        judged(ours(gateway=50_000.0), sample("portkey", "throughput", load(), portkey=200_000.0))
    )
    assert "CPU per request beside Portkey's: 1/4.0, aim 1/12.0 or less: NOT met" in text
    assert "aim 1/20.0 or less: NOT met" in text
    assert aims_text([]) == "aims: none could be judged in this run"
    assert Aim(OURS, FIRST, "x", 2.5, 2.5).met


def test_each_form_is_judged_by_its_own_figures_and_named() -> None:
    text = aims_text(
        judged(
            ours(form=INTERPRETED, gateway=10_000.0),
            ours(form=OURS, gateway=8_000.0),
            sample("portkey", "throughput", load(), portkey=160_000.0),
        )
    )
    lines = text.splitlines()
    titles = [line.partition(",")[0] for line in lines if line.endswith(":")]
    assert titles == [form for form in FORMS for _ in (FIRST, COMPLETE)]
    complete = [line for line in lines if "aim 1/20.0" in line]
    assert [line.rpartition(": ")[2] for line in complete] == ["met", "NOT met"]


def test_every_rule_is_about_a_stage_that_is_measured() -> None:
    assert {rule.stage for rule in RULES} <= set(STAGE_BY_NAME)
