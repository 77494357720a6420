"""Medians over the rounds, the table, the ratios, and whether each aim is met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import msgspec

from bench.stages import Plan, Sample

OURS = "panelboard"
# What stands between client and provider; the Postgres beside it is shown, not added.
COUNTED = {OURS: ("gateway", "recorder")}


class Row(msgspec.Struct, frozen=True):
    """One server. None: it has no process of its own, or the stage gave nothing."""

    server: str
    requests_per_s: float | None = None
    cpu_us_per_request: float | None = None
    cpu_us_per_chunk: float | None = None
    latency_p50_us: float | None = None
    added_p50_us: float | None = None
    chunk_delay_p99_us: float | None = None
    memory_mib: float | None = None
    errors: int = 0
    first_error: str = ""
    cpu_us_per_request_by_part: dict[str, float] = {}
    cpu_us_per_chunk_by_part: dict[str, float] = {}
    memory_mib_by_part: dict[str, float] = {}


class Aim(msgspec.Struct, frozen=True):
    text: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        return self.value <= self.limit


def rows_of(samples: Sequence[Sample]) -> dict[str, Row]:
    names = list(dict.fromkeys(sample.server for sample in samples))
    rows = {name: _row(name, [s for s in samples if s.server == name]) for name in names}
    direct = rows["direct"].latency_p50_us if "direct" in rows else None
    return {name: _with_added(row, direct) for name, row in rows.items()}


def _with_added(row: Row, direct_us: float | None) -> Row:
    if row.server == "direct" or direct_us is None or row.latency_p50_us is None:
        return row
    return msgspec.structs.replace(row, added_p50_us=row.latency_p50_us - direct_us)


def _row(name: str, samples: Sequence[Sample]) -> Row:
    plain = [s for s in samples if s.stage == "throughput"]
    single = [s for s in samples if s.stage == "latency"]
    streamed = [s for s in samples if s.stage == "streams"]
    per_request = _medians((s.cpu_us, s.load.done) for s in plain)
    per_chunk = _medians((s.cpu_us, s.load.chunks) for s in streamed)
    memory = _medians((s.resident_mib, 1) for s in streamed)
    return Row(
        server=name,
        requests_per_s=_median(s.load.requests_per_s for s in plain),
        cpu_us_per_request=counted(name, per_request),
        cpu_us_per_chunk=counted(name, per_chunk),
        latency_p50_us=_median(s.load.latency_p50_us for s in single if s.load.done),
        chunk_delay_p99_us=_median(s.load.chunk_delay_p99_us for s in streamed if s.load.chunks),
        memory_mib=counted(name, memory),
        errors=sum(s.load.errors for s in samples),
        first_error=next((s.load.first_error for s in samples if s.load.first_error), ""),
        cpu_us_per_request_by_part=per_request,
        cpu_us_per_chunk_by_part=per_chunk,
        memory_mib_by_part=memory,
    )


def counted(name: str, by_part: Mapping[str, float]) -> float | None:
    parts = COUNTED.get(name, tuple(by_part))
    return sum(by_part[part] for part in parts) if by_part else None


def _medians(measured: Iterable[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """Per part: the median over the rounds of its amount by the number of things done."""
    by_part: dict[str, list[float]] = {}
    for amounts, n in measured:
        for part, amount in amounts.items():
            if n:
                by_part.setdefault(part, []).append(amount / n)
    return {part: median(values) for part, values in by_part.items()}


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return median(known) if known else None


# --- aims -----------------------------------------------------------------------------------------

_AIMS = (
    # (field, peer, what it is called, our share of the peer's figure at most)
    ("cpu_us_per_request", "litellm", "CPU per request beside LiteLLM's", 1 / 60),
    ("cpu_us_per_request", "portkey", "CPU per request beside Portkey's", 1 / 12),
    ("added_p50_us", "nginx", "added latency p50 beside nginx's", 4.0),
    ("cpu_us_per_chunk", "nginx", "CPU per chunk beside nginx's", 2.5),
)


def aims(rows: Mapping[str, Row]) -> list[Aim]:
    """Only those whose two figures were measured in this run."""
    found = []
    for field, peer, text, limit in _AIMS:
        ours = getattr(rows.get(OURS), field, None)
        theirs = getattr(rows.get(peer), field, None)
        if ours is not None and theirs:
            found.append(Aim(text, ours / theirs, limit))
    return found


# --- text -----------------------------------------------------------------------------------------

_COLUMNS = (
    ("requests/s", "requests_per_s", "{:,.0f}", 1.0),
    ("CPU us/request", "cpu_us_per_request", "{:,.1f}", 1.0),
    ("CPU us/chunk", "cpu_us_per_chunk", "{:,.1f}", 1.0),
    ("p50 ms, 1 conn.", "latency_p50_us", "{:,.3f}", 1e-3),
    ("added p50 ms", "added_p50_us", "{:,.3f}", 1e-3),
    ("chunk p99 ms", "chunk_delay_p99_us", "{:,.1f}", 1e-3),
    ("memory MiB", "memory_mib", "{:,.0f}", 1.0),
    ("errors", "errors", "{:d}", 1),
)


def table(rows: Mapping[str, Row], missing: Mapping[str, str]) -> str:
    lines = [["", *(title for title, *_ in _COLUMNS)]]
    lines += [
        [row.server, *(_cell(row, *column[1:]) for column in _COLUMNS)] for row in rows.values()
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join(
            [
                line[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)),
            ]
        )
        for line in lines
    ]
    text += [f"{name}: missing, {reason}" for name, reason in missing.items()]
    text += [f"{row.server}: first error: {row.first_error}" for row in rows.values() if row.errors]
    return "\n".join(text)


def _cell(row: Row, field: str, form: str, factor: float) -> str:
    value = getattr(row, field)
    return "–" if value is None else form.format(value * factor)


def parts_text(row: Row | None) -> str:
    """Our figures by process: what the table adds up, and Postgres beside it."""
    if row is None:
        return ""
    lines = ["panelboard by process (the table counts gateway and recorder):"]
    for title, amounts in (
        ("CPU us/request", row.cpu_us_per_request_by_part),
        ("CPU us/chunk", row.cpu_us_per_chunk_by_part),
        ("memory MiB", row.memory_mib_by_part),
    ):
        each = ", ".join(f"{part} {amount:,.1f}" for part, amount in amounts.items())
        lines.append(f"  {title}: {each}")
    return "\n".join(lines)


def aims_text(rows: Mapping[str, Row]) -> str:
    lines = []
    for aim in aims(rows):
        verdict = "met" if aim.met else "NOT met"
        lines.append(
            f"  {aim.text}: {_ratio(aim.value)}, aim {_ratio(aim.limit)} or less: {verdict}"
        )
    return "\n".join(["aims:", *lines]) if lines else "aims: none could be judged in this run"


def _ratio(value: float) -> str:
    return f"1/{1 / value:,.1f}" if 0 < value < 0.5 else f"{value:,.2f}"


def plan_text(plan: Plan) -> str:
    return (
        f"{plan.rounds} round(s), medians. Throughput: {plan.connections} connections for "
        f"{plan.seconds:g} s. Latency: 1 connection, {plan.latency_requests} requests. Streams: "
        f"{plan.streams} at once, {plan.chunks} chunks {plan.delay_ms} ms apart; memory is the most "
        "that was seen then."
    )
