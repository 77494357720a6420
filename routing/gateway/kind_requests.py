"""Requests for something else than chat, checked once: the call to send on, the facts to route by.

Only what routing, billing and the forms of answers depend on is checked here; everything else is
passed on for the provider to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from routing.adapters.base import ChatCall, Headers, header
from routing.adapters.kinds.counting import (
    USUAL_PIXELS,
    audio_seconds,
    estimated_audio_seconds,
    input_tokens,
    pixels_of_size,
    text_tokens,
    whole_seconds,
)
from routing.adapters.kinds.multipart import BadForm, Form, read_form
from routing.adapters.kinds.rerank import estimated_tokens
from routing.adapters.kinds.transcriptions import FORMATS, GRANULARITIES, TIMED_FORMATS
from routing.core.catalog import Snapshot
from routing.core.errors import HubError
from routing.core.kinds import EMBEDDING, IMAGE, RERANK, SPEECH, TRANSCRIPTION, check_kind
from routing.core.names import find_model, near_models, resolve
from routing.core.request import RequestFacts
from routing.core.usage import Meter
from routing.gateway.parse import MAX_FALLBACK_MODELS, MAX_NAME_CHARS, load_json
from routing.gateway.preferences import bad_request, names_of, parse_preferences

MOST_INPUTS = 2048
MOST_DOCUMENTS = 10_000
MOST_IMAGES = 10
MOST_PARTIAL = 3  # pictures before the whole one
MOST_DIMENSIONS = 65_536
# Fields of a form that clients write as lists: "name[]", or the name again and again.
STREAM = "stream"  # the capability
LISTS = frozenset({"timestamp_granularities", "include", "models", "languages", "keywords"})

Parsed = tuple[ChatCall, RequestFacts]
Note = Callable[[object], None]


def parse_embeddings(body: dict[str, Any], raw: bytes, snapshot: Snapshot) -> Parsed:
    """Takes the hub's own fields out of `body`. Raises HubError 400 and 404."""
    longest = _longest_input(body.get("input"))
    _one_of(body, "encoding_format", ("float", "base64"))
    dimensions = _whole(body, "dimensions", MOST_DIMENSIONS)
    return _call(body, raw, EMBEDDING), _facts(
        body,
        snapshot,
        EMBEDDING,
        input_tokens=input_tokens(body["input"]),
        window_tokens=longest,
        needs=frozenset({"dimensions"}) if dimensions else frozenset(),
    )


def _longest_input(value: Any) -> int:
    """Of one input, in tokens. Raises HubError 400 for what cannot be embedded."""
    if isinstance(value, str) and value:
        return input_tokens(value)
    if not isinstance(value, list) or not 0 < len(value) <= MOST_INPUTS:
        raise bad_request(
            "invalid_value",
            f"'input' must be a text, or a list of 1 to {MOST_INPUTS} texts or lists of token ids",
            "input",
        )
    if _are_token_ids(value):
        return len(value)
    is_texts = all(isinstance(item, str) and item for item in value)
    if not is_texts and not all(isinstance(item, list) and _are_token_ids(item) for item in value):
        raise bad_request(
            "invalid_type", "'input' must hold texts, or lists of token ids, none empty", "input"
        )
    return max(map(input_tokens, value))


def _are_token_ids(value: list[Any]) -> bool:
    return bool(value) and all(type(item) is int and item >= 0 for item in value)


def parse_rerank(body: dict[str, Any], raw: bytes, snapshot: Snapshot) -> Parsed:
    query, texts = _text(body, "query"), _documents(body.get("documents"))
    _whole(body, "top_n", MOST_DOCUMENTS)
    _flag(body, "return_documents")
    longest = text_tokens(query) + max(map(text_tokens, texts))
    return _call(body, raw, RERANK), _facts(
        body,
        snapshot,
        RERANK,
        input_tokens=estimated_tokens(query, texts),
        window_tokens=longest,
        pieces=((Meter.SEARCH, 1),),
    )


def _documents(value: Any) -> list[str]:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_DOCUMENTS:
        raise bad_request(
            "invalid_value",
            f"'documents' must be a list of 1 to {MOST_DOCUMENTS} texts",
            "documents",
        )
    texts: list[str] = []
    for at, item in enumerate(value):
        text = item.get("text") if isinstance(item, dict) else item
        if not isinstance(text, str):
            raise bad_request(
                "invalid_type",
                f"documents[{at}] must be a text, or an object with a 'text'",
                f"documents[{at}]",
            )
        texts.append(text)
    return texts


