"""Samples as the measurement makes them, with the figures that a test cares about."""

from __future__ import annotations

from bench.load import LoadReport
from bench.stages import Sample


def load(
    *,
    done: int = 100,
    chunks: int = 0,
    p50_us: float = 100.0,
    errors: int = 0,
    seconds: float = 2.0,
) -> LoadReport:
    return LoadReport(
        seconds=seconds,
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
