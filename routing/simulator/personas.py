"""What a provider does on the wire that the catalog's quirk record does not say.

A provider without a row here behaves like a plain vLLM host of its dialect.
"""

from __future__ import annotations

from typing import Literal

import msgspec

ToolStyle = Literal["split", "whole", "whole_bare", "repeat"]


class Persona(msgspec.Struct, frozen=True):
    profile: str = "gpu"
    envelope: str = "openai"  # key of envelopes.ENVELOPES
    # split: name first, arguments in pieces; whole: one delta; whole_bare: one delta without
    # `index` and `type`; repeat: pieces that repeat id and name
    tool_style: ToolStyle = "split"
    call_id: Literal["call", "nine", "bare"] = "call"
    response_id: str = "chatcmpl-"
    usage_extras: tuple[str, ...] = ()  # keys of usage_shapes.EXTRAS
    usage_with_finish: bool = False  # unasked usage stands on the finish chunk, not after it
    empty_tool_lists: bool = False  # `tool_calls: []` in content deltas
    role_everywhere: bool = False  # the role repeated in each delta
    empty_finish: bool = False  # finish_reason "" instead of null before the end
    finish_words: dict[str, str] = {}  # OpenAI's finish reason -> the provider's own word
    model_suffix: str = ""  # what the answer's `model` has more than the request's
    param_status: int = 400
    context_status: int = 400
    reset_style: Literal["duration", "seconds", "rfc3339"] = "seconds"
    requests_window_s: int = 60
    requests_limit: int = 6_000
    tokens_limit: int = 4_000_000
    keep_alive_comment: str = ""  # sent once before the first chunk
    rerank_in_data: bool = False  # a ranking stands in `data`, with documents as bare strings
    names_bad_fields: bool = False  # a field that a kind other than chat does not have is a 400


PERSONAS = {
    "openai": Persona(
        profile="frontier",
        usage_extras=("openai_details",),
        model_suffix="-2026-08-01",
        reset_style="duration",
        names_bad_fields=True,
    ),
    "anthropic": Persona(
        profile="frontier", envelope="anthropic", reset_style="rfc3339", response_id="msg_"
    ),
    "gemini": Persona(profile="frontier", envelope="google", response_id=""),
    "together": Persona(
        envelope="together",
        usage_extras=("cached_top",),
        context_status=403,
        response_id="o",
        finish_words={"stop": "eos"},
    ),
    "fireworks": Persona(
        profile="fast_gpu", envelope="fireworks", response_id="", rerank_in_data=True
    ),
    "groq": Persona(
        profile="lpu",
        envelope="groq",
        tool_style="whole",
        usage_with_finish=True,
        usage_extras=("groq_times",),
        reset_style="duration",
        requests_window_s=86_400,
        requests_limit=1_000_000,
        names_bad_fields=True,
    ),
    "cerebras": Persona(
        profile="wafer", envelope="flat", usage_extras=("time_info",), requests_window_s=86_400
    ),
    "sambanova": Persona(
        profile="rdu", envelope="sambanova", usage_extras=("sambanova_times",), response_id=""
    ),
    "nebius": Persona(profile="budget_gpu", envelope="detail", empty_tool_lists=True),
    "novita": Persona(profile="budget_gpu", envelope="novita", empty_finish=True, response_id=""),
    "hyperbolic": Persona(profile="gpu", envelope="message", empty_tool_lists=True),
    "deepinfra": Persona(profile="budget_gpu", envelope="detail_error"),
    "featherless": Persona(profile="serverless"),
    "baseten": Persona(envelope="error_string", usage_extras=("cached_top",)),
    "nscale": Persona(profile="budget_gpu", role_everywhere=True),
    "ovhcloud": Persona(profile="gpu", envelope="message"),
    "deepseek": Persona(
        profile="budget_gpu",
        usage_extras=("deepseek_cache",),
        keep_alive_comment=": keep-alive",
        param_status=422,
        response_id="",
    ),
    "moonshot": Persona(profile="gpu", usage_extras=("cached_top",), tool_style="repeat"),
    "zai": Persona(profile="gpu", envelope="zai", response_id=""),
    "minimax": Persona(profile="gpu", envelope="minimax", response_id=""),
    "xai": Persona(profile="frontier", envelope="xai", response_id=""),
    "mistral": Persona(
        profile="fast_gpu",
        envelope="mistral",
        tool_style="whole_bare",
        call_id="nine",
        param_status=422,
        response_id="",
        names_bad_fields=True,
    ),
}
DEFAULTS = {
    "anthropic": Persona(
        profile="frontier", envelope="anthropic", reset_style="rfc3339", response_id="msg_"
    ),
    "gemini": Persona(profile="frontier", envelope="google", response_id=""),
    "openai_compat": Persona(empty_tool_lists=True),
}


def persona_of(slug: str, dialect: str) -> Persona:
    return PERSONAS.get(slug) or DEFAULTS[dialect]
