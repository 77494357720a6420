"""Anthropic's answers as OpenAI chat completions, whole and streamed."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from routing.adapters import sse
from routing.adapters.anthropic.citations import citations_in, cited_fields
from routing.adapters.base import ChatCall, StreamReader
from routing.adapters.chunks import tool_call
from routing.adapters.jsonio import dict_of, dicts_in, dumps, loads, text_of
from routing.adapters.stream import TranslatedStream
from routing.adapters.usage import anthropic_usage
from routing.core.catalog import Endpoint

FINISH_WORDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
CARRIED = ("text", "thinking", "redacted_thinking", "tool_use")
REASONING_FORMAT = "anthropic-claude-v1"


def finish_word(stop_reason: Any) -> str:
    return FINISH_WORDS.get(text_of(stop_reason), "stop")


def thinking_detail(index: int, text: str, signature: str) -> dict[str, Any]:
    """Carries the signature through an OpenAI-shaped client, which sends it back as it is."""
    detail: dict[str, Any] = {"type": "reasoning.text", "text": text, "format": REASONING_FORMAT}
    return {**detail, "index": index, "signature": signature}


def redacted_detail(index: int, data: str) -> dict[str, Any]:
    return {
        "type": "reasoning.encrypted",
        "data": data,
        "format": REASONING_FORMAT,
        "index": index,
    }


def message_from(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """An assistant message from content blocks. Blocks of server tools are not carried over."""
    texts, thoughts, details, calls = [], [], [], []
    for index, block in enumerate(block for block in blocks if block.get("type") in CARRIED):
        kind = block.get("type")
        if kind == "text":
            texts.append(text_of(block.get("text")))
        elif kind == "thinking":
            thoughts.append(text_of(block.get("thinking")))
            details.append(thinking_detail(index, thoughts[-1], text_of(block.get("signature"))))
        elif kind == "redacted_thinking":
            details.append(redacted_detail(index, text_of(block.get("data"))))
        elif kind == "tool_use":
            arguments = dumps(dict_of(block.get("input"))).decode()
            name, id = text_of(block.get("name")), text_of(block.get("id"))
            calls.append(tool_call(None, id, name, arguments))
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or None}
    extras = {
        "reasoning_content": "".join(thoughts),
        "reasoning_details": details,
        "tool_calls": calls,
        **citations_in(blocks),
    }
    return {**message, **{name: value for name, value in extras.items() if value}}


class CumulativeUsage:
    """Counts of later events replace those of earlier ones, field by field."""

    __slots__ = ("raw",)

    def __init__(self) -> None:
        self.raw: dict[str, Any] = {}

    def take(self, holder: dict[str, Any], reader: StreamReader) -> None:
        """Nothing changes where the event says nothing of usage."""
        fresh = {k: v for k, v in dict_of(holder.get("usage")).items() if v is not None}
        if fresh:
            self.raw |= fresh
            reader.usage = anthropic_usage(self.raw)
            reader.usage_raw = dumps(self.raw)


class AnthropicStream(TranslatedStream):
    """Blocks come strictly one after the other; each kind has its own opening and closing."""

    def __init__(self, call: ChatCall, endpoint: Endpoint, created: int) -> None:
        super().__init__(call, endpoint, created)
        self._usage = CumulativeUsage()
        self._calls = 0  # tool calls opened so far
        self._kind = ""  # of the open block
        self._block_index = -1  # of the open block, among those that are carried over
        self._arguments_sent = False
        self._thinking: list[str] = []
        self._signature = ""
        self._text_chars = 0
        self._text_start = 0  # of the open block, in all of the text
        self._citations: list[Any] = []

    @override
    def _on_frame(self, frame: sse.Frame) -> bytes:
        event = dict_of(loads(frame.data))
        kind = text_of(event.get("type")) or frame.name.decode("utf-8", "replace")
        if kind == "error" or event.get("error"):
            return self._refuse(event)
        handlers = {
            "message_start": self._on_message_start,
            "content_block_start": self._on_block_start,
            "content_block_delta": self._on_delta,
            "content_block_stop": self._on_block_stop,
            "message_delta": self._on_message_delta,
            "message_stop": self._on_message_stop,
        }
        if kind == "ping":
            return sse.KEEP_ALIVE if self.content_started else b""
        handler = handlers.get(kind)
        return handler(event) if handler else b""  # new event kinds may appear at any time

    def _on_message_start(self, event: dict[str, Any]) -> bytes:
        message = dict_of(event.get("message"))
        self.response_model = text_of(message.get("model"))
        self._write.id = text_of(message.get("id"))
        self._write.model = self.response_model or self._write.model
        self._usage.take(message, self)
        return self._write.delta({"role": "assistant", "content": ""})

    def _on_block_start(self, event: dict[str, Any]) -> bytes:
        block = dict_of(event.get("content_block"))
        self._kind = text_of(block.get("type"))
        self._block_index += self._kind in CARRIED
        self._thinking, self._signature, self._arguments_sent = [], "", False
        self._text_start, self._citations = self._text_chars, []
        if self._kind == "tool_use":
            return self._open_call(block)
        if self._kind == "redacted_thinking":
            detail = redacted_detail(self._block_index, text_of(block.get("data")))
            self._count(0, is_answer=False)
            return self._write.delta({"reasoning_details": [detail]})
        return self._text(text_of(block.get("text"))) + self._thought(
            text_of(block.get("thinking"))
        )

    def _open_call(self, block: dict[str, Any]) -> bytes:
        name, given = text_of(block.get("name")), dict_of(block.get("input"))
        arguments = dumps(given).decode() if given else ""
        self._arguments_sent = bool(arguments)
        self._count(len(name) + len(arguments), is_answer=True)
        call = tool_call(self._calls, text_of(block.get("id")), name, arguments)
        self._calls += 1
        return self._write.delta({"tool_calls": [call]})

    def _on_delta(self, event: dict[str, Any]) -> bytes:
        delta = dict_of(event.get("delta"))
        kind = delta.get("type")
        if kind == "text_delta":
            return self._text(text_of(delta.get("text")))
        if kind == "thinking_delta":
            return self._thought(text_of(delta.get("thinking")))
        if kind == "citations_delta":
            self._citations.append(delta.get("citation"))
        elif kind == "signature_delta":
            self._signature += text_of(delta.get("signature"))
        elif kind == "input_json_delta" and self._kind == "tool_use":
            return self._arguments(text_of(delta.get("partial_json")))
        return b""

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        self._count(len(text), is_answer=True)
        self._text_chars += len(text)
        return self._write.delta({"content": text})

    def _thought(self, text: str) -> bytes:
        if not text:
            return b""
        self._thinking.append(text)
        self._count(len(text), is_answer=False)
        return self._write.delta({"reasoning_content": text})

    def _arguments(self, piece: str) -> bytes:
        if not piece:
            return b""
        self._arguments_sent = True
        self._count(len(piece), is_answer=True)
        call = {"index": self._calls - 1, "function": {"arguments": piece}}
        return self._write.delta({"tool_calls": [call]})

    def _on_block_stop(self, event: dict[str, Any]) -> bytes:
        kind, self._kind = self._kind, ""
        if kind == "tool_use" and not self._arguments_sent:
            return self._arguments("{}")  # a tool without arguments sends none, not even braces
        if kind == "thinking" and self._signature:
            text = "".join(self._thinking)
            detail = thinking_detail(self._block_index, text, self._signature)
            return self._write.delta({"reasoning_details": [detail]})
        return self._cited()

    def _cited(self) -> bytes:
        fields = cited_fields(self._citations, self._text_start, self._text_chars)
        return self._write.delta(fields) if fields else b""

    def _on_message_delta(self, event: dict[str, Any]) -> bytes:
        self._usage.take(event, self)
        stop_reason = dict_of(event.get("delta")).get("stop_reason")
        if not stop_reason or self.finish_reason:
            return b""
        self.finish_reason = finish_word(stop_reason)
        return self._write.finish(self.finish_reason)

    def _on_message_stop(self, event: dict[str, Any]) -> bytes:
        return self._finish() if self._ended() else self._truncated()

    @override
    def _ended(self) -> bool:
        return bool(self.finish_reason)


def blocks_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return dicts_in(document.get("content"))