def parse_images(body: dict[str, Any], raw: bytes, snapshot: Snapshot) -> Parsed:
    prompt, n = _text(body, "prompt"), _whole(body, "n", MOST_IMAGES) or 1
    _one_of(body, "response_format", ("url", "b64_json"))
    is_stream = _image_stream(body, n)
    pixels = pixels_of_size(body.get("size")) or USUAL_PIXELS
    return _call(body, raw, IMAGE, stream=is_stream), _facts(
        body,
        snapshot,
        IMAGE,
        streamed_by="stream" if is_stream else "",
        input_tokens=text_tokens(prompt),
        output_tokens=n * pixels // 1000,
        pieces=((Meter.IMAGE, n), (Meter.PIXEL, n * pixels)),
    )


def _image_stream(body: dict[str, Any], n: int) -> bool:
    _flag(body, "stream")
    is_stream = body.get("stream") is True
    partial = body.get("partial_images")
    if partial is not None and (type(partial) is not int or not 0 <= partial <= MOST_PARTIAL):
        raise bad_request(
            "invalid_value",
            f"'partial_images' must be a whole number from 0 to {MOST_PARTIAL}",
            "partial_images",
        )
    if partial and not is_stream:
        raise bad_request(
            "invalid_value", "'partial_images' needs 'stream': true", "partial_images"
        )
    if is_stream and n > 1:
        raise bad_request("unsupported_value", "A stream gives one image: 'n' must be 1", "n")
    return is_stream


def parse_speech(body: dict[str, Any], raw: bytes, snapshot: Snapshot) -> Parsed:
    text = _text(body, "input")
    _one_of(body, "stream_format", ("audio", "sse"))
    is_events = body.get("stream_format") == "sse"
    call = _call(body, raw, SPEECH, stream=True, is_sound=not is_events)
    return call, _facts(
        body,
        snapshot,
        SPEECH,
        streamed_by="stream_format" if is_events else "",
        input_tokens=text_tokens(text),
        pieces=((Meter.CHARACTER, len(text)),),
    )


def parse_transcription(
    headers: Headers, raw: bytes, snapshot: Snapshot, note: Note = lambda _: None
) -> Parsed:
    """`raw` is a form. Raises HubError 400, 404 and 415."""
    form = _form(headers, raw)
    note(dict(form.fields).get("model"))
    upload = form.files.pop("file", None)
    if upload is None or not upload.data:
        raise bad_request("missing_file", "The form has no 'file', or an empty one", "file")
    if form.files:
        name = next(iter(form.files))
        raise bad_request("unknown_file", "Only one file is taken, under 'file'", name[:60])
    body = _fields(form)
    _one_of(body, "response_format", FORMATS)
    is_stream = _form_flag(body, "stream")
    seconds = whole_seconds(audio_seconds(upload.data)) or estimated_audio_seconds(upload.data)
    is_timed = body.get("response_format") in TIMED_FORMATS or GRANULARITIES in body
    if is_stream and is_timed:
        name = "response_format" if body.get("response_format") in TIMED_FORMATS else GRANULARITIES
        raise bad_request(
            "unsupported_value", f"A stream tells no times: leave '{name}' or 'stream' out", name
        )
    call = _call(body, raw, TRANSCRIPTION, stream=is_stream, upload=upload)
    return call, _facts(
        body,
        snapshot,
        TRANSCRIPTION,
        streamed_by="stream" if is_stream else "",
        needs=frozenset({"timestamps"}) if is_timed else frozenset(),
        pieces=((Meter.AUDIO_SECOND, seconds),),
    )


def _form(headers: Headers, raw: bytes) -> Form:
    content_type = header(headers, b"content-type").decode("latin-1")
    if not content_type.lower().startswith("multipart/form-data"):
        raise HubError(
            415,
            "unsupported_content_type",
            "Send the recording as multipart/form-data, with the fields 'file' and 'model'",
            should_retry=False,
        )
    try:
        return read_form(content_type, raw)
    except BadForm as exc:
        raise bad_request("invalid_form", str(exc)) from None


def _fields(form: Form) -> dict[str, Any]:
    """A list where the form means one; the hub's own fields as they are in JSON."""
    body: dict[str, Any] = {}
    for sent, value in form.fields:
        name = sent.removesuffix("[]")
        if sent.endswith("[]") or name in LISTS:
            body.setdefault(name if name == "models" else f"{name}[]", []).append(value)
        elif name in body:
            raise bad_request("repeated_field", f"The form has '{name[:60]}' twice", name[:60])
        else:
            body[name] = value
    if "provider" in body:
        body["provider"] = _json_field(body["provider"])
    return body


def _json_field(value: str) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise bad_request("invalid_json", "'provider' must be JSON in a form", "provider") from None


# --- what all of them share -----------------------------------------------------------------------

_JSON_PARSERS: dict[str, Callable[[dict[str, Any], bytes, Snapshot], Parsed]] = {
    EMBEDDING: parse_embeddings,
    RERANK: parse_rerank,
    IMAGE: parse_images,
    SPEECH: parse_speech,
}


