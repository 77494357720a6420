"""Items as OpenAI chat messages. Items of one turn of the model become one assistant message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routing.adapters.jsonio import dicts_in, text_of
from routing.surfaces.responses.carried import unpack
from routing.surfaces.responses.store import Item

Message = dict[str, Any]


class Transcript:
    """`uncarried` names what chat has no word for; `essential` that of it without which the answer
    would be to another question."""

    def __init__(self, instructions: str | None, items: list[Item]) -> None:
        self.messages: list[Message] = []
        self.uncarried: set[str] = set()
        self.essential: set[str] = set()
        self._turn: Message | None = None  # the assistant message that is being put together
        self._details: dict[int, list[Item]] = {}  # by the place of a reasoning item
        self._call_extras: dict[str, Any] = {}  # by call id
        if instructions:
            self.messages.append({"role": "system", "content": instructions})
        self._unpack(items)
        for i, item in enumerate(items):
            handle = _HANDLERS.get(item["type"], Transcript.of_a_builtin_tool)
            handle(self, item, i)

    def _unpack(self, items: list[Item]) -> None:
        """Before the rest, because what belongs to a call may stand after it."""
        for i, item in enumerate(items):
            sealed = text_of(item.get("encrypted_content"))
            if item["type"] != "reasoning" or not sealed:
                continue
            held = unpack(sealed, f"input[{i}].encrypted_content")
            if held is None:
                self.uncarried.add("input.encrypted_content")
                continue
            self._details[i] = held[0]
            self._call_extras.update(held[1])

    def _assistant(self, *, new: bool = False) -> Message:
        """Until its calls are answered, everything the model said is one message."""
        turn = self._turn
        if turn is None or (new and not turn.get("tool_calls")):
            turn = self._turn = {"role": "assistant", "content": None}
            self.messages.append(turn)
        return turn

    def message(self, item: Item, index: int) -> None:
        if item.get("phase"):
            self.uncarried.add("input.phase")
        if item["role"] != "assistant":
            self._turn = None
            self._note_addresses(item["content"])
            parts = [_PARTS[part["type"]](part) for part in item["content"]]
            self.messages.append({"role": item["role"], "content": _shortest(parts)})
            return
        has_text = self._turn is not None and self._turn["content"] is not None
        _add_content(self._assistant(new=has_text), dicts_in(item["content"]))

    def reasoning(self, item: Item, index: int) -> None:
        has_answer = self._turn is not None and self._turn["content"] is not None
        details = self._details.get(index, [])
        texts = item.get("content") or item.get("summary")
        text = "\n\n".join(text_of(part.get("text")) for part in dicts_in(texts))
        if not text and not details:
            return  # it only held what belongs to a call
        turn = self._assistant(new=has_answer)
        if text:
            before = turn.get("reasoning_content")
            turn["reasoning_content"] = f"{before}\n\n{text}" if before else text
        if details:
            turn["reasoning_details"] = [*turn.get("reasoning_details", ()), *details]

    def function_call(self, item: Item, index: int) -> None:
        function = {"name": item["name"], "arguments": item["arguments"]}
        self._call(item, {"type": "function", "function": function})

    def custom_call(self, item: Item, index: int) -> None:
        custom = {"name": item["name"], "input": item["input"]}
        self._call(item, {"type": "custom", "custom": custom})

    def _call(self, item: Item, call: dict[str, Any]) -> None:
        made = {"id": item["call_id"], **call}
        extra = self._call_extras.get(item["call_id"])
        if extra:
            made["extra_content"] = extra
        self._assistant().setdefault("tool_calls", []).append(made)

    def call_output(self, item: Item, index: int) -> None:
        self._turn = None
        output = item["output"]
        if isinstance(output, list):
            self._note_addresses(output)
            output = _shortest([_PARTS[part["type"]](part) for part in output])
        self.messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": output})

    def of_a_builtin_tool(self, item: Item, index: int) -> None:
        """Where the model has told in its answer what came of it, only the way there is lost."""
        noted = self.uncarried if item["type"] in _RETOLD else self.essential
        noted.add(f"input.{item['type'][:MOST_KIND_CHARS]}")

    def _note_addresses(self, parts: list[Item]) -> None:
        """Chat takes contents; what lies at a provider, or anywhere, only a provider can fetch."""
        for part in parts:
            for name in _ADDRESSES.get(part["type"], ()):
                if part.get(name) and not part.get("file_data"):
                    self.essential.add(f"{part['type']}.{name}")

    def made_image(self, item: Item, index: int) -> None:
        form = text_of(item.get("output_format")) or "png"
        url = f"data:image/{form};base64,{item['result']}"
        image = {"type": "image_url", "image_url": {"url": url}}
        self._assistant().setdefault("images", []).append(image)


MOST_KIND_CHARS = 60
_RETOLD = frozenset({"web_search_call", "file_search_call", "mcp_list_tools"})
_ADDRESSES = {"input_image": ("file_id",), "input_file": ("file_id", "file_url")}
_HANDLERS: dict[str, Callable[[Transcript, Item, int], None]] = {
    "message": Transcript.message,
    "reasoning": Transcript.reasoning,
    "function_call": Transcript.function_call,
    "function_call_output": Transcript.call_output,
    "custom_tool_call": Transcript.custom_call,
    "custom_tool_call_output": Transcript.call_output,
    "image_generation_call": Transcript.made_image,
}


def _shortest(parts: list[Item]) -> Any:
    """A single text as a string, which every provider takes."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts


def _add_content(turn: Message, parts: list[Item]) -> None:
    texts = [text_of(part.get("text")) for part in parts if part.get("type") == "output_text"]
    refusals = [text_of(part.get("refusal")) for part in parts if part.get("type") == "refusal"]
    if texts:
        turn["content"] = (turn["content"] or "") + "".join(texts)
    if refusals:
        turn["refusal"] = "".join(refusals)


def _rest(part: Item, *known: str) -> Item:
    """A provider's own marks on a part (`cache_control`) go along."""
    return {name: value for name, value in part.items() if name not in known}


def _text(part: Item) -> Item:
    return {"type": "text", "text": part["text"], **_rest(part, "type", "text", "annotations")}


def _image(part: Item) -> Item:
    image: Item = {"url": part.get("image_url") or ""}
    if part["detail"] != "auto":
        image["detail"] = part["detail"]
    known = ("type", "image_url", "detail", "file_id")
    return {"type": "image_url", "image_url": image, **_rest(part, *known)}


def _file(part: Item) -> Item:
    file = {name: part[name] for name in ("filename", "file_data") if part.get(name)}
    known = ("type", "filename", "file_data", "file_id", "file_url", "detail")
    return {"type": "file", "file": file, **_rest(part, *known)}


_PARTS: dict[str, Callable[[Item], Item]] = {
    "input_text": _text,
    "input_image": _image,
    "input_file": _file,
    "input_audio": dict,
}
