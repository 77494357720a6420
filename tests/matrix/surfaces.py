"""The client dialects: how each asks, repeats a turn, and is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from tests.matrix.asked import PICTURE_URL, PIXEL, WEATHER, Asked, Body, Call, Said

WEB_SEARCH = {"type": "web_search"}
ANTHROPICS_SEARCH = {"type": "web_search_20250305", "name": "web_search"}
CACHE_MARK = {"cache_control": {"type": "ephemeral"}}
FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "tool_use": "tool_calls",
}


class Surface(Protocol):
    name: str
    title: str
    path: str

    def body(self, model: str, asked: Asked, then: Sequence[Body] = ()) -> Body:
        """`then` follows what was asked: an answer's turn and results of its calls."""
        ...

    def results(self, calls: Sequence[Call], results: Sequence[str]) -> list[Body]: ...

    def read(self, document: Body) -> Said: ...

    def read_stream(self, events: Sequence[tuple[str, str]]) -> Said:
        """Pairs of an event's name and its data."""
        ...

    def error_code(self, document: Body) -> str:
        """Raises KeyError or TypeError where the dialect's envelope is not kept."""
        ...


def present(**fields: Any) -> Body:
    """Without what was not asked for."""
    return {name: value for name, value in fields.items() if value not in (None, "", (), [], {})}


# --- chat ----------------------------------------------------------------------------------------


