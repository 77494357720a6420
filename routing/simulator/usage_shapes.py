"""Usage as OpenAI-like providers report it, with the fields each adds of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routing.simulator.prices import scaled_up
from routing.simulator.session import Report, Session, pretend


def usage_object(session: Session, output: int, reasoning: int) -> dict[str, Any] | None:
    """After so many output tokens (reasoning included); None when a fault withholds it."""
    if session.report is Report.NONE:
        return None
    traits, tally = session.provider.traits, session.tally
    prompt = (
        tally.input_total if traits.input_includes_cache else tally.input_total - tally.cache_read
    )
    completion = output if traits.output_includes_reasoning else output - reasoning
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": tally.input_total + output,
    }
    if session.endpoint.caches_prompts:
        usage["prompt_tokens_details"] = {"cached_tokens": tally.cache_read}
    if session.ask.reasons:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    for name in session.provider.persona.usage_extras:
        EXTRAS[name](usage, session, output)
    _add_cost(usage, session)
    return pretend(usage) if session.report is Report.ABSURD else usage


def place(body: dict[str, Any], paths: tuple[str, ...], usage: dict[str, Any] | None) -> None:
    """Put `usage` at each dotted path, such as `x_groq.usage` or `choices.0.usage`."""
    if usage is None:
        return
    for path in paths:
        *way, last = path.replace("[", ".").replace("]", "").split(".")
        node: Any = body
        for step in way:
            if isinstance(node, list):
                node = node[int(step)] if int(step) < len(node) else {}
            else:
                node = node.setdefault(step, {})
        node[last] = usage


def _add_cost(usage: dict[str, Any], session: Session) -> None:
    root, _, field = session.provider.traits.cost_path.rpartition(".")
    if not field or root not in {"usage", ""}:
        return
    scale = session.provider.traits.cost_scale
    usage[field] = session.cost_usd if scale == 1 else scaled_up(session.cost_usd, scale)


def _openai_details(usage: dict[str, Any], session: Session, _output: int) -> None:
    usage["prompt_tokens_details"] = {
        "cached_tokens": session.tally.cache_read,
        "audio_tokens": 0,
    }
    usage.setdefault("completion_tokens_details", {"reasoning_tokens": 0}).update(
        audio_tokens=0, accepted_prediction_tokens=0, rejected_prediction_tokens=0
    )


def _cached_top(usage: dict[str, Any], session: Session, _output: int) -> None:
    usage["cached_tokens"] = session.tally.cache_read


def _deepseek_cache(usage: dict[str, Any], session: Session, _output: int) -> None:
    tally = session.tally
    usage["prompt_cache_hit_tokens"] = tally.cache_read
    usage["prompt_cache_miss_tokens"] = tally.input_total - tally.cache_read


def _groq_times(usage: dict[str, Any], session: Session, _output: int) -> None:
    usage.update(time_info(session))


def _sambanova_times(usage: dict[str, Any], session: Session, output: int) -> None:
    seconds = max(session.elapsed_s, 0.001)
    usage.update(
        time_to_first_token=round(seconds * 0.1, 6),
        total_latency=round(seconds, 6),
        completion_tokens_per_sec=round(output / seconds, 3),
        acceptance_rate=1,
        stop_reason="stop",
    )


def _time_info(_usage: dict[str, Any], _session: Session, _output: int) -> None:
    """Cerebras tells times beside `usage`, not in it."""


def time_info(session: Session) -> dict[str, float]:
    seconds = session.elapsed_s
    return {
        "queue_time": round(seconds * 0.02, 6),
        "prompt_time": round(seconds * 0.08, 6),
        "completion_time": round(seconds * 0.9, 6),
        "total_time": round(seconds, 6),
    }


EXTRAS: dict[str, Callable[[dict[str, Any], Session, int], None]] = {
    "openai_details": _openai_details,
    "cached_top": _cached_top,
    "deepseek_cache": _deepseek_cache,
    "groq_times": _groq_times,
    "sambanova_times": _sambanova_times,
    "time_info": _time_info,
}
