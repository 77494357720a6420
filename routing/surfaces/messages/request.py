"""A Messages request as an OpenAI chat request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from routing.adapters.jsonio import dict_of, list_of
from routing.surfaces.messages.fields import at, bad, checked, number, optional, wanted
from routing.surfaces.messages.losses import Losses
from routing.surfaces.messages.turns import chat_messages, system_message

Body = dict[str, Any]

MAX_STOP_SEQUENCES = 10_000
EFFORTS = ("low", "medium", "high", "xhigh", "max")
# From this many tokens of thinking on, the effort is at least that.
_EFFORT_OF_BUDGET = ((16_384, "high"), (4_096, "medium"), (0, "low"))
_SERVICE_TIERS = {"auto": "auto", "standard_only": "default"}
_THINKING_KINDS = ("enabled", "adaptive", "between_tools", "disabled")

# Taken over as they are: the hub's own, and what hosts of open models have under the same name.
_AS_THEY_ARE = ("model", "provider", "models", "top_k")
# Fields of this dialect alone that shape the answer.
_ESSENTIAL = ("container", "mcp_servers", "prefill")
_NO_LOSSES = (("speed", "standard"),)  # what happens anyway
_READ = frozenset(
    {
        *_AS_THEY_ARE,
        "max_tokens",
        "messages",
        "metadata",
        "output_config",
        "output_format",
        "service_tier",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_p",
    }
)


class Translation(NamedTuple):
    chat: Body
    losses: Losses


class _Job(NamedTuple):
    asked: Body
    chat: Body
    losses: Losses


def to_chat(body: Body) -> Translation:
    """Raises HubError 400 naming the field that is wrong."""
    wanted(body, "max_tokens", "", int)
    return _translated(body, _STEPS)


def prompt_to_chat(body: Body) -> Translation:
    """What counts as input only: a request for a count has no limits and no sampling."""
    return _translated(body, _PROMPT_STEPS)


def _translated(body: Body, steps: tuple[Callable[[_Job], None], ...]) -> Translation:
    wanted(body, "model", "", str)
    job = _Job(body, {}, Losses())
    for name in _AS_THEY_ARE:
        if body.get(name) is not None:
            job.chat[name] = body[name]
    for step in steps:
        step(job)
    return Translation(job.chat, job.losses)


def _put_messages(job: _Job) -> None:
    job.chat["messages"] = [
        *system_message(job.asked.get("system"), job.losses),
        *chat_messages(job.asked.get("messages"), job.losses),
    ]


def _put_limits(job: _Job) -> None:
    """A limit of 0 only warms the provider's cache, which chat has no word for."""
    limit: int = job.asked["max_tokens"]
    if limit < 0:
        bad("max_tokens", "Input should be greater than or equal to 0")
    if limit == 0:
        job.losses.essential("max_tokens")
    job.chat["max_tokens"] = max(limit, 1)
    stops = optional(job.asked, "stop_sequences", "", list) or []
    if len(stops) > MAX_STOP_SEQUENCES:
        bad("stop_sequences", f"Input should have at most {MAX_STOP_SEQUENCES} items")
    for i, stop in enumerate(stops):
        if not checked(stop, at("stop_sequences", i), str).strip():
            bad(at("stop_sequences", i), "each stop sequence must contain non-whitespace")
    if stops:
        job.chat["stop"] = stops


def _put_sampling(job: _Job) -> None:
    optional(job.asked, "top_k", "", int)
    for name in ("temperature", "top_p"):
        value = number(job.asked, name, 0, 1)
        if value is not None:
            job.chat[name] = value


def _put_caller(job: _Job) -> None:
    metadata = optional(job.asked, "metadata", "", dict) or {}
    user = optional(metadata, "user_id", "metadata", str)
    if user:
        job.chat["user"] = user
    tier = optional(job.asked, "service_tier", "", str)
    if tier in _SERVICE_TIERS:
        job.chat["service_tier"] = _SERVICE_TIERS[tier]
    elif tier is not None:
        bad("service_tier", f"Input should be one of {', '.join(_SERVICE_TIERS)}")


def _put_stream(job: _Job) -> None:
    if optional(job.asked, "stream", "", bool):
        job.chat["stream"] = True
        job.chat["stream_options"] = {"include_usage": True}


# --- tools -----------------------------------------------------------------------------------


def _put_tools(job: _Job) -> None:
    tools = optional(job.asked, "tools", "", list) or []
    made = [_tool(tool, at("tools", i), job.losses) for i, tool in enumerate(tools)]
    carried = [tool for tool in made if tool is not None]
    if carried:
        job.chat["tools"] = carried
    choice = optional(job.asked, "tool_choice", "", dict)
    if choice is not None:
        _put_choice(choice, job)


_TOOL_HINTS = ("allowed_callers", "defer_loading", "eager_input_streaming", "input_examples")


