"""Gemini generateContent: the model in the path, cumulative usage on every chunk, no end marker."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from routing.simulator.answers import Choice, Part
from routing.simulator.asks import Ask, Refusal, Tool, names, text_of, wants
from routing.simulator.http11 import Headers, Request
from routing.simulator.session import ENCODER, Frame, Kind, Report, Session, groups_of, pretend
from routing.simulator.world import Provider

KNOWN_FIELDS = names(
    "contents systemInstruction tools toolConfig safetySettings generationConfig cachedContent "
    "serviceTier labels store model"
)
KNOWN_CONFIG = names(
    "maxOutputTokens temperature topP topK candidateCount stopSequences seed presencePenalty "
    "frequencyPenalty responseMimeType responseSchema responseJsonSchema responseLogprobs logprobs "
    "responseModalities thinkingConfig mediaResolution speechConfig enableEnhancedCivicAnswers"
)
CHOICE_MODES = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto"}
MAX_STOPS = 5
SCHEMA_FIELDS = ("parametersJsonSchema", "parameters_json_schema", "parameters")
_PATH = re.compile(
    r"/(?:models/(?P<model>[^:]+)|(?P<tuned>tunedModels/[^:]+))"
    r":(?P<verb>generateContent|streamGenerateContent)$"
)


def _model_in(found: re.Match[str]) -> str:
    """A tuned model is named with its collection."""
    return str(found["model"] or found["tuned"])


class GeminiDialect:
    stream_type = b"text/event-stream"

    def chat_model(self, provider: Provider, request: Request) -> str | None:
        base = f"/{provider.slug}{provider.base_path}"
        found = _PATH.search(request.path)
        if found is None or not request.path.startswith(base):
            return None
        return _model_in(found)

    def read(self, provider: Provider, request: Request, body: dict[str, Any]) -> Ask:
        found = _PATH.search(request.path)
        assert found is not None
        stream = found["verb"] == "streamGenerateContent"
        if stream and "alt=sse" not in request.query.split("&"):
            raise Refusal(400, "only alt=sse is streamed here", violation="stream without alt=sse")
        config = body.get("generationConfig") or {}
        _check_names(body, KNOWN_FIELDS, "")
        _check_names(config, KNOWN_CONFIG, "generation_config.")
        ask = Ask(
            model=_model_in(found),
            stream=stream,
            max_tokens=_whole(config, "maxOutputTokens"),
            n=_whole(config, "candidateCount") or 1,
            stop=_stops(config),
            service_tier=_tier(body),
        )
        _read_tools(body, ask)
        _read_system(body, ask)
        _read_contents(body, ask)
        _read_format(config, ask)
        _read_thinking(config, ask)
        return ask

    def reply(self, session: Session) -> bytes:
        candidates = []
        for number, choice in enumerate(session.choices):
            parts = [made for part in choice.parts for made in _parts(session, part)]
            candidates.append(_candidate(number, parts, finish_word(choice)))
        output = sum(choice.tokens() for choice in session.choices)
        thoughts = sum(choice.tokens("reasoning") for choice in session.choices)
        return ENCODER.encode(_body(session, candidates, output, thoughts))

    def frames(self, session: Session) -> Iterator[Frame]:
        output = thoughts = 0
        for number, choice in enumerate(session.choices):
            for frame_parts, tokens, thought in _stream_parts(session, choice):
                output += tokens
                thoughts += thought
                data = b""
                if frame_parts:
                    candidate = _candidate(number, frame_parts, None)
                    data = _event(_body(session, [candidate], output, thoughts))
                yield Frame(Kind.CONTENT, data, tokens, thought)
            last = _candidate(number, [{"text": ""}], finish_word(choice))
            yield Frame(Kind.FINISH, _event(_body(session, [last], output, thoughts)))

    def error_frame(self, body: dict[str, Any] | list[Any]) -> bytes:
        return _event(body)

    def headers(self, provider: Provider, request_id: str) -> Headers:
        return [(b"server-timing", b"gfet4t7; dur=100")]


def finish_word(choice: Choice) -> str:
    return "MAX_TOKENS" if choice.finish == "length" else "STOP"


# --- reading -----------------------------------------------------------------------------------------


def _check_names(given: dict[str, Any], known: frozenset[str], where: str) -> None:
    for name in given:
        message = f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}{name}'"
        wants(name in known, message, param=name)


def _whole(config: dict[str, Any], name: str) -> int | None:
    value = config.get(name)
    good = value is None or (type(value) is int and value > 0)
    wants(good, f"{name} must be a positive integer", param=name)
    return value


def _stops(config: dict[str, Any]) -> tuple[str, ...]:
    stops = config.get("stopSequences") or ()
    wants(len(stops) <= MAX_STOPS, f"at most {MAX_STOPS} stopSequences", param="stopSequences")
    return tuple(stops)


def _tier(body: dict[str, Any]) -> str:
    tier = text_of(body.get("serviceTier")).lower()
    return "" if tier == "standard" else tier


def _read_tools(body: dict[str, Any], ask: Ask) -> None:
    for group in body.get("tools") or ():
        for declared in group.get("functionDeclarations") or ():
            wants(declared.get("name"), "a function declaration needs a name", param="tools")
            schema: dict[str, Any] = next(
                (declared[key] for key in SCHEMA_FIELDS if declared.get(key)), {}
            )
            description = text_of(declared.get("description"))
            ask.prompt.add_tool(declared["name"], description, schema)
            ask.tools += (Tool(declared["name"], schema),)
    config = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = config.get("mode", "AUTO")
    wants(mode in CHOICE_MODES, f"function calling mode {mode!r} is not known", param="toolConfig")
    ask.tool_mode = CHOICE_MODES[mode]
    allowed = config.get("allowedFunctionNames") or ()
    if allowed and mode == "ANY":
        known = allowed[0] in {tool.name for tool in ask.tools}
        wants(known, f"no function is called {allowed[0]!r}", param="toolConfig")
        ask.tool_mode, ask.tool_name = "named", allowed[0]


def _read_system(body: dict[str, Any], ask: Ask) -> None:
    system = body.get("systemInstruction")
    if system:
        ask.prompt.begin_message("system")
        for part in system.get("parts") or ():
            ask.prompt.add_text(text_of(part.get("text")))


def _read_contents(body: dict[str, Any], ask: Ask) -> None:
    contents = body.get("contents")
    good = isinstance(contents, list) and contents
    wants(good, "contents is not specified", param="contents")
    assert isinstance(contents, list)
    called: set[str] = set()
    for number, content in enumerate(contents):
        role = content.get("role", "user")
        known = role in {"user", "model"}
        wants(known, f"Please use a valid role: user, model (contents[{number}])", param="contents")
        wants(content.get("parts"), f"contents[{number}].parts must not be empty", param="contents")
        ask.prompt.begin_message("assistant" if role == "model" else role)
        texts = _read_parts(content["parts"], number, ask, called)
        if role == "user" and texts:
            ask.user_text = " ".join(texts)


def _read_parts(parts: list[dict[str, Any]], number: int, ask: Ask, called: set[str]) -> list[str]:
    texts: list[str] = []
    ask.tool_result = None
    for part in parts:
        if "functionCall" in part:
            call = part["functionCall"]
            called.add(text_of(call.get("name")))
            _check_signature(part, call, number)
            arguments = ENCODER.encode(call.get("args") or {}).decode()
            ask.prompt.add_text(f"{call.get('name')} {arguments}")
        elif "functionResponse" in part:
            result = part["functionResponse"]
            answered = result.get("name") in called and isinstance(result.get("response"), dict)
            wants(answered, f"contents[{number}]: no such function call", param="contents")
            ask.tool_result = _result_text(result["response"])
            ask.prompt.add_text(ask.tool_result)
        elif "inlineData" in part or "fileData" in part:
            source = part.get("inlineData") or part["fileData"]
            wants(source.get("mimeType"), f"contents[{number}]: no mimeType", param="contents")
            ask.prompt.add_image()
        elif "text" in part:
            ask.prompt.add_text(text_of(part["text"]))
            texts.append(text_of(part["text"]))
        else:
            raise Refusal(400, f"contents[{number}]: a part has no data", param="contents")
    return [text for text in texts if text]


def _check_signature(part: dict[str, Any], call: dict[str, Any], number: int) -> None:
    """Absent is tolerated, wrong is not: clients that speak OpenAI often lose signatures."""
    given = part.get("thoughtSignature") or part.get("thought_signature")
    right = given is None or given == signature(text_of(call.get("name")))
    wants(right, f"contents[{number}]: invalid thought signature", param="contents")


def _result_text(response: dict[str, Any]) -> str:
    values = list(response.values())
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return ENCODER.encode(response).decode()


def _read_format(config: dict[str, Any], ask: Ask) -> None:
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    json_wanted = config.get("responseMimeType") == "application/json"
    wants(
        not schema or json_wanted, "responseSchema needs application/json", param="responseSchema"
    )
    ask.json_object = json_wanted
    ask.schema = schema


def _read_thinking(config: dict[str, Any], ask: Ask) -> None:
    thinking = config.get("thinkingConfig") or {}
    ask.reasons = thinking.get("thinkingBudget") != 0 and thinking.get("thinkingLevel") != "MINIMAL"
    ask.shows_reasoning = thinking.get("includeThoughts") is True


# --- writing -----------------------------------------------------------------------------------------


def signature(name: str) -> str:
    return "c2ln" + hashlib.sha256(f"thought for {name}".encode()).hexdigest()[:36]


def _parts(session: Session, part: Part) -> list[dict[str, Any]]:
    if part.kind == "reasoning":
        shown = session.ask.shows_reasoning
        return [{"text": part.text, "thought": True}] if shown else []
    if part.kind == "text":
        return [{"text": part.text}]
    call = {"name": part.tool, "args": msgspec.json.decode(part.text)}
    signed = {"thoughtSignature": signature(part.tool)} if session.ask.reasons else {}
    return [{"functionCall": call, **signed}]


def _stream_parts(
    session: Session, choice: Choice
) -> Iterator[tuple[list[dict[str, Any]], int, int]]:
    """(parts of one chunk, its tokens, those of them that are thoughts); calls come whole."""
    for part in choice.parts:
        if part.kind == "call":
            yield _parts(session, part), part.tokens, 0
            continue
        for pieces in groups_of(part.pieces, session.pieces_per_chunk):
            thought = len(pieces) if part.kind == "reasoning" else 0
            yield _parts(session, Part(part.kind, pieces)), len(pieces), thought


def _candidate(number: int, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": number}
    return candidate | ({"finishReason": finish} if finish else {})


def _body(
    session: Session, candidates: list[dict[str, Any]], output: int, thoughts: int
) -> dict[str, Any]:
    body: dict[str, Any] = {"candidates": candidates}
    if session.report is not Report.NONE:
        body["usageMetadata"] = _usage(session, output, thoughts)
    return body | {"modelVersion": session.response_model, "responseId": session.response_id}


def _usage(session: Session, output: int, thoughts: int) -> dict[str, Any]:
    tally = session.tally
    usage: dict[str, Any] = {
        "promptTokenCount": tally.input_total,
        "candidatesTokenCount": output - thoughts,
        "totalTokenCount": tally.input_total + output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tally.input_total}],
        "trafficType": "ON_DEMAND",
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    if tally.cache_read:
        usage["cachedContentTokenCount"] = tally.cache_read
    return pretend(usage) if session.report is Report.ABSURD else usage


def _event(body: Any) -> bytes:
    return b"data: " + ENCODER.encode(body) + b"\r\n\r\n"
