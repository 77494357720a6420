"""What a request would rather have: figures that an endpoint should reach, and need not."""

from __future__ import annotations

from routing.core.measures import Numbers
from routing.core.request import ProviderPreferences


def meets(numbers: Numbers, wanted: ProviderPreferences) -> bool:
    least, most = wanted.preferred_min_throughput, wanted.preferred_max_latency
    quick = least is None or (numbers.speed_tps or 0.0) >= least
    early = most is None or _is_within(numbers.ttft_ms, most)
    return (
        quick
        and early
        and all((numbers.speed_tps_at(p) or 0.0) >= tps for p, tps in wanted.throughput_cutoffs)
        and all(_is_within(numbers.ttft_ms_at(p), s) for p, s in wanted.latency_cutoffs)
    )


def _is_within(ttft_ms: float | None, most_s: float) -> bool:
    return ttft_ms is not None and ttft_ms <= most_s * 1000
