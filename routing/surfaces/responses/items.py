"""The `input` of a request as items in one form, each with an id: what is sent on, and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from routing.adapters.jsonio import text_of
from routing.surfaces.openai_envelope import refusal
from routing.surfaces.responses.ids import input_item_id
from routing.surfaces.responses.store import History, Item, is_reference

MOST_ITEMS = 10_000
_ROLES = ("user", "assistant", "system", "developer")
_IMAGE_DETAILS = ("low", "high", "auto", "original")


def input_items(body: dict[str, Any], response_id: str, history: History) -> list[Item]:
    """All that the model is to see: the earlier turns, then this request's own.

    Raises HubError 400 naming the item that is wrong.
    """
    own = _own_items(body.get("input"), response_id, history)
    earlier = history.previous
    items = [*earlier.input, *earlier.output, *own] if earlier else own
    if not items and not body.get("prompt"):
        raise refusal(
            "input",
            "The body has no 'input'. Send a text, or a list of items",
            "missing_required_parameter",
        )
    _check_calls(items)
    return items


def _own_items(value: Any, response_id: str, history: History) -> list[Item]:
    if value is None or value == "":
        return []
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise refusal("input", "'input' must be a text or a list of items", "invalid_type")
    if len(value) > MOST_ITEMS:
        raise refusal("input", f"'input' takes at most {MOST_ITEMS} items")
    return [_read(item, i, response_id, history) for i, item in enumerate(value)]


def _read(item: Any, index: int, response_id: str, history: History) -> Item:
    place = f"input[{index}]"
    if not isinstance(item, dict):
        raise refusal(place, f"'{place}' must be an object", "invalid_type")
    if is_reference(item):
        return _referenced(item, place, history)
    kind = item.get("type")
    if kind is None and "role" in item:
        kind = "message"
    if not isinstance(kind, str) or not kind:
        _refuse_kind(place)
    # Of tools that a provider runs itself there are many, and more each month: what a client has
    # from there goes back as it came.
    reader = _READERS.get(kind)
    read = reader(item, place) if reader is not None else dict(item)
    given = item.get("id")
    read["id"] = given if isinstance(given, str) and given else ""
    read["id"] = read["id"] or input_item_id(read["type"], response_id, index)
    return read


def _refuse_kind(place: str) -> NoReturn:
    known = ", ".join([*_READERS, "item_reference"])
    raise refusal(
        f"{place}.type",
        f"'{place}' has no 'type' that says what it is: {known}, or one of those that a provider's "
        "own tools leave behind",
        "invalid_type",
    )


def _referenced(item: Item, place: str, history: History) -> Item:
    found = history.items.get(text_of(item.get("id")))
    if found is None:
        raise refusal(
            f"{place}.id",
            f"Item with id '{text_of(item.get('id'))[:80]}' not found. Items can be named only "
            "while the response they belong to is stored: send the item itself, or set "
            "'store' to true in the request that makes it",
            "item_not_found",
        )
    return found


# --- messages --------------------------------------------------------------------------------


def _message(item: Item, place: str) -> Item:
    role = item.get("role")
    if role not in _ROLES:
        raise refusal(f"{place}.role", f"'{place}.role' must be one of {', '.join(_ROLES)}")
    content = item.get("content")
    if isinstance(content, str):
        content = [{"type": "input_text", "text": content}]
    if not isinstance(content, list):
        raise refusal(
            f"{place}.content",
            f"'{place}.content' must be a text or a list of parts",
            "invalid_type",
        )
    read_part = _answer_part if role == "assistant" else _input_part
    parts = [read_part(part, f"{place}.content[{i}]") for i, part in enumerate(content)]
    read: Item = {"type": "message", "role": role, "content": parts, "status": "completed"}
    return {**read, "phase": item["phase"]} if item.get("phase") else read


def _answer_part(part: Any, place: str) -> Item:
    kind = _kind_of(part, place)
    if kind == "refusal":
        return {**part, "refusal": _text(part, "refusal", place)}
    if kind in ("output_text", "input_text", "text"):
        text = _text(part, "text", place)
        return {"annotations": [], **part, "type": "output_text", "text": text}
    raise refusal(
        f"{place}.type",
        f"'{place}' of an assistant's message must be output_text or refusal, not {kind[:60]!r}",
    )


def _input_part(part: Any, place: str) -> Item:
    kind = _kind_of(part, place)
    reader = _PART_READERS.get(kind)
    if reader is None:
        raise refusal(
            f"{place}.type",
            f"'{place}' is of type {kind[:60]!r}. It must be one of input_text, input_image, "
            "input_file, input_audio",
        )
    return reader(part, place)


def _kind_of(part: Any, place: str) -> str:
    if not isinstance(part, dict):
        raise refusal(place, f"'{place}' must be an object", "invalid_type")
    return text_of(part.get("type"))


def _text_part(part: Item, place: str) -> Item:
    return {**part, "type": "input_text", "text": _text(part, "text", place)}


def _image_part(part: Item, place: str) -> Item:
    url = part.get("image_url")
    if not part.get("file_id") and (not isinstance(url, str) or not url):
        raise refusal(f"{place}.image_url", f"'{place}.image_url' must be a URL or a data: URL")
    detail = part.get("detail") or "auto"
    if detail not in _IMAGE_DETAILS:
        raise refusal(
            f"{place}.detail", f"'{place}.detail' must be one of {', '.join(_IMAGE_DETAILS)}"
        )
    return {**part, "detail": detail}


def _file_part(part: Item, place: str) -> Item:
    given = next((name for name in ("file_data", "file_id", "file_url") if part.get(name)), "")
    _text(part, given or "file_data", place)
    return dict(part)


def _audio_part(part: Item, place: str) -> Item:
    audio = part.get("input_audio")
    if not isinstance(audio, dict) or not isinstance(audio.get("data"), str):
        raise refusal(
            f"{place}.input_audio", f"'{place}.input_audio' must hold 'data' and 'format'"
        )
    return dict(part)


_PART_READERS: dict[str, Callable[[Item, str], Item]] = {
    "input_text": _text_part,
    "text": _text_part,
    "output_text": _text_part,
    "input_image": _image_part,
    "input_file": _file_part,
    "input_audio": _audio_part,
}


# --- tools and reasoning ---------------------------------------------------------------------


def _function_call(item: Item, place: str) -> Item:
    return {
        **item,
        "type": "function_call",
        "call_id": _text(item, "call_id", place),
        "name": _text(item, "name", place),
        "arguments": _text(item, "arguments", place),
        "status": "completed",
    }


def _custom_call(item: Item, place: str) -> Item:
    return {
        **item,
        "type": "custom_tool_call",
        "call_id": _text(item, "call_id", place),
        "name": _text(item, "name", place),
        "input": _text(item, "input", place),
        "status": "completed",
    }


def _call_output(item: Item, place: str) -> Item:
    output = item.get("output")
    if isinstance(output, list):
        output = [_input_part(part, f"{place}.output[{i}]") for i, part in enumerate(output)]
    elif not isinstance(output, str):
        raise refusal(
            f"{place}.output", f"'{place}.output' must be a text or a list of parts", "invalid_type"
        )
    return {
        "type": item["type"],
        "call_id": _text(item, "call_id", place),
        "output": output,
        "status": "completed",
    }


def _reasoning(item: Item, place: str) -> Item:
    read: Item = {"type": "reasoning", "summary": _texts(item, "summary", place)}
    if item.get("content"):
        read["content"] = _texts(item, "content", place)
    if item.get("encrypted_content"):
        read["encrypted_content"] = _text(item, "encrypted_content", place)
    return read


def _texts(item: Item, field: str, place: str) -> list[Item]:
    parts = item.get(field)
    if parts is None:
        return []
    if not isinstance(parts, list):
        raise refusal(f"{place}.{field}", f"'{place}.{field}' must be a list", "invalid_type")
    for i, part in enumerate(parts):
        where = f"{place}.{field}[{i}]"
        _kind_of(part, where)
        _text(part, "text", where)
    return parts


def _made_image(item: Item, place: str) -> Item:
    return {
        "type": "image_generation_call",
        "result": _text(item, "result", place),
        "status": "completed",
        **({"output_format": item["output_format"]} if item.get("output_format") else {}),
    }


_READERS: dict[str, Callable[[Item, str], Item]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _call_output,
    "custom_tool_call": _custom_call,
    "custom_tool_call_output": _call_output,
    "reasoning": _reasoning,
    "image_generation_call": _made_image,
}


def _text(holder: Item, field: str, place: str) -> str:
    value = holder.get(field)
    if not isinstance(value, str):
        raise refusal(f"{place}.{field}", f"'{place}.{field}' must be a string", "invalid_type")
    return value


def _check_calls(items: list[Item]) -> None:
    """Every result follows its call, and no call is left without one: providers refuse both, each
    in its own words and some of them late."""
    open_calls: dict[str, None] = {}
    known: set[str] = set()
    for item in items:
        kind, call_id = item.get("type"), text_of(item.get("call_id"))
        if kind in ("function_call", "custom_tool_call"):
            open_calls[call_id] = None
            known.add(call_id)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            if call_id not in known:
                raise refusal(
                    "input", f"No tool call found for the output with call_id '{call_id[:80]}'"
                )
            open_calls.pop(call_id, None)
    if open_calls:
        call_id = next(iter(open_calls))
        raise refusal("input", f"No tool output found for the call with call_id '{call_id[:80]}'")
