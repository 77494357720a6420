"""Anthropic Messages: typed events, exclusive cache counts, marked prompt caching."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from routing.simulator.answers import Choice, Part
from routing.simulator.asks import Ask, Refusal, Tool, names, text_of, wants
from routing.simulator.http11 import Headers, Request
from routing.simulator.session import ENCODER, Frame, Kind, Report, Session, groups_of, pretend
from routing.simulator.tokens import pieces_of
from routing.simulator.world import Provider

KNOWN_FIELDS = names(
    "model messages max_tokens system stream tools tool_choice stop_sequences temperature top_p "
    "top_k thinking output_config metadata service_tier speed cache_control container "
    "inference_geo prefill diagnostics mcp_servers context_management"
)
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "stop_sequence": "stop_sequence",
}
WEB_SEARCH = "web_search"  # with a date behind it: a tool that the provider runs itself
SEARCHED_PAGE = "https://pages.example/panelboards"
CHOICE_MODES = {"auto": "auto", "any": "required", "tool": "named", "none": "none"}


class AnthropicDialect:
    stream_type = b"text/event-stream; charset=utf-8"

    def chat_model(self, provider: Provider, request: Request) -> str | None:
        base = f"/{provider.slug}{provider.base_path}"
        own = base + provider.traits.chat_path
        return "" if request.path in {own, base + "/messages", base + "/v1/messages"} else None

    def read(self, provider: Provider, request: Request, body: dict[str, Any]) -> Ask:
        if not request.has_header(b"anthropic-version"):
            raise Refusal(
                400,
                "anthropic-version: header is required",
                violation="no anthropic-version header",
            )
        for name in body:
            known = name in KNOWN_FIELDS
            wants(known, f"{name}: Extra inputs are not permitted", param=name)
        ask = Ask(
            model=text_of(body.get("model")),
            stream=body.get("stream") is True,
            max_tokens=_max_tokens(body),
            stop=_stops(body),
            service_tier=_tier(body),
        )
        _read_tools(body, ask)
        _read_system(body, ask)
        _read_messages(body, ask)
        _read_format(body, ask)
        if isinstance(body.get("cache_control"), dict):
            _mark(body["cache_control"], ask)
        thinking = body.get("thinking")
        ask.reasons = isinstance(thinking, dict) and thinking.get("type") in {"enabled", "adaptive"}
        return ask

    def reply(self, session: Session) -> bytes:
        choice = session.choices[0]
        body = {
            **_message(session),
            "content": [
                *(_found(session) if session.ask.pieces else ()),
                *(block for part in choice.parts for block in _blocks(session, part)),
            ],
            "stop_reason": STOP_REASONS[choice.finish],
            "stop_sequence": _hit_stop(session, choice),
        }
        usage = _usage(session, choice.tokens(), choice.tokens("reasoning"))
        return ENCODER.encode(body | ({"usage": usage} if usage else {}))

    def frames(self, session: Session) -> Iterator[Frame]:
        choice = session.choices[0]
        yield _event(Kind.HEAD, "message_start", {"message": _opening(session)})
        yield _event(Kind.HEAD, "ping", {})
        found = _found(session) if session.ask.pieces else []
        for index, block in enumerate(found):
            start = {"index": index, "content_block": block}
            yield _event(Kind.HEAD, "content_block_start", start)
            yield _event(Kind.HEAD, "content_block_stop", {"index": index})
        for index, part in enumerate(choice.parts, len(found)):
            yield from _block_frames(session, index, part)
        usage = _usage(session, choice.tokens(), choice.tokens("reasoning"))
        delta = {
            "stop_reason": STOP_REASONS[choice.finish],
            "stop_sequence": _hit_stop(session, choice),
        }
        closing: dict[str, Any] = {"delta": delta} | ({"usage": usage} if usage else {})
        yield _event(Kind.FINISH, "message_delta", closing)
        yield _event(Kind.DONE, "message_stop", {})

    def error_frame(self, body: dict[str, Any] | list[Any]) -> bytes:
        return b"event: error\ndata: " + ENCODER.encode(body) + b"\n\n"

    def headers(self, provider: Provider, request_id: str) -> Headers:
        return [(b"request-id", request_id.encode())]


# --- reading -----------------------------------------------------------------------------------------


def _max_tokens(body: dict[str, Any]) -> int:
    value = body.get("max_tokens")
    good = type(value) is int and value > 0
    wants(good, "max_tokens: Field required, a positive integer", param="max_tokens")
    assert isinstance(value, int)
    return value


def _stops(body: dict[str, Any]) -> tuple[str, ...]:
    stops = body.get("stop_sequences") or ()
    for word in stops:
        good = isinstance(word, str) and word.strip()
        wants(good, "stop_sequences: each must contain non-whitespace", param="stop_sequences")
    return tuple(stops)


def _tier(body: dict[str, Any]) -> str:
    temperature = body.get("temperature")
    cool = temperature is None or 0 <= temperature <= 1
    wants(cool, "temperature: range: 0..1", param="temperature")
    tier = text_of(body.get("service_tier"))
    return "" if tier in {"auto", "standard_only"} else tier


def _read_tools(body: dict[str, Any], ask: Ask) -> None:
    for number, tool in enumerate(body.get("tools") or ()):
        name, schema = tool.get("name"), tool.get("input_schema")
        if text_of(tool.get("type")).startswith(f"{WEB_SEARCH}_2"):
            ask.prompt.add_tool(WEB_SEARCH, "", {})
            ask.pieces = {"search": 1}
            continue
        good = isinstance(name, str) and isinstance(schema, dict)
        wants(good, f"tools.{number}: name and input_schema are required", param="tools")
        ask.prompt.add_tool(name, text_of(tool.get("description")), schema)
        ask.tools += (Tool(name, schema),)
        _mark(tool.get("cache_control"), ask)
    choice = body.get("tool_choice")
    if not isinstance(choice, dict):
        return
    wants(choice.get("type") in CHOICE_MODES, "tool_choice.type: unknown", param="tool_choice")
    ask.tool_mode = CHOICE_MODES[choice["type"]]
    ask.tool_name = text_of(choice.get("name"))
    ask.parallel = choice.get("disable_parallel_tool_use") is not True
    known = ask.tool_mode != "named" or ask.tool_name in {tool.name for tool in ask.tools}
    wants(known, f"tool_choice.name: no tool {ask.tool_name!r}", param="tool_choice")


def _read_system(body: dict[str, Any], ask: Ask) -> None:
    system = body.get("system")
    if not system:
        return
    ask.prompt.begin_message("system")
    for block in [{"type": "text", "text": system}] if isinstance(system, str) else system:
        wants(block.get("type") == "text", "system: only text blocks", param="system")
        ask.prompt.add_text(text_of(block.get("text")))
        _mark(block.get("cache_control"), ask)


def _read_messages(body: dict[str, Any], ask: Ask) -> None:
    messages = body.get("messages")
    wants(isinstance(messages, list) and messages, "messages: must not be empty", param="messages")
    assert isinstance(messages, list)
    wants(messages[0].get("role") == "user", "messages.0: first must be user", param="messages")
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        role = message.get("role")
        good = role in {"user", "assistant"}
        wants(good, f"messages.{number}.role: {role!r} is not user or assistant", param="messages")
        ask.prompt.begin_message(role)
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        wants(blocks, f"messages.{number}.content: must not be empty", param="messages")
        open_calls = _read_blocks(blocks, role, number, ask, open_calls)


def _read_blocks(
    blocks: list[dict[str, Any]], role: str, number: int, ask: Ask, open_calls: set[str]
) -> set[str]:
    """Returns the ids of the calls that the next message must answer."""
    texts: list[str] = []
    made: set[str] = set()
    ask.tool_result = None
    for block in blocks:
        kind = block.get("type")
        if kind == "text":
            wants(block.get("text"), f"messages.{number}: text must be non-empty", param="messages")
            texts.append(text_of(block["text"]))
            ask.prompt.add_text(texts[-1])
        elif kind == "tool_use":
            made.add(_read_call(block, number, ask))
        elif kind == "tool_result":
            called = block.get("tool_use_id") in open_calls
            wants(called, f"messages.{number}: unexpected tool_result", param="messages")
            open_calls = open_calls - {block["tool_use_id"]}
            ask.tool_result = _result_text(block)
            ask.prompt.add_text(ask.tool_result)
        else:
            _read_other(block, number, ask)
        _mark(block.get("cache_control"), ask)
    wants(not open_calls, f"messages.{number}: tool_use without tool_result", param="messages")
    if role == "user" and texts:
        ask.user_text = " ".join(texts)
    return made


def _read_call(block: dict[str, Any], number: int, ask: Ask) -> str:
    good = isinstance(block.get("input"), dict) and isinstance(block.get("id"), str)
    wants(good, f"messages.{number}: tool_use needs id and input", param="messages")
    arguments = ENCODER.encode(block["input"]).decode()
    ask.prompt.add_text(f"{block.get('name')} {arguments}")
    return str(block["id"])


def _read_other(block: dict[str, Any], number: int, ask: Ask) -> None:
    kind = block.get("type")
    if kind == "image":
        source = block.get("source") or {}
        good = source.get("type") == "url" or (
            source.get("type") == "base64"
            and text_of(source.get("media_type")).startswith("image/")
        )
        wants(good, f"messages.{number}: image source is malformed", param="messages")
        ask.prompt.add_image()
        return
    known = kind in {"thinking", "redacted_thinking", "document"}
    wants(known, f"messages.{number}: content type {kind!r} is not known", param="messages")
    if kind == "thinking":
        signed = block.get("signature") == signature(text_of(block.get("thinking")))
        wants(signed, f"messages.{number}: invalid signature in thinking block", param="messages")


def _result_text(block: dict[str, Any]) -> str:
    content = block.get("content")
    if isinstance(content, str):
        return content
    return " ".join(text_of(part.get("text")) for part in content or ())


def _read_format(body: dict[str, Any], ask: Ask) -> None:
    wanted = (body.get("output_config") or {}).get("format")
    if isinstance(wanted, dict):
        schema = wanted.get("schema")
        good = wanted.get("type") == "json_schema" and isinstance(schema, dict)
        wants(good, "output_config.format: needs json_schema with schema", param="output_config")
        ask.schema = schema


def _mark(control: Any, ask: Ask) -> None:
    if isinstance(control, dict):
        ask.cache_mark_bytes = ask.prompt.byte_count
        ask.cache_mark_long = control.get("ttl") == "1h"


# --- writing -----------------------------------------------------------------------------------------


def signature(thinking: str) -> str:
    return "sig_" + hashlib.sha256(thinking.encode("utf-8", "replace")).hexdigest()[:40]


def tool_id(session: Session, part: Part) -> str:
    source = f"{session.response_id}/{part.call_no}".encode()
    return "toolu_" + hashlib.sha256(source).hexdigest()[:24]


def _message(session: Session) -> dict[str, Any]:
    return {
        "id": session.response_id,
        "type": "message",
        "role": "assistant",
        "model": session.response_model,
    }


def _opening(session: Session) -> dict[str, Any]:
    usage = _usage(session, 1, 0)
    opening = {**_message(session), "content": [], "stop_reason": None, "stop_sequence": None}
    return opening | ({"usage": usage} if usage else {})


def _hit_stop(session: Session, choice: Choice) -> str | None:
    return session.ask.stop[0] if choice.finish == "stop_sequence" else None


def _usage(session: Session, output: int, reasoning: int) -> dict[str, Any] | None:
    if session.report is Report.NONE:
        return None
    tally = session.tally
    written = tally.cache_write_5m + tally.cache_write_1h
    usage: dict[str, Any] = {
        "input_tokens": tally.input_total - tally.cache_read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": tally.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tally.cache_write_5m,
            "ephemeral_1h_input_tokens": tally.cache_write_1h,
        },
        "output_tokens": output,
        "service_tier": session.ask.service_tier or "standard",
    }
    if session.ask.pieces:
        searches = session.ask.pieces["search"]
        usage["server_tool_use"] = {"web_search_requests": searches, "web_fetch_requests": 0}
    if reasoning:
        usage["output_tokens_details"] = {"thinking_tokens": reasoning}
    return pretend(usage) if session.report is Report.ABSURD else usage


def _found(session: Session) -> list[dict[str, Any]]:
    """What the provider's own search leaves behind."""
    id = "srvtoolu_" + hashlib.sha256(session.response_id.encode()).hexdigest()[:24]
    call = {"type": "server_tool_use", "id": id, "name": WEB_SEARCH, "caller": {"type": "direct"}}
    page = {
        "type": "web_search_result",
        "url": SEARCHED_PAGE,
        "title": "Panelboards",
        "encrypted_content": "c2VhcmNoZWQ=",
        "page_age": None,
    }
    result = {"type": "web_search_tool_result", "tool_use_id": id, "content": [page]}
    return [
        {**call, "input": {"query": "panelboards"}},
        {**result, "caller": {"type": "direct"}},
    ]


