"""A client's chat request as an Anthropic Messages request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from routing.adapters.anthropic.messages import Block, system_and_messages
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
from routing.adapters.jsonio import dict_of, dicts_in, dig, list_of, text_of
from routing.adapters.left_out import named
from routing.adapters.quirks import Quirks
from routing.core.catalog import Endpoint

FALLBACK_MAX_TOKENS = 4096  # the field is mandatory there, and the catalog may not know
MOST_TEMPERATURE = 1
_FORCING = ("required", "named")

# Anthropic's own fields, which a client may send through.
NATIVE_PARAMS = frozenset(
    {
        "cache_control",
        "container",
        "context_management",
        "diagnostics",
        "inference_geo",
        "mcp_servers",
        "output_config",
        "prefill",
        "speed",
        "stop_sequences",
        "system",
        "thinking",
        "top_k",
    }
)
# OpenAI's fields without a counterpart.
UNTRANSLATABLE = frozenset(
    {
        "audio",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "modalities",
        "moderation",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "seed",
        "store",
        "top_logprobs",
        "verbosity",
        "web_search_options",
    }
)
# Fields that the steps below read.
_TRANSLATED = frozenset(
    {
        "betas",
        "function_call",
        "functions",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "n",
        "parallel_tool_calls",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "service_tier",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
        "user",
    }
)
_SERVICE_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}


class _Job(NamedTuple):
    """What a step works on: the client's body, the one to send, and what was lost."""

    asked: dict[str, Any]
    sent: dict[str, Any]
    dropped: list[str]
    endpoint: Endpoint

    def lose(self, name: str, value: Any) -> None:
        if is_a_loss(name, value):
            self.dropped.append(name)


def build_body(call: ChatCall, endpoint: Endpoint) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body to send and the names of parameters that were left out or had to be changed.

    Raises UpstreamError(CLIENT) where leaving something out would change what is asked.
    """
    quirks: Quirks = endpoint.provider.quirks
    asked = {**quirks.default_params, **call.body}
    dropped = [name for name in quirks.drop_params if is_a_loss(name, asked.pop(name, None))]
    job = _Job(asked, {"model": endpoint.upstream_model}, dropped, endpoint)
    _pass_through(job, quirks)
    for step in _STEPS:
        step(job)
    if call.stream:
        job.sent["stream"] = True
    return job.sent, named(job.dropped)


def betas_of(body: dict[str, Any]) -> str:
    """Values for the `anthropic-beta` header, from the `betas` field as in Anthropic's SDK."""
    betas = [beta for beta in list_of(body.get("betas")) if isinstance(beta, str)]
    return ",".join(beta for beta in betas if beta.isascii() and beta.isprintable())


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


def _put_messages(job: _Job) -> None:
    system, messages = system_and_messages(job.asked, job.endpoint)
    job.sent["messages"] = messages
    if len(system) == 1 and not system[0].get("cache_control"):
        job.sent["system"] = system[0]["text"]
    elif system:
        job.sent["system"] = system


def _put_limits(job: _Job) -> None:
    limit = max_tokens_of(job.asked) or job.endpoint.max_output_tokens or FALLBACK_MAX_TOKENS
    job.sent["max_tokens"] = limit
    n = job.asked.get("n")
    if type(n) is int and n > 1:
        refuse(job.endpoint, "n", "gives one answer per request")
    stops = stop_list(job.asked)
    usable = [stop for stop in stops if stop.strip()]
    if usable:
        job.sent["stop_sequences"] = usable
    if len(usable) < len(stops):
        job.dropped.append("stop")


def _put_sampling(job: _Job) -> None:
    temperature = job.asked.get("temperature")
    if isinstance(temperature, int | float) and temperature > MOST_TEMPERATURE:
        temperature = MOST_TEMPERATURE
        job.dropped.append("temperature")
    if temperature is not None:
        job.sent["temperature"] = temperature
    if job.asked.get("top_p") is not None:
        job.sent["top_p"] = job.asked["top_p"]