class Chat:
    name, title, path = "chat", "Chat completions", "/v1/chat/completions"

    def body(self, model: str, asked: Asked, then: Sequence[Body] = ()) -> Body:
        form: Body | None = {"type": "json_object"} if asked.json_mode else None
        if asked.schema:
            named = {"name": "panel", "strict": True, "schema": asked.schema}
            form = {"type": "json_schema", "json_schema": named}
        return present(
            model=model,
            messages=[*self._messages(asked), *then],
            tools=[*map(self._tool, asked.tools), *([WEB_SEARCH] if asked.web_search else [])],
            tool_choice=self._choice(asked),
            parallel_tool_calls=False if asked.one_call_at_most else None,
            response_format=form,
            reasoning_effort=asked.effort,
            stop=list(asked.stop),
            temperature=asked.temperature,
            max_tokens=asked.limit,
            logprobs=asked.logprobs or None,
            seed=asked.seed,
            n=asked.n if asked.n > 1 else None,
            service_tier=asked.tier,
            user=asked.user,
            stream=asked.stream or None,
            stream_options={"include_usage": True} if asked.stream else None,
        )

    def _messages(self, asked: Asked) -> list[Body]:
        found: list[Body] = []
        if asked.system:
            marked = {"type": "text", "text": asked.system, **CACHE_MARK}
            content = [marked] if asked.caches else asked.system
            found.append({"role": "system", "content": content})
        for number, text in enumerate(asked.earlier):
            found.append({"role": ("user", "assistant")[number % 2], "content": text})
        url = f"data:image/png;base64,{PIXEL}" if asked.picture == "inline" else PICTURE_URL
        parts: list[Body] = [
            {"type": "text", "text": asked.text},
            {"type": "image_url", "image_url": {"url": url}},
        ]
        return [*found, {"role": "user", "content": parts if asked.picture else asked.text}]

    def _tool(self, name: str) -> Body:
        return {"type": "function", "function": {"name": name, "parameters": WEATHER}}

    def _choice(self, asked: Asked) -> Any:
        if asked.choice == "named":
            return {"type": "function", "function": {"name": asked.tools[-1]}}
        return asked.choice

    def results(self, calls: Sequence[Call], results: Sequence[str]) -> list[Body]:
        return [
            {"role": "tool", "tool_call_id": call.id, "content": text}
            for call, text in zip(calls, results, strict=True)
        ]

    def read(self, document: Body) -> Said:
        choice = document["choices"][0]
        message = choice["message"]
        usage = document["usage"]
        calls = [
            Call(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls") or ()
        ]
        return Said(
            text=message.get("content") or "",
            calls=calls,
            thought=message.get("reasoning_content") or message.get("reasoning") or "",
            finish=choice["finish_reason"],
            choices=len(document["choices"]),
            logprobs=bool((choice.get("logprobs") or {}).get("content")),
            tier=document.get("service_tier") or "",
            turn=[{name: value for name, value in message.items() if value is not None}],
            ended=True,
            **_openai_usage(usage),
        )

    def read_stream(self, events: Sequence[tuple[str, str]]) -> Said:
        said = Said()
        calls: dict[int, Body] = {}
        numbers = set()
        for _, data in events:
            if data == "[DONE]":
                said.ended = True
                continue
            chunk = json.loads(data)
            said.error = chunk.get("error") or said.error
            for name, value in _openai_usage(chunk.get("usage") or {}).items():
                setattr(said, name, value)
            for choice in chunk.get("choices", ()):
                numbers.add(choice["index"])
                if choice["index"] == 0:
                    self._add(said, calls, choice)
        said.calls = [Call(c["id"], c["name"], c["arguments"]) for c in calls.values()]
        said.choices = len(numbers)
        return said

    def _add(self, said: Said, calls: dict[int, Body], choice: Body) -> None:
        delta = choice.get("delta") or {}
        said.text += delta.get("content") or ""
        said.thought += delta.get("reasoning_content") or delta.get("reasoning") or ""
        said.finish = choice.get("finish_reason") or said.finish
        said.logprobs = said.logprobs or bool((choice.get("logprobs") or {}).get("content"))
        for piece in delta.get("tool_calls") or ():
            call = calls.setdefault(piece["index"], {"id": "", "name": "", "arguments": ""})
            call["id"] = call["id"] or piece.get("id") or ""
            call["name"] = call["name"] or piece["function"].get("name") or ""
            call["arguments"] += piece["function"].get("arguments") or ""

    def error_code(self, document: Body) -> str:
        return str(document["error"]["code"])


def _openai_usage(usage: Body) -> dict[str, int]:
    if not usage:
        return {}
    prompt = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    return {
        "input_tokens": usage.get("prompt_tokens") or usage.get("input_tokens") or 0,
        "output_tokens": usage.get("completion_tokens") or usage.get("output_tokens") or 0,
        "cached_tokens": prompt.get("cached_tokens") or 0,
    }


# --- messages ------------------------------------------------------------------------------------


class Messages:
    name, title, path = "messages", "Anthropic Messages", "/v1/messages"
    _CHOICES = {"required": {"type": "any"}, "none": {"type": "none"}, "": {"type": "auto"}}
    _TIERS = {"default": "standard_only"}

    def body(self, model: str, asked: Asked, then: Sequence[Body] = ()) -> Body:
        config = present(
            effort=asked.effort,
            format={"type": "json_schema", "schema": asked.schema} if asked.schema else None,
        )
        return present(
            model=model,
            max_tokens=asked.limit,
            system=self._system(asked),
            messages=[*self._messages(asked), *then],
            tools=[
                *({"name": name, "input_schema": WEATHER} for name in asked.tools),
                *([ANTHROPICS_SEARCH] if asked.web_search else []),
            ],
            tool_choice=self._choice(asked),
            output_config=config,
            thinking={"type": "adaptive"} if asked.effort else None,
            stop_sequences=list(asked.stop),
            temperature=asked.temperature,
            service_tier=self._TIERS.get(asked.tier, asked.tier),
            metadata={"user_id": asked.user} if asked.user else None,
            stream=asked.stream or None,
            # no words of this dialect: what a client may send all the same
            response_format={"type": "json_object"} if asked.json_mode else None,
            logprobs=asked.logprobs or None,
            seed=asked.seed,
            n=asked.n if asked.n > 1 else None,
        )

    def _system(self, asked: Asked) -> Any:
        return (
            [{"type": "text", "text": asked.system, **CACHE_MARK}] if asked.caches else asked.system
        )

    def _messages(self, asked: Asked) -> list[Body]:
        found: list[Body] = [
            {"role": ("user", "assistant")[number % 2], "content": text}
            for number, text in enumerate(asked.earlier)
        ]
        inline = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        source = inline if asked.picture == "inline" else {"type": "url", "url": PICTURE_URL}
        blocks: list[Body] = [
            {"type": "image", "source": source},
            {"type": "text", "text": asked.text},
        ]
        return [*found, {"role": "user", "content": blocks if asked.picture else asked.text}]

    def _choice(self, asked: Asked) -> Body | None:
        if not asked.tools:
            return None
        if asked.choice == "named":
            made: Body = {"type": "tool", "name": asked.tools[-1]}
        else:
            made = dict(self._CHOICES[asked.choice])
        return {**made, "disable_parallel_tool_use": True} if asked.one_call_at_most else made

    def results(self, calls: Sequence[Call], results: Sequence[str]) -> list[Body]:
        blocks = [
            {"type": "tool_result", "tool_use_id": call.id, "content": text}
            for call, text in zip(calls, results, strict=True)
        ]
        return [{"role": "user", "content": blocks}]

    def read(self, document: Body) -> Said:
        said = Said(finish=_finish(document["stop_reason"]), ended=True)
        said.turn = [{"role": "assistant", "content": document["content"]}]
        for block in document["content"]:
            self._add(said, block)
        self._use(said, document["usage"])
        return said

    def _add(self, said: Said, block: Body) -> None:
        said.searched = said.searched or block["type"] == "server_tool_use"
        if block["type"] == "text":
            said.text += block["text"]
        elif block["type"] == "thinking":
            said.thought += block["thinking"]
        elif block["type"] == "tool_use":
            arguments = json.dumps(block["input"])
            said.calls.append(Call(block["id"], block["name"], arguments))

    def _use(self, said: Said, usage: Body) -> None:
        read = usage.get("cache_read_input_tokens") or 0
        written = usage.get("cache_creation_input_tokens") or 0
        said.input_tokens = (usage.get("input_tokens") or 0) + read + written or said.input_tokens
        said.output_tokens = usage.get("output_tokens") or said.output_tokens
        said.cached_tokens = read or said.cached_tokens
        said.tier = usage.get("service_tier") or said.tier

    def read_stream(self, events: Sequence[tuple[str, str]]) -> Said:
        said = Said(choices=1)
        blocks: list[Body] = []
        parts: list[str] = []
        for _, data in events:
            event = json.loads(data)
            kind = event["type"]
            if kind == "error":
                said.error = event["error"]
            elif kind == "message_start":
                self._use(said, event["message"]["usage"])
            elif kind == "content_block_start":
                blocks.append(dict(event["content_block"]))
                parts.clear()
            elif kind == "content_block_delta":
                self._grow(blocks[-1], parts, event["delta"])
            elif kind == "message_delta":
                said.finish = _finish(event["delta"]["stop_reason"])
                self._use(said, event["usage"])
            elif kind == "message_stop":
                said.ended = True
        for block in blocks:
            self._add(said, block)
        return said

    def _grow(self, block: Body, parts: list[str], delta: Body) -> None:
        kind = delta["type"]
        if kind == "input_json_delta":
            parts.append(delta["partial_json"])
            try:
                block["input"] = json.loads("".join(parts) or "{}")
            except ValueError:
                return  # not whole yet
        elif kind in ("text_delta", "thinking_delta"):
            name = kind.removesuffix("_delta")
            block[name] += delta[name]

    def error_code(self, document: Body) -> str:
        assert document["type"] == "error"
        return str(document["error"]["type"])


def _finish(reason: str | None) -> str:
    return FINISH.get(reason or "", reason or "")


# --- responses -----------------------------------------------------------------------------------


class Responses:
    name, title, path = "responses", "Responses", "/v1/responses"

    def body(self, model: str, asked: Asked, then: Sequence[Body] = ()) -> Body:
        form: Body | None = {"type": "json_object"} if asked.json_mode else None
        if asked.schema:
            form = {"type": "json_schema", "name": "panel", "strict": True, "schema": asked.schema}
        include = ["reasoning.encrypted_content"] if asked.effort else []
        if asked.logprobs:
            include.append("message.output_text.logprobs")
        return present(
            model=model,
            input=[*self._messages(asked), *then],
            instructions="" if asked.caches else asked.system,
            tools=[*map(self._tool, asked.tools), *([WEB_SEARCH] if asked.web_search else [])],
            tool_choice=self._choice(asked),
            parallel_tool_calls=False if asked.one_call_at_most else None,
            text={"format": form} if form else None,
            reasoning={"effort": asked.effort, "summary": "auto"} if asked.effort else None,
            include=include,
            max_output_tokens=asked.limit,
            temperature=asked.temperature,
            service_tier=asked.tier,
            safety_identifier=asked.user,
            store=False,
            stream=asked.stream or None,
            # no words of this dialect: what a client may send all the same
            stop=list(asked.stop),
            seed=asked.seed,
            n=asked.n if asked.n > 1 else None,
        )

    def _messages(self, asked: Asked) -> list[Body]:
        found: list[Body] = []
        if asked.caches:
            marked = {"type": "input_text", "text": asked.system, **CACHE_MARK}
            found.append({"role": "system", "content": [marked]})
        found += [
            {"role": ("user", "assistant")[number % 2], "content": text}
            for number, text in enumerate(asked.earlier)
        ]
        url = f"data:image/png;base64,{PIXEL}" if asked.picture == "inline" else PICTURE_URL
        parts: list[Body] = [
            {"type": "input_text", "text": asked.text},
            {"type": "input_image", "image_url": url, "detail": "auto"},
        ]
        return [*found, {"role": "user", "content": parts if asked.picture else asked.text}]

    def _tool(self, name: str) -> Body:
        return {"type": "function", "name": name, "parameters": WEATHER, "strict": True}

    def _choice(self, asked: Asked) -> Any:
        if asked.choice == "named":
            return {"type": "function", "name": asked.tools[-1]}
        return asked.choice

    def results(self, calls: Sequence[Call], results: Sequence[str]) -> list[Body]:
        return [
            {"type": "function_call_output", "call_id": call.id, "output": text}
            for call, text in zip(calls, results, strict=True)
        ]

    def read(self, document: Body) -> Said:
        said = Said(turn=document["output"], tier=document.get("service_tier") or "")
        for item in document["output"]:
            said.searched = said.searched or item["type"] == "web_search_call"
            self._add(said, item)
        reason = (document.get("incomplete_details") or {}).get("reason")
        said.finish = _finish(reason) or ("tool_calls" if said.calls else "stop")
        said.ended = document["status"] in ("completed", "incomplete")
        for name, value in _openai_usage(document.get("usage") or {}).items():
            setattr(said, name, value)
        return said

    def _add(self, said: Said, item: Body) -> None:
        if item["type"] == "message":
            for part in item["content"]:
                said.text += part.get("text", "")
                said.logprobs = said.logprobs or bool(part.get("logprobs"))
        elif item["type"] == "function_call":
            said.calls.append(Call(item["call_id"], item["name"], item["arguments"]))
        elif item["type"] == "reasoning":
            parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
            said.thought += "".join(part["text"] for part in parts)

    def read_stream(self, events: Sequence[tuple[str, str]]) -> Said:
        said = Said()
        grown = ""
        for name, data in events:
            event = json.loads(data)
            if name == "response.output_text.delta":
                grown += event["delta"]
            elif name in ("response.completed", "response.incomplete"):
                said = self.read(event["response"])
                assert said.text == grown, "the deltas do not add up to the final text"
            elif name == "response.failed":
                said.error = event["response"]["error"]
            elif name == "error":
                said.error = event
        said.text = said.text or grown
        return said

    def error_code(self, document: Body) -> str:
        return str(document["error"]["code"])


# --- completions ---------------------------------------------------------------------------------


class Completions:
    name, title, path = "completions", "Completions", "/v1/completions"
    _chat = Chat()

    def body(self, model: str, asked: Asked, then: Sequence[Body] = ()) -> Body:
        """Whatever a prompt cannot hold is sent as chat would say it."""
        chat = self._chat.body(model, asked, then)
        if not (asked.system or asked.earlier or asked.picture or then):
            del chat["messages"]
            chat["prompt"] = asked.text
        if asked.logprobs:
            chat["logprobs"] = 2
        return chat

    def results(self, calls: Sequence[Call], results: Sequence[str]) -> list[Body]:
        return self._chat.results(calls, results)

    def read(self, document: Body) -> Said:
        choice = document["choices"][0]
        return Said(
            text=choice["text"],
            thought=choice.get("reasoning_content") or "",
            finish=choice["finish_reason"],
            choices=len(document["choices"]),
            logprobs=bool((choice.get("logprobs") or {}).get("tokens")),
            tier=document.get("service_tier") or "",
            ended=True,
            **_openai_usage(document["usage"]),
        )

    def read_stream(self, events: Sequence[tuple[str, str]]) -> Said:
        said = Said()
        for _, data in events:
            if data == "[DONE]":
                said.ended = True
                continue
            chunk = json.loads(data)
            said.error = chunk.get("error") or said.error
            for name, value in _openai_usage(chunk.get("usage") or {}).items():
                setattr(said, name, value)
            for choice in chunk.get("choices", ()):
                said.text += choice["text"] if choice["index"] == 0 else ""
                said.thought += choice.get("reasoning_content") or ""
                said.finish = choice.get("finish_reason") or said.finish
        return said

    def error_code(self, document: Body) -> str:
        return str(document["error"]["code"])


SURFACES: tuple[Surface, ...] = (Chat(), Messages(), Responses(), Completions())
