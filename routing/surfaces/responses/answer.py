"""An OpenAI chat answer, whole or in pieces, as the output of a response."""

from __future__ import annotations

from typing import Any

from routing.adapters.chunks import stable_call_id
from routing.adapters.forms import image_url_of, inline_data
from routing.adapters.jsonio import dict_of, dicts_in, list_of, text_of
from routing.adapters.usage import openai_usage
from routing.surfaces.responses.echo import known_tier
from routing.surfaces.responses.ids import output_item_id
from routing.surfaces.responses.output import CallItem, Emit, MessageItem, OpenItem, ReasoningItem

Body = dict[str, Any]

_CUT_SHORT = {"length": "max_output_tokens", "content_filter": "content_filter"}


def tell_nobody(event: str, fields: Body) -> None:
    """For an answer that is given as a whole."""


class Answer:
    """Takes chat documents in the order they come; `response` tells how far it is."""

    def __init__(self, base: Body, emit: Emit = tell_nobody) -> None:
        self.base = base
        self._emit = emit
        self._style = "summary" if _asks_for_summary(base) else "content"
        self._items: list[OpenItem] = []
        self._calls: dict[int, CallItem] = {}  # by their index in chat
        self._late_extras: dict[str, Any] = {}  # of calls that were open when it came
        self._usage: Body = {}
        self._finish = ""

    # --- what comes --------------------------------------------------------------------------

    def take(self, document: Body, field: str) -> None:
        """`field` is delta for a chunk of a stream, message for a whole answer."""
        self._take_head(document)
        for choice in dicts_in(document.get("choices")):
            if choice.get("index", 0) == 0:
                self._take_message(dict_of(choice.get(field)), logprobs_in(choice))
                self._finish = text_of(choice.get("finish_reason")) or self._finish

    def _take_head(self, document: Body) -> None:
        self.base["model"] = text_of(document.get("model")) or self.base["model"]
        self.base["service_tier"] = (
            known_tier(document.get("service_tier")) or self.base["service_tier"]
        )
        self._usage = dict_of(document.get("usage")) or self._usage

    def _take_message(self, message: Body, logprobs: list[Body]) -> None:
        thought = text_of(message.get("reasoning_content")) or text_of(message.get("reasoning"))
        if thought:
            self._reasoning().think(thought)
        details = dicts_in(message.get("reasoning_details"))
        if details:
            self._reasoning().carry(details)
        text = _text_in(message.get("content"))
        if text:
            self._message().text(text, logprobs)
        if text_of(message.get("refusal")):
            self._message().refusal(message["refusal"])
        for annotation in _annotations_in(message):
            self._message().annotate(annotation)
        for place, call in enumerate(dicts_in(message.get("tool_calls"))):
            index = call.get("index")
            self._take_call(call, index if type(index) is int else place)
        for image in dicts_in(message.get("images")):
            self._take_image(image)

    def _take_call(self, call: Body, index: int) -> None:
        body = dict_of(call.get("custom")) or dict_of(call.get("function"))
        extra = call.get("extra_content")
        item = self._calls.get(index)
        if item is None:
            item = self._open_call(call, body, index)
        elif extra:
            self._late_extras[item.item["call_id"]] = extra
        item.grow(text_of(body.get("arguments")) or text_of(body.get("input")))

    def _open_call(self, call: Body, body: Body, index: int) -> CallItem:
        call_id = text_of(call.get("id")) or stable_call_id(self.base["id"], index)
        if call.get("extra_content"):
            self._reasoning().carry_call(call_id, call["extra_content"])
        self._close_finished()
        kind = "custom_tool_call" if dict_of(call.get("custom")) else "function_call"
        head = {"id": self._next_id(kind), "type": kind, "call_id": call_id}
        item = CallItem({**head, "name": text_of(body.get("name"))}, len(self._items), self._emit)
        self._items.append(item)
        self._calls[index] = item
        return item

    def _take_image(self, image: Body) -> None:
        inline = inline_data(image_url_of(image))
        if inline is None:
            return
        self._close_finished()
        kind = "image_generation_call"
        item = {"id": self._next_id(kind), "type": kind, "status": "in_progress", "result": None}
        opened = OpenItem(item, len(self._items), self._emit)
        item["result"] = inline.base64
        item["output_format"] = inline.media_type.partition("/")[2]
        opened.close("completed")
        self._items.append(opened)

    # --- the open item -----------------------------------------------------------------------

    def _message(self) -> MessageItem:
        last = self._items[-1] if self._items else None
        if isinstance(last, MessageItem) and last.is_open:
            return last
        self._close_finished()
        item = MessageItem(self._next_id("message"), len(self._items), self._emit)
        self._items.append(item)
        return item

    def _reasoning(self) -> ReasoningItem:
        last = self._items[-1] if self._items else None
        if isinstance(last, ReasoningItem) and last.is_open:
            return last
        self._close_finished()
        id = self._next_id("reasoning")
        item = ReasoningItem(id, len(self._items), self._emit, self._style)
        self._items.append(item)
        return item

    def _close_finished(self) -> None:
        """Before another item opens. A call of which more may come stays open beside it."""
        for item in self._items:
            if item.is_open and not (isinstance(item, CallItem) and not item.is_whole()):
                item.close("completed")

    def _next_id(self, kind: str) -> str:
        return output_item_id(kind, self.base["id"], len(self._items))

    # --- the end -----------------------------------------------------------------------------

    def finish(self) -> Body:
        """The answer ended well, be it cut short. Closes what is open and gives the response."""
        reason = _CUT_SHORT.get(self._finish)
        if self._late_extras:
            late = self._reasoning()
            for call_id, extra in self._late_extras.items():
                late.carry_call(call_id, extra)
        if not reason and not any(not isinstance(item, ReasoningItem) for item in self._items):
            self._message().text("", [])
        for item in self._items:
            if item.is_open:
                whole = isinstance(item, CallItem) and item.is_whole()
                item.close("incomplete" if reason and not whole else "completed")
        return self.response(
            "incomplete" if reason else "completed",
            incomplete_details={"reason": reason} if reason else None,
        )

    def fail(self, error: Body) -> Body:
        """The answer broke: what came so far stays as it is."""
        for item in self._items:
            if item.is_open:
                item.settle("incomplete")
        return self.response("failed", error=error)

    def response(self, status: str, **more: Any) -> Body:
        output = [item.item for item in self._items]
        return {
            **self.base,
            "status": status,
            "output": output,
            "usage": usage_shown(self._usage),
            **more,
        }


