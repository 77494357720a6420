"""The text that is printed: a table per stage, our parts, and the aims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from bench.aims import TITLES, Aim
from bench.figures import COUNTED, Figures, Table
from bench.forms import FORMS, OURS
from bench.rounds import Outcome
from bench.stages import STAGE_BY_NAME, Plan, Stage

MOST_REASON = 200

Column = tuple[str, str, str, float]  # title, field, form, factor

_REQUESTS: Column = ("requests/s", "requests_per_s", "{:,.0f}", 1.0)
_CPU: Column = ("CPU us/request", "cpu_us_per_request", "{:,.1f}", 1.0)
_P50: Column = ("p50 ms", "latency_p50_us", "{:,.3f}", 1e-3)
_P99: Column = ("p99 ms", "latency_p99_us", "{:,.3f}", 1e-3)
_ADDED: Column = ("added p50 ms", "added_p50_us", "{:,.3f}", 1e-3)
_CHUNK: Column = ("CPU us/chunk", "cpu_us_per_chunk", "{:,.1f}", 1.0)
_DELAY: Column = ("chunk p99 ms", "chunk_delay_p99_us", "{:,.1f}", 1e-3)
_MEMORY: Column = ("memory MB", "memory_mb", "{:,.0f}", 1.0)
_ERRORS: Column = ("errors", "errors", "{:d}", 1)


def columns_of(stage: Stage) -> Sequence[Column]:
    if stage.body.stream:
        return (_CHUNK, _DELAY, _MEMORY, _ERRORS)
    if stage.name == "latency":
        return (_P50, _P99, _ADDED, _ERRORS)
    return (_REQUESTS, _CPU, _P50, _P99, _ERRORS)


def stage_text(stage: Stage, table: Table, outcome: Outcome) -> str:
    lines = [f"{stage.name}: {stage.title}", *_aligned(_cells(table, columns_of(stage)))]
    lines += [
        f"  {parts_text(stage, table[form])}"
        for form in FORMS
        if form in table and table[form].cpu_us_per_request_by_part
    ]
    lines += [
        f"  {name}: left out, {shortened(reason)}"
        for name, reason in outcome.left_out.get(stage.name, {}).items()
    ]
    lines += [f"  {name}: one round only, slow" for name in outcome.one_round.get(stage.name, ())]
    lines += [
        f"  {f.server}: first error: {shortened(f.first_error)}" for f in table.values() if f.errors
    ]
    return "\n".join(lines)


def shortened(text: str) -> str:
    """Answers of servers may be pages; all of it is among the samples."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_REASON else f"{line[: MOST_REASON - 1]}…"


def _cells(table: Table, columns: Sequence[Column]) -> list[list[str]]:
    head = ["", *(title for title, *_ in columns)]
    rows = [
        [figures.server, *(_cell(figures, *column[1:]) for column in columns)]
        for figures in table.values()
    ]
    return [head, *rows]


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(
            [
                f"  {line[0]:<{widths[0]}}",
                *(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)),
            ]
        )
        for line in lines
    ]


def _cell(figures: Figures, field: str, form: str, factor: float) -> str:
    value = getattr(figures, field)
    return "–" if value is None else form.format(value * factor)


def parts_text(stage: Stage, ours: Figures) -> str:
    """Our figures by process: what the table adds up, and Postgres beside it."""
    if not stage.body.stream:
        return f"{ours.server} by process: CPU us/request {_each(ours.cpu_us_per_request_by_part)}"
    memory = ours.memory_mb_by_part
    both = sum(memory[part] for part in COUNTED[ours.server])
    return (
        f"{ours.server} by process: CPU us/chunk {_each(ours.cpu_us_per_chunk_by_part)}; "
        f"memory MB {_each(memory)}; {' + '.join(COUNTED[ours.server])} {both:,.1f}"
    )


def _each(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{part} {amount:,.1f}" for part, amount in amounts.items())


def aims_text(judged: Sequence[Aim]) -> str:
    if not judged:
        return "aims: none could be judged in this run"
    lines = []
    for form, (name, title) in product(FORMS, TITLES.items()):
        of_list = [aim for aim in judged if (aim.form, aim.list) == (form, name)]
        if of_list:
            lines += [f"{form}, {title}:", *map(_aim_line, of_list)]
    return "\n".join(lines)


def _aim_line(aim: Aim) -> str:
    verdict = "met" if aim.met else "NOT met"
    note = f" ({aim.note})" if aim.note else ""
    value, limit = _amount(aim.value, aim.unit), _amount(aim.limit, aim.unit)
    return f"  {aim.text}: {value}, aim {limit} or less: {verdict}{note}"


def _amount(value: float, unit: str) -> str:
    if unit:
        return f"{value:,.0f} {unit}"
    return f"1/{1 / value:,.1f}" if 0 < value < 0.5 else f"{value:,.2f}"


def plan_text(plan: Plan) -> str:
    return (
        f"{plan.rounds} round(s), medians. Many connections: {plan.connections} for "
        f"{plan.seconds:g} s. Latency: {plan.latency_requests} requests. Streams: {plan.chunks} "
        f"chunks {plan.delay_ms} ms apart; memory is the most that was seen then, in 10^6 bytes. "
        f"{' and '.join(FORMS)} count {' and '.join(COUNTED[OURS])}, with recording and rate limits on."
    )


def text_of(tables: Mapping[str, Table], outcome: Outcome) -> str:
    names = dict.fromkeys([*tables, *outcome.left_out])
    ordered = [stage for name, stage in STAGE_BY_NAME.items() if name in names]
    texts = [stage_text(stage, tables.get(stage.name, {}), outcome) for stage in ordered]
    return "\n\n".join(texts)
