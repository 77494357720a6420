"""Tools and the choice among them: this dialect has them flat, chat has them in envelopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from routing.adapters.jsonio import dict_of, text_of
from routing.surfaces.openai_envelope import refusal

Tool = dict[str, Any]

MOST_KIND_CHARS = 60
_WORDS = ("none", "auto", "required")
# Fields of a function that only OpenAI's own service acts on, with the value that asks for nothing.
_SERVICE_FIELDS = ("defer_loading", "allowed_callers", "output_schema", "async")


class ChatTools(NamedTuple):
    tools: list[Tool]
    uncarried: set[str]  # fields that chat has no word for
    builtin: set[str]  # tools that a provider runs itself, which chat has no word for either


def chat_tools(body: dict[str, Any]) -> ChatTools:
    """Raises HubError 400."""
    tools = body.get("tools")
    if tools is None:
        return ChatTools([], set(), set())
    if not isinstance(tools, list):
        raise refusal("tools", "'tools' must be a list", "invalid_type")
    read = ChatTools([], set(), set())
    for i, tool in enumerate(tools):
        kind = _kind_of(tool, f"tools[{i}]")
        if kind not in _TOOLS:
            read.builtin.add(f"tools.{kind[:MOST_KIND_CHARS]}")
            continue
        read.tools.append(_chat_tool(tool, f"tools[{i}]"))
        read.uncarried.update(f"tools.{field}" for field in _SERVICE_FIELDS if tool.get(field))
    return read


def _kind_of(tool: Any, place: str) -> str:
    if not isinstance(tool, dict):
        raise refusal(place, f"'{place}' must be an object", "invalid_type")
    kind = tool.get("type")
    if not isinstance(kind, str) or not kind:
        raise refusal(
            f"{place}.type",
            f"'{place}.type' must name a kind of tool: function, custom, or one of those that a "
            "provider runs itself, such as web_search",
            "invalid_type",
        )
    return kind


def _chat_tool(tool: Tool, place: str) -> Tool:
    translate = _TOOLS[tool["type"]]
    if not text_of(tool.get("name")):
        raise refusal(f"{place}.name", f"'{place}.name' must be the tool's name", "invalid_type")
    return translate(tool, place)


def _function(tool: Tool, place: str) -> Tool:
    parameters = tool.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise refusal(
            f"{place}.parameters", f"'{place}.parameters' must be a JSON schema", "invalid_type"
        )
    fields = ("name", "description", "parameters", "strict")
    function = {name: tool[name] for name in fields if tool.get(name) is not None}
    known = {"type", *fields, *_SERVICE_FIELDS}
    own = {name: value for name, value in tool.items() if name not in known}  # e.g. cache_control
    return {"type": "function", "function": function, **own}


def _custom(tool: Tool, place: str) -> Tool:
    custom = {name: tool[name] for name in ("name", "description") if tool.get(name) is not None}
    form = dict_of(tool.get("format"))
    if form.get("type") == "grammar":
        grammar = {name: form.get(name) for name in ("syntax", "definition")}
        custom["format"] = {"type": "grammar", "grammar": grammar}
    elif form:
        custom["format"] = form
    return {"type": "custom", "custom": custom}


_TOOLS: dict[str, Callable[[Tool, str], Tool]] = {"function": _function, "custom": _custom}


def chat_choice(choice: Any, read: ChatTools) -> Any:
    """None when chat needs no word of it, or has none: a choice among built-in tools is for the
    provider that runs them to judge. Raises HubError 400."""
    if choice is None or (read.builtin and not isinstance(choice, str)):
        return None
    if isinstance(choice, str):
        return _word(choice, read)
    kind = text_of(dict_of(choice).get("type"))
    translate = _CHOICES.get(kind)
    if translate is None:
        named = f"names the tool {kind[:MOST_KIND_CHARS]!r}, which is not in 'tools'"
        wanted = "must be none, auto, required, or an object that names one of 'tools'"
        raise refusal("tool_choice", f"'tool_choice' {named if kind else wanted}")
    return translate(choice, read.tools)


def _word(word: str, read: ChatTools) -> str | None:
    if word not in _WORDS:
        raise refusal("tool_choice", f"'tool_choice' must be one of {', '.join(_WORDS)}")
    if word == "required" and not (read.tools or read.builtin):
        raise refusal("tool_choice", "'tool_choice' is required, but there are no 'tools'")
    if word == "required" and read.builtin:
        return None  # one of those may be the one that is called
    return word if read.tools else None


def _named(choice: Tool, tools: list[Tool]) -> Tool:
    kind, name = choice["type"], text_of(choice.get("name"))
    if name not in [dict_of(tool.get(kind)).get("name") for tool in tools]:
        raise refusal("tool_choice", f"'tool_choice' names {name[:80]!r}, which is not in 'tools'")
    return {"type": kind, kind: {"name": name}}


def _allowed(choice: Tool, tools: list[Tool]) -> Tool:
    mode, allowed = choice.get("mode"), choice.get("tools")
    if mode not in ("auto", "required") or not isinstance(allowed, list):
        raise refusal(
            "tool_choice", "'tool_choice' of allowed tools needs a 'mode' and a list of 'tools'"
        )
    named = []
    for tool in allowed:
        kind = text_of(dict_of(tool).get("type"))
        if kind not in _TOOLS:
            raise refusal("tool_choice", "'tool_choice.tools' may name function and custom tools")
        named.append(_named(tool, tools))
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named}}


_CHOICES: dict[str, Callable[[Tool, list[Tool]], Tool]] = {
    "function": _named,
    "custom": _named,
    "allowed_tools": _allowed,
}
