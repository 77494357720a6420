"""A client's chat request as a Gemini generateContent request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from routing.adapters.base import ChatCall
from routing.adapters.forms import (
    ToolWish,
    effort_of,
    is_a_loss,
    max_tokens_of,
    refuse,
    response_format_kind,
    schema_of,
    stop_list,
    tool_wish,
)
from routing.adapters.gemini.contents import Part, system_and_contents
from routing.adapters.jsonio import dict_of, dicts_in, list_of
from routing.adapters.left_out import named
from routing.adapters.quirks import PLAIN, Quirks
from routing.core.catalog import Endpoint

STOP_MAX = 5
_COLLECTIONS = ("models", "tunedModels")  # a tuned model is named by its full path
CACHE_MARK = "cache_control"
THINKING_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192}
MOST_THINKING = 24576
_THINKING_LEVELS = {"none": "MINIMAL", "max": "XHIGH"}  # the others only change case

_THINKING_NAMES = {
    "thinking_budget": "thinkingBudget",
    "thinking_level": "thinkingLevel",
    "include_thoughts": "includeThoughts",
}

# OpenAI's fields that keep their meaning under another name.
_CONFIG_NAMES = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
# Google's own fields, which a client may send through.
NATIVE_PARAMS = frozenset(
    {"cachedContent", "labels", "safetySettings", "serviceTier", "systemInstruction", "toolConfig"}
)
# OpenAI's fields without a counterpart.
UNTRANSLATABLE = frozenset(
    {
        "audio",
        "logit_bias",
        "metadata",
        "moderation",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "user",
        "verbosity",
        "web_search_options",
    }
)
# Fields that the steps below read.
_TRANSLATED = frozenset(
    {
        *_CONFIG_NAMES,
        "cached_content",
        "extra_body",
        "function_call",
        "functions",
        "generationConfig",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "model",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "service_tier",
        "stop",
        "stream",
        "stream_options",
        "tool_choice",
        "tools",
        "top_logprobs",
    }
)
_SERVICE_TIERS = {"default": "STANDARD", "flex": "FLEX", "priority": "PRIORITY"}
_MODES = {"none": "NONE", "auto": "AUTO", "required": "ANY", "named": "ANY"}


class _Job(NamedTuple):
    """What a step works on: the client's body, the one to send, its settings, what was lost."""

    asked: dict[str, Any]
    sent: dict[str, Any]
    config: dict[str, Any]
    dropped: list[str]
    endpoint: Endpoint

    def lose(self, name: str, value: Any) -> None:
        if is_a_loss(name, value):
            self.dropped.append(name)


def build_body(call: ChatCall, endpoint: Endpoint) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body to send and the names of parameters that were left out.

    Raises UpstreamError(CLIENT) where leaving something out would change what is asked.
    """
    quirks: Quirks = endpoint.provider.quirks
    asked = {**quirks.default_params, **call.body}
    dropped = [name for name in quirks.drop_params if is_a_loss(name, asked.pop(name, None))]
    config = dict(dict_of(asked.get("generationConfig")))
    job = _Job(asked, {}, config, dropped, endpoint)
    _pass_through(job, quirks)
    for step in _STEPS:
        step(job)
    if job.config:
        job.sent["generationConfig"] = job.config
    return job.sent, named(job.dropped)


def request_path(endpoint: Endpoint, *, stream: bool) -> str:
    """Below a base URL that ends in the API version. Streams come as events only when asked."""
    kind, slash, name = endpoint.upstream_model.partition("/")
    if not slash or kind not in _COLLECTIONS:
        kind, name = "models", endpoint.upstream_model
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    prefix = endpoint.provider.quirks.chat_path
    place = f"{kind}/{quote(name, safe='')}"
    return f"{'' if prefix == PLAIN.chat_path else prefix}/{place}:{method}"


def _pass_through(job: _Job, quirks: Quirks) -> None:
    """Native fields, and unknown ones unless the provider is known to refuse them."""
    for name, value in job.asked.items():
        if name in _TRANSLATED or value is None:
            continue
        is_known = name in NATIVE_PARAMS or name in quirks.known_params
        if name in UNTRANSLATABLE:
            job.lose(name, value)
        elif is_known or not quirks.strict_unknown:
            job.sent[name] = value
        else:
            job.dropped.append(name)


def _put_contents(job: _Job) -> None:
    system, contents = system_and_contents(job.asked, job.endpoint)
    job.sent["contents"] = contents
    if system:
        job.sent["systemInstruction"] = {"parts": system}


def _note_cache_marks(job: _Job) -> None:
    """There is no mark: what begins alike is cached unasked, or beforehand as `cachedContent`."""
    messages = dicts_in(job.asked.get("messages"))
    parts = [part for message in messages for part in dicts_in(message.get("content"))]
    tools = dicts_in(job.asked.get("tools"))
    functions = [dict_of(tool.get("function")) for tool in tools]
    places = {"messages": messages, "messages.content": parts, "tools": [*tools, *functions]}
    for place, items in places.items():
        if any(item.get(CACHE_MARK) for item in items):
            job.dropped.append(f"{place}.{CACHE_MARK}")


def _put_googles_own(job: _Job) -> None:
    """As Google's own OpenAI dialect takes it: under `extra_body.google`."""
    extra = job.asked.get("extra_body")
    google = dict(dict_of(dict_of(extra).get("google")))
    cached = google.pop("cached_content", None) or job.asked.get("cached_content")
    if cached:
        job.sent["cachedContent"] = cached
    thinking = dict_of(google.pop("thinking_config", None))
    if thinking:
        known = {_THINKING_NAMES.get(name, name): value for name, value in thinking.items()}
        job.config["thinkingConfig"] = known
    if extra is not None and not isinstance(extra, dict):
        job.dropped.append("extra_body")
    job.dropped.extend(f"extra_body.{name}" for name in dict_of(extra) if name != "google")
    job.dropped.extend(f"extra_body.google.{name}" for name in google)


