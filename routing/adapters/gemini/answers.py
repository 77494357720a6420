"""Gemini's answers as OpenAI chat completions, whole and streamed."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from routing.adapters import sse
from routing.adapters.base import ChatCall
from routing.adapters.chunks import stable_call_id, tool_call
from routing.adapters.content import content_chars, has_answer
from routing.adapters.gemini.grounding import Cited, carried_metadata, cited_in
from routing.adapters.gemini.logprobs import logprobs_of
from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dig, dumps, loads, text_of
from routing.adapters.stream import TranslatedStream
from routing.adapters.usage import gemini_usage
from routing.core.catalog import Endpoint

_FILTERED = (
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_OTHER",
    "IMAGE_RECITATION",
    "MODEL_ARMOR",
)
FINISH_WORDS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(_FILTERED, "content_filter"),
}
FAILURES = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "NO_IMAGE",
        "OTHER",
        "TOO_MANY_TOOL_CALLS",
        "UNEXPECTED_TOOL_CALL",
    }
)
_NO_REASON = "FINISH_REASON_UNSPECIFIED"


def finish_word(reason: str, *, has_tools: bool) -> str:
    """`STOP` also ends a turn of function calls there."""
    word = FINISH_WORDS.get(reason, "stop")
    return "tool_calls" if has_tools and word == "stop" else word


def failure_document(reason: str) -> dict[str, Any]:
    """A finish reason that says the model failed, in the form of an error body."""
    message = f"The model ended with {reason}. Try again, or choose another endpoint."
    return {"error": {"message": message, "status": reason}}


def block_reason(document: dict[str, Any]) -> str:
    """Why the prompt was refused; such an answer has no candidates."""
    if dicts_in(document.get("candidates")):
        return ""
    return text_of(dig(document, "promptFeedback.blockReason"))


def reason_of(candidate: dict[str, Any]) -> str:
    reason = text_of(candidate.get("finishReason"))
    return "" if reason == _NO_REASON else reason


def index_of(candidate: dict[str, Any]) -> int:
    index = candidate.get("index")
    return index if type(index) is int else 0


def message_from(
    candidate: dict[str, Any], response_id: str, calls_before: int = 0
) -> dict[str, Any]:
    """The fields of an assistant message that the candidate's parts give; none if it is empty."""
    parts = dicts_in(dig(candidate, "content.parts"))
    texts = [text_of(part.get("text")) for part in parts if not part.get("thought")]
    thoughts = [text_of(part.get("text")) for part in parts if part.get("thought")]
    images = [_image(part["inlineData"]) for part in parts if part.get("inlineData")]
    with_calls = [part for part in parts if isinstance(part.get("functionCall"), dict)]
    place = (response_id, index_of(candidate))
    calls = [_call(part, calls_before + i, place) for i, part in enumerate(with_calls)]
    fields = {
        "content": "".join(texts),
        "reasoning_content": "".join(thoughts),
        "tool_calls": calls,
        "images": images,
    }
    return {name: value for name, value in fields.items() if value}


def sources_of(candidate: dict[str, Any], answer: str) -> dict[str, Any]:
    """The fields of a message that tell what `answer` rests on; none if it does not say."""
    fields = {
        "annotations": [cited.annotation() for cited in cited_in(candidate, answer)],
        "extra_content": carried_metadata(candidate),
    }
    return {name: value for name, value in fields.items() if value}


def _call(part: dict[str, Any], index: int, place: tuple[str, int]) -> dict[str, Any]:
    """The thought signature travels in `extra_content`, as in Google's own OpenAI dialect."""
    function = part["functionCall"]
    id = text_of(function.get("id")) or stable_call_id(*place, index)
    arguments = dumps(dict_of(function.get("args"))).decode()
    made = tool_call(index, id, text_of(function.get("name")), arguments)
    signature = text_of(part.get("thoughtSignature"))
    if not signature:
        return made
    return {**made, "extra_content": {"google": {"thought_signature": signature}}}


def _image(data: Any) -> dict[str, Any]:
    media_type, content = text_of(dig(data, "mimeType")), text_of(dig(data, "data"))
    return {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{content}"}}


class GeminiStream(TranslatedStream):
    """Every event is a whole response object with a little more; nothing marks the end but EOF."""

    def __init__(self, call: ChatCall, endpoint: Endpoint, created: int) -> None:
        super().__init__(call, endpoint, created)
        self._call_counts: dict[int, int] = {}  # by candidate
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self._texts: dict[int, str] = {}  # by candidate
        self._cited: dict[int, set[Cited]] = {}  # by candidate: what the client knows already

    @override
    def _on_frame(self, frame: sse.Frame) -> bytes:
        document = loads(frame.data)
        if isinstance(document, list) or dict_of(document).get("error"):
            return self._refuse(document)
        if not isinstance(document, dict):
            raise BadJson("an event is a JSON object")
        self._take_head(document)
        if block_reason(document):
            return self._end_choice(0, "SAFETY")
        out = [
            self._take_candidate(candidate) for candidate in dicts_in(document.get("candidates"))
        ]
        return b"".join(out) if self.error is None else b""

    def _take_head(self, document: dict[str, Any]) -> None:
        self.response_model = self.response_model or text_of(document.get("modelVersion"))
        self._write.model = self.response_model or self._write.model
        self._write.id = self._write.id or text_of(document.get("responseId"))
        raw = dict_of(document.get("usageMetadata"))
        if raw:
            self.usage, self.usage_raw = gemini_usage(raw), dumps(raw)

    def _take_candidate(self, candidate: dict[str, Any]) -> bytes:
        index, reason = index_of(candidate), reason_of(candidate)
        calls_before = self._call_counts.get(index, 0)
        delta = message_from(candidate, self._write.id, calls_before)
        self._call_counts[index] = calls_before + len(delta.get("tool_calls", ()))
        if reason in FAILURES:
            return self._refuse(failure_document(reason))
        out = self._write_delta(delta, index, logprobs_of(candidate)) if delta else b""
        self._texts[index] = self._texts.get(index, "") + delta.get("content", "")
        out += self._write_sources(candidate, index)
        return out + (self._end_choice(index, reason) if reason else b"")

    def _write_delta(
        self, delta: dict[str, Any], index: int, logprobs: dict[str, Any] | None
    ) -> bytes:
        is_first = index not in self._open
        self._open.add(index)
        is_answer = has_answer(delta) or "images" in delta
        self._count(content_chars(delta), is_answer=is_answer)
        whole = {"role": "assistant", **delta} if is_first else delta
        return self._write.delta(whole, index, logprobs)

    def _write_sources(self, candidate: dict[str, Any], index: int) -> bytes:
        """Told again and again as the answer grows; the client is told once."""
        known = self._cited.setdefault(index, set())
        fresh = [c for c in cited_in(candidate, self._texts[index]) if c not in known]
        known.update(fresh)
        extra = carried_metadata(candidate)
        fields = {"annotations": [cited.annotation() for cited in fresh], "extra_content": extra}
        told = {name: value for name, value in fields.items() if value}
        return self._write.delta(told, index) if told else b""

    def _end_choice(self, index: int, reason: str) -> bytes:
        if index in self._finished:
            return b""
        self._finished.add(index)
        word = finish_word(reason, has_tools=bool(self._call_counts.get(index)))
        self.finish_reason = self.finish_reason or word
        return self._write.finish(word, index)

    @override
    def _ended(self) -> bool:
        return bool(self._finished) and self._open <= self._finished
