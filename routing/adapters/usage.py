"""One usage normaliser per dialect, all into the inclusive form of `routing.core.usage`.

Providers' numbers are not trusted: a count that is negative, no integer or absurdly large is as
good as absent, and a part that is larger than its whole is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from routing.adapters.base import UsageNote
from routing.adapters.jsonio import dict_of, dig
from routing.adapters.quirks import PLAIN, Quirks
from routing.core.usage import Usage

MAX_TOKENS = 100_000_000  # no single request comes near
MAX_COST_USD = Decimal(10_000)
COST_STEP_USD = Decimal("0.000000000001")

NoteUsage = Callable[[Usage], UsageNote]

_OPENAI_CACHE_READ = (
    "prompt_tokens_details.cached_tokens",
    "prompt_token_details.cached_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "num_cached_tokens",
)


def count(value: Any) -> int | None:
    """`value` if it can be a number of tokens. True and 3.0 cannot."""
    if type(value) is int and 0 <= value <= MAX_TOKENS:
        return value
    return None


def first_count(raw: dict[str, Any], *paths: str) -> int | None:
    for path in paths:
        found = count(dig(raw, path))
        if found is not None:
            return found
    return None


def total(*parts: int | None) -> int | None:
    """The sum of what is known; None if nothing is."""
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def part_of(part: int | None, whole: int | None) -> int | None:
    """A part larger than its whole contradicts it; the whole is what gets billed."""
    return None if part is not None and whole is not None and part > whole else part


def openai_usage(raw: dict[str, Any], quirks: Quirks = PLAIN) -> Usage:
    """`raw` is the usage object itself. The provider's cost is read by `provider_cost`."""
    cache_read = first_count(raw, *_OPENAI_CACHE_READ)
    cache_write = first_count(raw, "prompt_tokens_details.cache_write_tokens")
    input_total = _openai_input(raw, quirks, cache_read, cache_write)
    reasoning = first_count(raw, "completion_tokens_details.reasoning_tokens", "reasoning_tokens")
    output_total = first_count(raw, "completion_tokens")
    if output_total is not None and not quirks.output_includes_reasoning:
        output_total = total(output_total, reasoning)
    return Usage(
        input_total=input_total,
        cache_read=part_of(cache_read, input_total),
        cache_write_5m=part_of(cache_write, input_total),
        output_total=output_total,
        reasoning=part_of(reasoning, output_total),
        searches=first_count(raw, "server_tool_use.web_search_requests"),
    )


def _openai_input(
    raw: dict[str, Any], quirks: Quirks, cache_read: int | None, cache_write: int | None
) -> int | None:
    prompt = first_count(raw, "prompt_tokens")
    if prompt is None:
        hit = count(raw.get("prompt_cache_hit_tokens"))
        miss = count(raw.get("prompt_cache_miss_tokens"))
        return None if miss is None else total(hit, miss)
    if quirks.input_includes_cache:
        return prompt
    return total(prompt, cache_read, cache_write)


def anthropic_usage(raw: dict[str, Any]) -> Usage:
    """`input_tokens` excludes the cache there; we add it so that totals match the invoice."""
    fresh = count(raw.get("input_tokens"))
    cache_read = count(raw.get("cache_read_input_tokens"))
    written = count(raw.get("cache_creation_input_tokens"))
    written_5m, written_1h = _anthropic_writes(raw, written)
    output_total = count(raw.get("output_tokens"))
    thinking = first_count(raw, "output_tokens_details.thinking_tokens")
    return Usage(
        input_total=None if fresh is None else total(fresh, cache_read, written_5m, written_1h),
        cache_read=cache_read,
        cache_write_5m=written_5m,
        cache_write_1h=written_1h,
        output_total=output_total,
        reasoning=part_of(thinking, output_total),
        searches=first_count(raw, "server_tool_use.web_search_requests"),
    )


def _anthropic_writes(raw: dict[str, Any], written: int | None) -> tuple[int | None, int | None]:
    """The split by lifetime, when it adds up; else all of it at the usual five minutes."""
    split = dict_of(raw.get("cache_creation"))
    for_5m = count(split.get("ephemeral_5m_input_tokens"))
    for_1h = count(split.get("ephemeral_1h_input_tokens"))
    if written is None or total(for_5m, for_1h) == written:
        return for_5m, for_1h
    return written, None


def gemini_usage(raw: dict[str, Any]) -> Usage:
    """Gemini counts thinking apart from output; we add it so that totals match the invoice.

    Its JSON leaves out what is zero, so a missing part beside a known prompt count is zero.
    """
    prompt = count(raw.get("promptTokenCount"))
    if prompt is None:
        return Usage(output_total=_gemini_output(raw))
    input_total = total(prompt, count(raw.get("toolUsePromptTokenCount")))
    output_total = _gemini_output(raw) or 0
    return Usage(
        input_total=input_total,
        cache_read=part_of(count(raw.get("cachedContentTokenCount")), input_total),
        output_total=output_total,
        reasoning=count(raw.get("thoughtsTokenCount")),
    )


def _gemini_output(raw: dict[str, Any]) -> int | None:
    return total(count(raw.get("candidatesTokenCount")), count(raw.get("thoughtsTokenCount")))


def provider_cost(document: Any, quirks: Quirks) -> Decimal | None:
    """The provider's own figure in US dollars, believed only if finite, above zero and sane."""
    if not quirks.cost_path or quirks.cost_scale <= 0:
        return None
    figure = _decimal(dig(document, quirks.cost_path))
    if figure is None:
        return None
    usd = figure / quirks.cost_scale
    return usd.quantize(COST_STEP_USD) if COST_STEP_USD <= usd <= MAX_COST_USD else None


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        figure = Decimal(str(value))
    except (ArithmeticError, ValueError):
        return None
    return figure if figure.is_finite() else None


def openai_usage_object(usage: Usage) -> dict[str, Any]:
    """Usage in OpenAI's shape, for dialects that have another one."""
    shown: dict[str, Any] = {
        "prompt_tokens": usage.input_total or 0,
        "completion_tokens": usage.output_total or 0,
        "total_tokens": (usage.input_total or 0) + (usage.output_total or 0),
    }
    written = total(usage.cache_write_5m, usage.cache_write_1h)
    prompt_details = {"cached_tokens": usage.cache_read, "cache_write_tokens": written}
    shown["prompt_tokens_details"] = {k: n for k, n in prompt_details.items() if n is not None}
    if usage.reasoning is not None:
        shown["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return shown


def noted(shown: dict[str, Any], note: UsageNote) -> dict[str, Any]:
    """A usage object with the hub's cost in it; money is a decimal string, never a float."""
    return {**shown, "cost": note.cost_usd, "cost_status": note.cost_status}
