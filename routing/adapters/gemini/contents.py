"""OpenAI chat messages as Gemini contents: roles user and model, parts, results by name."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from typing import Any

from routing.adapters.forms import arguments_of, image_url_of, inline_data, parts_of, refuse
from routing.adapters.jsonio import BadJson, dicts_in, dig, loads, text_of
from routing.core.catalog import Endpoint

Part = dict[str, Any]

_SYSTEM_ROLES = ("system", "developer")
_FALLBACK_IMAGE_TYPE = "image/jpeg"
_FETCHABLE = ("https://", "gs://")


def system_and_contents(body: dict[str, Any], endpoint: Endpoint) -> tuple[list[Part], list[Part]]:
    """Leading system messages become the instruction; later ones stand as user text."""
    messages = dicts_in(body.get("messages"))
    leading = 0
    while leading < len(messages) and messages[leading].get("role") in _SYSTEM_ROLES:
        leading += 1
    system = [p for m in messages[:leading] for p in _content_parts(m.get("content"), endpoint)]
    names = _tool_names(messages)
    contents: list[Part] = []
    for message in messages[leading:]:
        _append(contents, *_turn(message, names, endpoint))
    return system, contents


def _tool_names(messages: list[Part]) -> dict[str, str]:
    """Results are matched by name there, by id here."""
    return {
        text_of(call.get("id")): text_of(dig(call, "function.name"))
        for message in messages
        for call in dicts_in(message.get("tool_calls"))
    }


def _turn(message: Part, names: dict[str, str], endpoint: Endpoint) -> tuple[str, list[Part]]:
    role = message.get("role")
    if role == "assistant":
        return "model", _model_parts(message, endpoint)
    if role == "tool":
        return "user", [_function_response(message, names, endpoint)]
    if role == "function":
        refuse(endpoint, "messages", "takes the role `tool` instead of the older `function`")
    return "user", _content_parts(message.get("content"), endpoint)


def _append(contents: list[Part], role: str, parts: list[Part]) -> None:
    if not parts:
        return
    if contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += parts
    else:
        contents.append({"role": role, "parts": parts})


# --- parts -----------------------------------------------------------------------------------


def _content_parts(content: Any, endpoint: Endpoint) -> list[Part]:
    parts = [_part(part, endpoint) for part in parts_of(content)]
    return [part for part in parts if part.get("text") != ""]


def _part(part: Part, endpoint: Endpoint) -> Part:
    kind = text_of(part.get("type"))
    translate = _PARTS.get(kind)
    if translate is None:
        refuse(endpoint, "messages", f"does not take parts of type `{kind}`")
    return translate(part, endpoint)


def _text_part(part: Part, endpoint: Endpoint) -> Part:
    return {"text": text_of(part.get("text"))}


def _image_part(part: Part, endpoint: Endpoint) -> Part:
    """A URL is handed on for the provider to fetch; the hub itself never fetches one."""
    url = image_url_of(part)
    inline = inline_data(url)
    if inline is not None:
        return {"inlineData": {"mimeType": inline.media_type, "data": inline.base64}}
    if not url.startswith(_FETCHABLE):
        refuse(endpoint, "messages", "takes images as base64 data: URLs or https: URLs only")
    media_type = mimetypes.guess_type(url.partition("?")[0])[0] or _FALLBACK_IMAGE_TYPE
    return {"fileData": {"mimeType": media_type, "fileUri": url}}


def _audio_part(part: Part, endpoint: Endpoint) -> Part:
    media_type = f"audio/{text_of(dig(part, 'input_audio.format')) or 'wav'}"
    return {"inlineData": {"mimeType": media_type, "data": text_of(dig(part, "input_audio.data"))}}


def _file_part(part: Part, endpoint: Endpoint) -> Part:
    inline = inline_data(text_of(dig(part, "file.file_data")))
    if inline is None:
        refuse(endpoint, "messages", "takes files as base64 data: URLs only")
    return {"inlineData": {"mimeType": inline.media_type, "data": inline.base64}}


def _refusal_part(part: Part, endpoint: Endpoint) -> Part:
    return {"text": text_of(part.get("refusal"))}


_PARTS: dict[str, Callable[[Part, Endpoint], Part]] = {
    "text": _text_part,
    "input_text": _text_part,
    "image_url": _image_part,
    "input_audio": _audio_part,
    "file": _file_part,
    "refusal": _refusal_part,
}


# --- assistant and tools ---------------------------------------------------------------------


def _model_parts(message: Part, endpoint: Endpoint) -> list[Part]:
    content = message.get("content") or message.get("refusal")
    calls = dicts_in(message.get("tool_calls"))
    return [*_content_parts(content, endpoint), *(_function_call(c, endpoint) for c in calls)]


def _function_call(call: Part, endpoint: Endpoint) -> Part:
    """A thought signature must go back with the very call that it came with."""
    name = text_of(dig(call, "function.name"))
    if not name:
        refuse(endpoint, "messages", "takes calls of function tools only")
    made: Part = {"name": name, "args": arguments_of(call)}
    if text_of(call.get("id")):
        made["id"] = call["id"]
    part: Part = {"functionCall": made}
    signature = text_of(dig(call, "extra_content.google.thought_signature"))
    return {**part, "thoughtSignature": signature} if signature else part


def _function_response(message: Part, names: dict[str, str], endpoint: Endpoint) -> Part:
    id = text_of(message.get("tool_call_id"))
    name = names.get(id) or text_of(message.get("name"))
    if not name:
        refuse(endpoint, "messages", f"finds no tool call with the id `{id}` for a tool result")
    made: Part = {"name": name, "response": _response(message.get("content"))}
    return {"functionResponse": {**made, "id": id} if id else made}


def _response(content: Any) -> dict[str, Any]:
    """An object there: a JSON object as it is, anything else as `result`."""
    text = "".join(text_of(part.get("text")) for part in parts_of(content))
    try:
        parsed = loads(text.encode("utf-8", "surrogatepass"))
    except BadJson:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"result": text}