def _tool(tool: Any, path: str, losses: Losses) -> Body | None:
    """None for a tool that runs at the provider."""
    kind = optional(checked(tool, path, dict), "type", path, str) or "custom"
    if kind != "custom":
        losses.essential(f"tools.{kind}")
        return None
    if tool.get("cache_control") is not None:
        losses.hint("cache_control")
    for name in _TOOL_HINTS:
        if tool.get(name):
            losses.hint(f"tools.{name}")
    function: Body = {"name": wanted(tool, "name", path, str)}
    description = optional(tool, "description", path, str)
    if description:
        function["description"] = description
    function["parameters"] = wanted(tool, "input_schema", path, dict)
    if optional(tool, "strict", path, bool):
        _be_strict(function, function["parameters"], "tools.strict", losses)
    return {"type": "function", "function": function}


def _put_choice(choice: Body, job: _Job) -> None:
    kind = wanted(choice, "type", "tool_choice", str)
    if kind == "tool":
        name = wanted(choice, "name", "tool_choice", str)
        chosen: Any = {"type": "function", "function": {"name": name}}
    elif kind in _CHOICES:
        chosen = _CHOICES[kind]
    else:
        bad("tool_choice.type", "Input should be 'auto', 'any', 'tool' or 'none'")
    if "tools" not in job.chat:
        return  # chat refuses a choice among no tools
    job.chat["tool_choice"] = chosen
    if optional(choice, "disable_parallel_tool_use", "tool_choice", bool):
        job.chat["parallel_tool_calls"] = False


_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


# --- thinking and form -----------------------------------------------------------------------


def _put_thinking(job: _Job) -> None:
    thinking = optional(job.asked, "thinking", "", dict) or {}
    effort = _effort_of_config(job)
    if thinking:
        effort = _effort_of_thinking(thinking, job, effort)
    if effort:
        job.chat["reasoning_effort"] = effort


def _effort_of_config(job: _Job) -> str:
    config = optional(job.asked, "output_config", "", dict) or {}
    effort: str = optional(config, "effort", "output_config", str) or ""
    if effort and effort not in EFFORTS:
        bad("output_config.effort", f"Input should be one of {', '.join(EFFORTS)}")
    return effort


def _effort_of_thinking(thinking: Body, job: _Job, effort: str) -> str:
    kind = wanted(thinking, "type", "thinking", str)
    if kind not in _THINKING_KINDS:
        bad("thinking.type", f"Input should be one of {', '.join(_THINKING_KINDS)}")
    if optional(thinking, "display", "thinking", str) == "omitted":
        job.losses.hint("thinking.display")
    if kind == "disabled":
        return "none"
    if kind == "enabled":
        return effort or _effort_of_budget(wanted(thinking, "budget_tokens", "thinking", int))
    return effort


def _effort_of_budget(budget: int) -> str:
    return next((effort for floor, effort in _EFFORT_OF_BUDGET if budget >= floor), "low")


def _put_format(job: _Job) -> None:
    config = dict_of(job.asked.get("output_config"))
    path = "output_config.format" if config.get("format") is not None else "output_format"
    form = optional(config, "format", "output_config", dict)
    if form is None:
        form = optional(job.asked, "output_format", "", dict)
    if form is None:
        return
    if form.get("type") != "json_schema":
        bad(at(path, "type"), "Input should be 'json_schema'")
    named: Body = {"name": "answer", "schema": wanted(form, "schema", path, dict)}
    _be_strict(named, named["schema"], f"{path}.strict", job.losses)
    job.chat["response_format"] = {"type": "json_schema", "json_schema": named}


def _be_strict(holder: Body, schema: Body, name: str, losses: Losses) -> None:
    """Chat's strictness takes closed schemas without optional properties only."""
    if is_closed(schema):
        holder["strict"] = True
    else:
        losses.hint(name)


def is_closed(schema: Any) -> bool:
    """Does every object in it require all its properties and allow no others?"""
    if isinstance(schema, list):
        return all(map(is_closed, schema))
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if isinstance(properties, dict) or schema.get("type") == "object":
        names = set(dict_of(properties))
        required = {name for name in list_of(schema.get("required")) if isinstance(name, str)}
        if schema.get("additionalProperties") is not False or required != names:
            return False
    return all(map(is_closed, schema.values()))


def _note_the_rest(job: _Job) -> None:
    for name, value in job.asked.items():
        if name in _READ or value is None or (name, value) in _NO_LOSSES:
            continue
        if name in _ESSENTIAL:
            job.losses.essential(name)
        else:
            job.losses.hint(name)


_PROMPT_STEPS: tuple[Callable[[_Job], None], ...] = (_put_messages, _put_tools, _put_format)
_STEPS: tuple[Callable[[_Job], None], ...] = (
    _put_messages,
    _put_limits,
    _put_sampling,
    _put_caller,
    _put_stream,
    _put_tools,
    _put_thinking,
    _put_format,
    _note_the_rest,
)