def parse_kind(
    kind: str, headers: Headers, raw: bytes, snapshot: Snapshot, note: Note = lambda _: None
) -> Parsed:
    """`headers` are the client's: they say what the body is. Raises HubError 400, 404, 415.

    `note` gets what the client wrote as the model, also of a request that is refused afterwards.
    """
    if kind == TRANSCRIPTION:
        return parse_transcription(headers, raw, snapshot, note)
    body = load_json(raw)
    note(body.get("model"))
    return _JSON_PARSERS[kind](body, raw, snapshot)


def _call(
    body: dict[str, Any], raw: bytes, kind: str, *, stream: bool = False, **more: Any
) -> ChatCall:
    return ChatCall(body, stream=stream, wants_usage=False, raw=raw, kind=kind, **more)


def _facts(
    body: dict[str, Any], snapshot: Snapshot, kind: str, streamed_by: str = "", **known: Any
) -> RequestFacts:
    """`streamed_by` is the parameter that asks for events, "" where none are asked for."""
    requested = _model_name(body)
    preferences = parse_preferences(body.pop("provider", None))
    fallbacks = _fallbacks(body.pop("models", None), kind, snapshot)
    found = resolve(requested, snapshot)
    check_kind(found.model, kind, snapshot)
    known = {"output_tokens": 0, **known}
    if streamed_by:
        _check_streams((found.model, *fallbacks), snapshot, streamed_by)
        known |= {"stream": True, "needs": known.get("needs", frozenset()) | {STREAM}}
    return RequestFacts(
        requested_model=requested,
        model=found.model,
        objective=found.objective,
        pinned_provider=found.pinned_provider,
        policy_name=found.policy_name,
        parameters=frozenset(body) if preferences.require_parameters else frozenset(),
        preferences=preferences,
        fallback_models=fallbacks,
        kind=kind,
        **known,
    )


def _check_streams(models: tuple[str, ...], snapshot: Snapshot, param: str) -> None:
    """Where some endpoints can, the others are left out by their capabilities."""
    offered = [endpoint for model in models for endpoint in snapshot.endpoints_of.get(model, ())]
    if offered and not any(STREAM in endpoint.capabilities for endpoint in offered):
        raise bad_request(
            "unsupported_value",
            f"No provider gives answers of {models[0]} as events. Leave '{param}' out, or choose "
            "another model",
            param,
        )


def _model_name(body: dict[str, Any]) -> str:
    name = body.get("model")
    if name is None:
        raise bad_request(
            "missing_model", "The request has no 'model'. GET /v1/models lists them", "model"
        )
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
        raise bad_request("invalid_type", "'model' must be a model id (a string)", "model")
    return name


def _fallbacks(value: Any, kind: str, snapshot: Snapshot) -> tuple[str, ...]:
    if value is None:
        return ()
    names = names_of(value, "models")
    if len(names) > MAX_FALLBACK_MODELS:
        raise bad_request(
            "invalid_value", f"'models' takes at most {MAX_FALLBACK_MODELS} ids", "models"
        )
    return tuple(_fallback(name, kind, snapshot) for name in names)


def _fallback(name: str, kind: str, snapshot: Snapshot) -> str:
    model = find_model(name, snapshot)
    if model is None:
        near = ", ".join(near_models(name, snapshot)) or "GET /v1/models lists them"
        raise HubError(
            404,
            "model_not_found",
            f"The fallback model '{name[:200]}' does not exist on this hub. Near: {near}",
            param="models",
            should_retry=False,
        )
    check_kind(model, kind, snapshot, "models")
    return model


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise bad_request("invalid_type", f"'{name}' must be a text, and not an empty one", name)
    return value


def _whole(body: dict[str, Any], name: str, most: int) -> int | None:
    value = body.get(name)
    if value is not None and (type(value) is not int or not 1 <= value <= most):
        raise bad_request(
            "invalid_value", f"'{name}' must be a whole number from 1 to {most}", name
        )
    return value


def _flag(body: dict[str, Any], name: str) -> None:
    if not isinstance(body.get(name), bool | None):
        raise bad_request("invalid_type", f"'{name}' must be true or false", name)


def _one_of(body: dict[str, Any], name: str, known: tuple[str, ...]) -> None:
    value = body.get(name)
    if value is not None and value not in known:
        raise bad_request("invalid_value", f"'{name}' must be one of {', '.join(known)}", name)


def _form_flag(body: dict[str, Any], name: str) -> bool:
    """Of a form, whose fields are texts."""
    word = body.get(name, "false")
    if word not in ("true", "false"):
        raise bad_request("invalid_type", f"'{name}' must be true or false", name)
    return bool(word == "true")