def _put_caller(job: _Job) -> None:
    metadata = dict_of(job.asked.get("metadata"))
    user = metadata.get("user_id") or job.asked.get("user") or job.asked.get("safety_identifier")
    if isinstance(user, str):
        job.sent["metadata"] = {"user_id": user}
    if metadata.keys() - {"user_id"}:
        job.dropped.append("metadata")
    tier = job.asked.get("service_tier")
    if isinstance(tier, str) and tier in _SERVICE_TIERS:
        job.sent["service_tier"] = _SERVICE_TIERS[tier]
    elif tier is not None:
        job.dropped.append("service_tier")


def _put_tools(job: _Job) -> None:
    if job.asked.get("functions") or job.asked.get("function_call"):
        refuse(job.endpoint, "functions", "takes `tools` instead of the older `functions`")
    wish = tool_wish(job.asked)
    tools = [_tool(tool, job.endpoint) for tool in dicts_in(job.asked.get("tools"))]
    if wish.names and wish.mode != "named":
        tools = [tool for tool in tools if tool.get("name") in wish.names]
    if not tools:
        return
    job.sent["tools"] = tools
    choice = _tool_choice(wish)
    if job.asked.get("parallel_tool_calls") is False and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    if choice:
        job.sent["tool_choice"] = choice


def _tool(tool: Block, endpoint: Endpoint) -> Block:
    """A tool that is neither a function nor OpenAI's custom kind is the provider's own."""
    function = tool.get("function")
    if tool.get("type") == "custom" and "custom" in tool:
        refuse(endpoint, "tools", "takes function tools, not custom ones")
    if not isinstance(function, dict):
        return tool
    schema = dict_of(function.get("parameters")) or {"type": "object", "properties": {}}
    made: Block = {"name": function.get("name"), "input_schema": schema}
    for field in ("description", "strict"):
        if function.get(field):
            made[field] = function[field]
    cache = tool.get("cache_control") or function.get("cache_control")
    return {**made, "cache_control": cache} if cache else made


def _tool_choice(wish: ToolWish) -> Block:
    if wish.mode in _FORCING and len(wish.names) == 1:
        return {"type": "tool", "name": wish.names[0]}
    kinds = {"none": "none", "auto": "auto", "required": "any"}
    return {"type": kinds[wish.mode]} if wish.mode in kinds else {}


def _put_thinking(job: _Job) -> None:
    effort = effort_of(job.asked)
    if "thinking" not in job.sent and effort:
        _set_effort(job, effort)
    kind = dig(job.sent, "thinking.type")
    if kind in (None, "disabled"):
        return
    for name, is_allowed in _BESIDE_THINKING.items():
        if name in job.sent and not is_allowed(job.sent[name]):
            del job.sent[name]
            job.dropped.append(name)


_BESIDE_THINKING: dict[str, Callable[[Any], bool]] = {
    "temperature": lambda value: value == 1,
    "top_p": lambda value: isinstance(value, int | float) and value >= 0.95,
    "top_k": lambda value: False,
}


def _set_effort(job: _Job, effort: str) -> None:
    """Thinking cannot stand beside a forced tool; the effort still can."""
    if effort == "none":
        job.sent["thinking"] = {"type": "disabled"}
        return
    level = "low" if effort == "minimal" else effort
    job.sent["output_config"] = {**dict_of(job.sent.get("output_config")), "effort": level}
    if tool_wish(job.asked).mode not in _FORCING:
        job.sent["thinking"] = {"type": "adaptive"}


def _put_format(job: _Job) -> None:
    kind = response_format_kind(job.asked)
    if kind in ("", "text"):
        return
    schema = schema_of(job.asked)
    if kind != "json_schema" or not schema:
        refuse(job.endpoint, "response_format", "answers by a JSON schema, not in free JSON mode")
    form = {"type": "json_schema", "schema": schema}
    job.sent["output_config"] = {**dict_of(job.sent.get("output_config")), "format": form}


_STEPS: tuple[Callable[[_Job], None], ...] = (
    _put_messages,
    _put_limits,
    _put_sampling,
    _put_caller,
    _put_tools,
    _put_thinking,
    _put_format,
)


def model_path(endpoint: Endpoint) -> str:
    """`/v1/messages` below the provider's base URL, whether that ends in /v1 or not."""
    quirks: Quirks = endpoint.provider.quirks
    if text_of(quirks.chat_path) != Quirks().chat_path:
        return quirks.chat_path
    return "/messages" if endpoint.provider.base_url.rstrip("/").endswith("/v1") else "/v1/messages"