def _blocks(session: Session, part: Part) -> list[dict[str, Any]]:
    if part.kind == "text":
        return [{"type": "text", "text": part.text, "citations": None}] if part.pieces else []
    if part.kind == "reasoning":
        return [{"type": "thinking", "thinking": part.text, "signature": signature(part.text)}]
    arguments = msgspec.json.decode(part.text)
    return [
        {"type": "tool_use", "id": tool_id(session, part), "name": part.tool, "input": arguments}
    ]


def _block_frames(session: Session, index: int, part: Part) -> Iterator[Frame]:
    start, field, delta_kind = _block_shape(session, part)
    opening = len(pieces_of(part.tool)) if part.kind == "call" else 0
    yield _event(
        Kind.CONTENT if opening else Kind.HEAD,
        "content_block_start",
        {"index": index, "content_block": start},
        opening,
    )
    if part.kind == "call":
        yield _delta(Kind.HEAD, index, {"type": delta_kind, field: ""})
        if part.text == "{}":  # without arguments nothing more is sent, but billed
            yield Frame(Kind.CONTENT, b"", len(part.pieces))
            part = Part("call", [])
    for pieces in groups_of(part.pieces, session.pieces_per_chunk):
        thought = len(pieces) if part.kind == "reasoning" else 0
        delta = {"type": delta_kind, field: "".join(pieces)}
        yield _delta(Kind.CONTENT, index, delta, len(pieces), thought)
    if part.kind == "reasoning":
        signed = {"type": "signature_delta", "signature": signature(part.text)}
        yield _delta(Kind.HEAD, index, signed)
    yield _event(Kind.HEAD, "content_block_stop", {"index": index})


def _block_shape(session: Session, part: Part) -> tuple[dict[str, Any], str, str]:
    """(the block as it starts, the field that grows, the delta's type)"""
    start: dict[str, Any]
    if part.kind == "text":
        return {"type": "text", "text": ""}, "text", "text_delta"
    if part.kind == "reasoning":
        start = {"type": "thinking", "thinking": "", "signature": ""}
        return start, "thinking", "thinking_delta"
    call_id = tool_id(session, part)
    start = {"type": "tool_use", "id": call_id, "name": part.tool, "input": {}}
    return start, "partial_json", "input_json_delta"


def _delta(
    kind: Kind, index: int, delta: dict[str, Any], output: int = 0, reasoning: int = 0
) -> Frame:
    body = {"index": index, "delta": delta}
    return _event(kind, "content_block_delta", body, output, reasoning)


def _event(
    kind: Kind, name: str, body: dict[str, Any], output: int = 0, reasoning: int = 0
) -> Frame:
    data = ENCODER.encode({"type": name, **body})
    return Frame(kind, b"event: %s\ndata: %s\n\n" % (name.encode(), data), output, reasoning)
