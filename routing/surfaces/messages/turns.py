"""The messages of a request as OpenAI chat messages."""

from __future__ import annotations

from typing import Any

from routing.adapters.anthropic.answers import redacted_detail, thinking_detail
from routing.adapters.anthropic.foreign import is_foreign, unpacked
from routing.adapters.jsonio import dict_of, dicts_in, dumps
from routing.surfaces.messages.blocks import (
    Block,
    Part,
    blocks_at,
    content_of,
    parts_of,
    text_part,
)
from routing.surfaces.messages.fields import at, bad, checked, optional, wanted
from routing.surfaces.messages.losses import Losses

Message = dict[str, Any]


def system_message(system: Any, losses: Losses) -> list[Message]:
    """The `system` field; nothing where it is absent or empty."""
    if system is None:
        return []
    if not isinstance(system, str | list):
        bad("system", "Input should be a string or a list of text blocks")
    return _system(system, "system", losses)


def chat_messages(messages: Any, losses: Losses) -> list[Message]:
    """Raises HubError 400 naming the message and block that is wrong."""
    if not checked(messages, "messages", list):
        bad("messages", "at least one message is required")
    turns: list[Message] = []
    for i, message in enumerate(messages):
        path = at("messages", i)
        role = wanted(checked(message, path, dict), "role", path, str)
        translate = _ROLES.get(role)
        if translate is None:
            bad(at(path, "role"), "Input should be 'user', 'assistant' or 'system'")
        turns += translate(message.get("content"), at(path, "content"), losses)
    return turns


def _system(content: Any, path: str, losses: Losses) -> list[Message]:
    parts: list[Part] = []
    for i, block in enumerate(blocks_at(content, path)):
        if block["type"] != "text":
            bad(at(path, i), "Input should be a text block")
        parts += parts_of(block, at(path, i), losses)
    return [{"role": "system", "content": content_of(parts)}] if parts else []


# --- user ------------------------------------------------------------------------------------


def _user(content: Any, path: str, losses: Losses) -> list[Message]:
    """Results of tools come first and each as its own message; what they show follows them."""
    results: list[Message] = []
    shown: list[Part] = []
    for i, block in enumerate(blocks_at(content, path)):
        if block["type"] == "tool_result":
            result, pictures = _tool_result(block, at(path, i), losses)
            results.append(result)
            shown += pictures
        else:
            shown += parts_of(block, at(path, i), losses)
    said = [{"role": "user", "content": content_of(shown)}] if shown else []
    return [*results, *said]


def _tool_result(block: Block, path: str, losses: Losses) -> tuple[Message, list[Part]]:
    """A tool message takes text only: other parts are for the user message behind it."""
    if block.get("cache_control") is not None:
        losses.hint("cache_control")
    id = wanted(block, "tool_use_id", path, str)
    where = at(path, "content")
    blocks = [] if block.get("content") is None else blocks_at(block["content"], where)
    parts = [p for i, b in enumerate(blocks) for p in parts_of(b, at(where, i), losses)]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    others = [part for part in parts if part["type"] != "text"]
    if others:
        others = [text_part(f"Shown by the tool result {id}:"), *others]
        texts = texts or ["The result is shown in the next message."]
    failed = optional(block, "is_error", path, bool)
    text = _as_failure("\n".join(texts)) if failed else "\n".join(texts)
    return {"role": "tool", "tool_call_id": id, "content": text}, others


def _as_failure(text: str) -> str:
    """Chat has no flag for a failed tool: the text has to say it."""
    return text if text.lower().startswith("error") else f"Error: {text}".strip()


# --- assistant -------------------------------------------------------------------------------


class _Answer:
    """An earlier answer, put together block by block."""

    def __init__(self, losses: Losses) -> None:
        self.losses = losses
        self.parts: list[Part] = []
        self.thoughts: list[str] = []
        self.details: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.cargo: dict[str, Any] = {}  # of another maker, for the next call

    def add(self, block: Block, path: str) -> None:
        take = _ANSWER_BLOCKS.get(block["type"])
        if take is not None:
            take(self, block, path)
            return
        for part in parts_of(block, path, self.losses):
            if part["type"] == "text":
                self.parts.append(part)
            else:
                self.losses.essential(f"content.{block['type']} of the assistant")

    def _add_thinking(self, block: Block, path: str) -> None:
        text = wanted(block, "thinking", path, str)
        self.thoughts.append(text)
        if not is_foreign(block):
            signature = wanted(block, "signature", path, str)
            self.details.append(thinking_detail(self._place(), text, signature))

    def _add_redacted(self, block: Block, path: str) -> None:
        data = wanted(block, "data", path, str)
        if not is_foreign(block):
            self.details.append(redacted_detail(self._place(), data))
            return
        cargo = unpacked(data)
        self.details += dicts_in(cargo.get("reasoning_details"))
        self.cargo |= dict_of(cargo.get("call"))

    def _add_call(self, block: Block, path: str) -> None:
        for name in ("caller", "toolset_name"):
            if block.get(name) is not None:
                self.losses.hint(f"content.tool_use.{name}")
        if block.get("cache_control") is not None:
            self.losses.hint("cache_control")
        function = {
            "name": wanted(block, "name", path, str),
            "arguments": dumps(wanted(block, "input", path, dict)).decode(),
        }
        call = {"id": wanted(block, "id", path, str), "type": "function", "function": function}
        self.calls.append({**call, **self.cargo})
        self.cargo = {}

    def _place(self) -> int:
        return len(self.details) + bool(self.parts)

    def message(self) -> Message | None:
        texts = [part["text"] for part in self.parts]
        extras: dict[str, Any] = {
            "reasoning_content": "\n".join(filter(None, self.thoughts)),
            "reasoning_details": self.details,
            "tool_calls": self.calls,
        }
        kept = {name: value for name, value in extras.items() if value}
        if not texts and not kept:
            return None
        return {"role": "assistant", "content": "".join(texts) or None, **kept}


_ANSWER_BLOCKS = {
    "thinking": _Answer._add_thinking,
    "redacted_thinking": _Answer._add_redacted,
    "tool_use": _Answer._add_call,
}


def _assistant(content: Any, path: str, losses: Losses) -> list[Message]:
    answer = _Answer(losses)
    for i, block in enumerate(blocks_at(content, path)):
        answer.add(block, at(path, i))
    message = answer.message()
    return [message] if message is not None else []


_ROLES = {"user": _user, "assistant": _assistant, "system": _system}
