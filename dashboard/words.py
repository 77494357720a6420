"""Plain words for the codes that the hub records."""

from __future__ import annotations

EXCLUSIONS = {
    "no_credential": "No usable key for this provider is stored",
    "no_price": "No approved price, and the hub never routes to an unpriced endpoint",
    "retired": "Retired by the provider or paused by an admin",
    "not_in_only": "Not in the list of allowed providers",
    "ignored": "In the list of providers to ignore",
    "not_pinned": "The request named another provider",
    "max_price": "Dearer than the highest price allowed",
    "context_window": "The prompt does not fit its context window",
    "max_output": "Cannot write as many tokens as were asked for",
    "missing_capability": "Lacks something the request needs",
    "other_dialect": "Cannot be asked in the words the request needs",
    "parameter_unsupported": "Does not support a parameter that was sent",
    "quantization": "Not served in an allowed quantization",
    "region": "Not in an allowed region",
    "data_policy": "Its data policy does not match the request",
    "distillation": "Not known to allow other models to learn from its answers",
    "breaker_open": "Switched off for a moment after repeated failures",
    "capacity_cap": "It takes no more just now (learned from 429s, or announced)",
    "cooling_down": "It asked us to wait (rate limit)",
    "hub_refused": "It refused the hub's own key several times: an administrator has to look",
    "fallbacks_off": "Fallbacks are switched off, another one came first",
}

OUTCOMES = {
    "ok": "Delivered",
    "provider_error": "Provider error",
    "rate_limited": "Rate limited",
    "timeout": "Timed out",
    "client_cancelled": "Client left",
    "blocked": "Blocked",
    "user_error": "Request at fault",
    "hub_error": "Hub error",
    "crashed": "Hub crashed",
    "hedge_lost": "Another attempt was quicker",
}
OUTCOME_TONES = {
    "ok": "good",
    "provider_error": "bad",
    "rate_limited": "warn",
    "timeout": "bad",
    "client_cancelled": "",
    "blocked": "warn",
    "user_error": "warn",
    "hub_error": "bad",
    "crashed": "bad",
    "hedge_lost": "",
}

COST_STATUSES = {
    "provider_reported": "Provider reported",
    "metered": "Metered",
    "estimated": "Estimated",
    "unpriced": "Unpriced",
    "reconciled": "Reconciled",
    "disputed": "Disputed",
}
COST_STATUS_TONES = {
    "provider_reported": "good",
    "metered": "",
    "estimated": "warn",
    "unpriced": "bad",
    "reconciled": "good",
    "disputed": "bad",
}

DIALECTS = {
    "openai_compat": "OpenAI-compatible",
    "openai_responses": "OpenAI Responses",
    "anthropic": "Anthropic Messages",
    "gemini": "Gemini",
}

METERS = {
    "input": "Input tokens, uncached",
    "cache_read": "Input tokens, read from cache",
    "cache_write_5m": "Input tokens, written to cache for 5 min",
    "cache_write_1h": "Input tokens, written to cache for 1 h",
    "output": "Output tokens",
    "reasoning": "Reasoning tokens",
    "image": "Images",
    "audio_second": "Seconds of audio",
    "search": "Web searches",
    "request": "Requests",
    "character": "Characters",
    "pixel": "Pixels",
}
SHORT_METERS = {
    "input": "Input",
    "cache_read": "Cache read",
    "cache_write_5m": "Cache write 5 min",
    "cache_write_1h": "Cache write 1 h",
    "output": "Output",
    "reasoning": "Reasoning",
    "image": "Image",
    "audio_second": "Audio second",
    "search": "Search",
    "request": "Request",
    "character": "Characters",
    "pixel": "Pixels",
}

CAPABILITIES = {
    "tools": "Tools",
    "tool_choice_required": "Forced tools",
    "parallel_tools": "Parallel tools",
    "json_mode": "JSON mode",
    "structured_output": "Structured output",
    "vision": "Vision",
    "audio_in": "Audio in",
    "reasoning": "Reasoning",
    "logprobs": "Log probabilities",
    "seed": "Seed",
    "prompt_cache": "Prompt cache",
    "n": "Several answers",
    "dimensions": "Vectors of a chosen length",
    "timestamps": "Timestamps",
    "image_url": "Images by address",
    "stream": "Event streams",
    "translation": "Translation to English",
}

KINDS = {
    "traffic": "Traffic",
    "playground": "Playground",
    "batch": "Batch",
    "probe": "Probe",
    "shadow": "Shadow copy",
    "replay": "Replayed answer",
}


def word(table: dict[str, str], code: str) -> str:
    """An unknown code is shown as it is rather than hidden."""
    return table.get(code, code.replace("_", " "))