def _put_config(job: _Job) -> None:
    for name, theirs in _CONFIG_NAMES.items():
        if job.asked.get(name) is not None:
            job.config[theirs] = job.asked[name]
    limit = max_tokens_of(job.asked)
    if limit is not None:
        job.config["maxOutputTokens"] = limit
    stops = [stop for stop in stop_list(job.asked) if stop]
    most = job.endpoint.provider.quirks.stop_max or STOP_MAX
    if len(stops) > most:
        refuse(job.endpoint, "stop", f"takes at most {most} stop sequences")
    if stops:
        job.config["stopSequences"] = stops
    if job.asked.get("logprobs") is True:
        job.config["responseLogprobs"] = True
        if type(job.asked.get("top_logprobs")) is int:
            job.config["logprobs"] = job.asked["top_logprobs"]
    else:
        job.lose("top_logprobs", job.asked.get("top_logprobs"))
    modalities = [str(m).upper() for m in list_of(job.asked.get("modalities"))]
    if modalities:
        job.config["responseModalities"] = modalities


def _put_tier(job: _Job) -> None:
    tier = job.asked.get("service_tier")
    if isinstance(tier, str) and tier in _SERVICE_TIERS:
        job.sent["serviceTier"] = _SERVICE_TIERS[tier]
    elif tier not in (None, "auto"):
        job.dropped.append("service_tier")


def _put_tools(job: _Job) -> None:
    if job.asked.get("functions") or job.asked.get("function_call"):
        refuse(job.endpoint, "functions", "takes `tools` instead of the older `functions`")
    tools = dicts_in(job.asked.get("tools"))
    declared = [_declaration(tool, job.endpoint) for tool in tools if not _is_native(tool)]
    native = [tool for tool in tools if _is_native(tool)]
    wish = tool_wish(job.asked)
    if wish.mode == "auto" and wish.names:
        declared = [tool for tool in declared if tool["name"] in wish.names]
    made = ([{"functionDeclarations": declared}] if declared else []) + native
    if made:
        job.sent["tools"] = made
        _put_tool_choice(job, wish)


def _is_native(tool: Part) -> bool:
    """Google's own tools (`{"googleSearch": {}}`) have no `type`."""
    return "type" not in tool and "function" not in tool


def _declaration(tool: Part, endpoint: Endpoint) -> Part:
    function = tool.get("function")
    if not isinstance(function, dict):
        refuse(endpoint, "tools", "takes function tools only")
    made: Part = {"name": function.get("name")}
    if function.get("description"):
        made["description"] = function["description"]
    if function.get("parameters"):
        made["parametersJsonSchema"] = function["parameters"]
    return made


def _put_tool_choice(job: _Job, wish: ToolWish) -> None:
    if wish.mode not in _MODES:
        return
    config: dict[str, Any] = {"mode": _MODES[wish.mode]}
    if config["mode"] == "ANY" and wish.names:
        config["allowedFunctionNames"] = list(wish.names)
    job.sent["toolConfig"] = {
        **dict_of(job.sent.get("toolConfig")),
        "functionCallingConfig": config,
    }


def _put_thinking(job: _Job) -> None:
    """Generation 2 takes a budget of tokens, later ones take a level."""
    effort = effort_of(job.asked)
    if not effort or "thinkingConfig" in job.config:
        return
    thinking: dict[str, Any] = {"includeThoughts": effort != "none"}
    if job.endpoint.upstream_model.removeprefix("models/").startswith("gemini-2"):
        thinking["thinkingBudget"] = THINKING_BUDGETS.get(effort, MOST_THINKING)
    else:
        thinking["thinkingLevel"] = _THINKING_LEVELS.get(effort, effort.upper())
    job.config["thinkingConfig"] = thinking


def _put_format(job: _Job) -> None:
    kind = response_format_kind(job.asked)
    if kind not in ("json_object", "json_schema"):
        return
    job.config["responseMimeType"] = "application/json"
    schema = schema_of(job.asked)
    if kind == "json_schema" and schema:
        job.config["responseJsonSchema"] = schema


_STEPS: tuple[Callable[[_Job], None], ...] = (
    _put_contents,
    _note_cache_marks,
    _put_googles_own,
    _put_config,
    _put_tier,
    _put_tools,
    _put_thinking,
    _put_format,
)