def _asks_for_summary(base: Body) -> bool:
    reasoning = base["reasoning"]
    return bool(reasoning.get("summary") or reasoning.get("generate_summary"))


def _text_in(content: Any) -> str:
    """Some hosts answer in parts, some of them thoughts."""
    if isinstance(content, str):
        return content
    return "".join(text_of(part.get("text")) for part in dicts_in(content))


def _annotations_in(message: Body) -> list[Body]:
    """Chat has one kind, in an envelope."""
    found = []
    for annotation in dicts_in(message.get("annotations")):
        cited = dict_of(annotation.get("url_citation"))
        if text_of(cited.get("url")):
            places = {n: c if type(c := cited.get(n)) is int else 0 for n in _CITED_PLACES}
            words = {"title": text_of(cited.get("title")), "url": cited["url"]}
            found.append({"type": "url_citation", **places, **words})
    return found


_CITED_PLACES = ("start_index", "end_index")


def logprobs_in(choice: Body) -> list[Body]:
    return [_logprob(entry) for entry in dicts_in(dict_of(choice.get("logprobs")).get("content"))]


def _logprob(entry: Body) -> Body:
    return {
        **_token(entry),
        "top_logprobs": [_token(other) for other in dicts_in(entry.get("top_logprobs"))],
    }


def _token(entry: Body) -> Body:
    token, logprob = text_of(entry.get("token")), entry.get("logprob")
    return {
        "token": token,
        "bytes": list_of(entry.get("bytes")) or list(token.encode("utf-8", "surrogatepass")),
        "logprob": logprob if isinstance(logprob, int | float) else 0.0,
    }


def usage_shown(raw: Body) -> Body | None:
    """None where the provider did not say. The hub's cost stands beside the counts."""
    if not raw:
        return None
    usage = openai_usage(raw)
    shown: Body = {
        "input_tokens": usage.input_total or 0,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read or 0,
            "cache_write_tokens": usage.cache_write_5m or 0,
        },
        "output_tokens": usage.output_total or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": (usage.input_total or 0) + (usage.output_total or 0),
    }
    return shown | {name: raw[name] for name in ("cost", "cost_status") if name in raw}
