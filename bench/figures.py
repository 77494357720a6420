"""Medians over the rounds of each stage, per server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

import msgspec

from bench.forms import FORMS
from bench.stages import Sample

GATEWAY, RECORDER = "gateway", "recorder"
# What stands between client and provider; the Postgres beside it is shown, not added.
COUNTED = dict.fromkeys(FORMS, (GATEWAY, RECORDER))


class Figures(msgspec.Struct, frozen=True):
    """One server in one stage. None: it has no process of its own, or nothing was measured."""

    server: str
    rounds: int
    requests_per_s: float
    latency_p50_us: float
    latency_p99_us: float
    errors: int
    first_error: str = ""
    cpu_us_per_request: float | None = None
    cpu_us_per_chunk: float | None = None
    added_p50_us: float | None = None
    chunk_delay_p99_us: float | None = None
    memory_mb: float | None = None
    cpu_us_per_request_by_part: dict[str, float] = {}
    cpu_us_per_chunk_by_part: dict[str, float] = {}
    memory_mb_by_part: dict[str, float] = {}


Table = dict[str, Figures]  # by server


def figures_of(samples: Sequence[Sample]) -> dict[str, Table]:
    """By stage, in the order of the samples."""
    tables: dict[str, Table] = {}
    for stage, of_stage in _grouped(samples, lambda sample: sample.stage).items():
        by_server = _grouped(of_stage, lambda sample: sample.server)
        tables[stage] = _with_added({name: _figures(name, s) for name, s in by_server.items()})
    return tables


def _grouped(samples: Iterable[Sample], key: Callable[[Sample], str]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(key(sample), []).append(sample)
    return groups


def _figures(server: str, samples: list[Sample]) -> Figures:
    per_request = _by_part((s.cpu_us, s.load.done) for s in samples)
    per_chunk = _by_part((s.cpu_us, s.load.chunks) for s in samples)
    memory = _by_part((s.resident_mb, 1) for s in samples)
    delays = [s.load.chunk_delay_p99_us for s in samples if s.load.chunks]
    return Figures(
        server=server,
        rounds=len(samples),
        requests_per_s=median(s.load.requests_per_s for s in samples),
        latency_p50_us=median(s.load.latency_p50_us for s in samples),
        latency_p99_us=median(s.load.latency_p99_us for s in samples),
        errors=sum(s.load.errors for s in samples),
        first_error=next((s.load.first_error for s in samples if s.load.first_error), ""),
        cpu_us_per_request=counted(server, per_request),
        cpu_us_per_chunk=counted(server, per_chunk),
        chunk_delay_p99_us=median(delays) if delays else None,
        memory_mb=counted(server, memory),
        cpu_us_per_request_by_part=per_request,
        cpu_us_per_chunk_by_part=per_chunk,
        memory_mb_by_part=memory,
    )


def _with_added(table: Table) -> Table:
    direct = table.get("direct")
    if direct is None:
        return table
    return {
        name: figures
        if figures is direct
        else msgspec.structs.replace(
            figures, added_p50_us=figures.latency_p50_us - direct.latency_p50_us
        )
        for name, figures in table.items()
    }


def counted(server: str, by_part: Mapping[str, float]) -> float | None:
    parts = COUNTED.get(server, tuple(by_part))
    return sum(by_part[part] for part in parts) if by_part else None


def _by_part(measured: Iterable[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """Per part: the median over the rounds of its amount by the number of things done."""
    by_part: dict[str, list[float]] = {}
    for amounts, n in measured:
        for part, amount in amounts.items():
            if n:
                by_part.setdefault(part, []).append(amount / n)
    return {part: median(values) for part, values in by_part.items()}
