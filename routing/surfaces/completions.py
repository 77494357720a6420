"""OpenAI's older completions dialect: `POST /v1/completions`, one prompt as one user message."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from routing.adapters import sse
from routing.adapters.base import NativeCall
from routing.adapters.jsonio import dict_of, dicts_in, dumps, loads, text_of
from routing.core.errors import HubError
from routing.surfaces import openai_envelope
from routing.surfaces.base import LONGEST_CHUNK_BYTES, Surface, Voice, VoiceStream
from routing.surfaces.openai_envelope import refusal

Body = dict[str, Any]

NATIVE_DIALECT = "openai_completions"
NAMES = {"messages": "prompt", "top_logprobs": "logprobs", "max_completion_tokens": "max_tokens"}
MOST_LOGPROBS = 5
_HUB_FIELDS = ("provider", "models")
_OWN = frozenset({"best_of", "echo", "logprobs", "model", "prompt", "suffix"})
_CHAT_ONLY = ("messages", "tools", "tool_choice", "response_format")
_FINISH_WORDS = ("stop", "length", "content_filter")


class CompletionsSurface(Surface):
    name = "completions"

    @override
    def read(self, body: Body, request_id: str, now_unix_s: float) -> CompletionsVoice:
        """Raises HubError 400."""
        _refuse_impossible(body)
        head = {
            "id": f"cmpl-{request_id.replace('-', '')}",
            "object": "text_completion",
            "created": int(now_unix_s),
            "model": text_of(body.get("model")),
        }
        return CompletionsVoice(body, _prompt_of(body), head, request_id)

    @override
    def error_body(self, error: HubError, request_id: str) -> bytes:
        return openai_envelope.error_body(error, request_id, NAMES)


class CompletionsVoice(Voice):
    def __init__(self, body: Body, prompt: str, head: Body, request_id: str) -> None:
        self.chat = _chat_from(body, prompt)
        self.native = NativeCall(
            NATIVE_DIALECT, {name: v for name, v in body.items() if name not in _HUB_FIELDS}
        )
        self.uncarried: tuple[str, ...] = ()
        self.head = head
        self.request_id = request_id
        self.echoed = prompt if body.get("echo") is True else ""
        self.wants_usage = dict_of(body.get("stream_options")).get("include_usage") is True

    @override
    def reply(self, answer: bytes) -> bytes:
        document = dict_of(loads(answer))
        choices = []
        for choice in dicts_in(document.get("choices")):
            message = dict_of(choice.get("message"))
            piece = _Piece(self.echoed + _text_in(message), choice, message)
            choices.append(piece.shown(0, _finish_word(choice) or "stop"))
        return dumps({**headed(self.head, document), "choices": choices, **_usage(document)})

    @override
    def open_stream(self) -> CompletionsStream:
        return CompletionsStream(self)


class CompletionsStream(VoiceStream):
    def __init__(self, voice: CompletionsVoice) -> None:
        self._voice = voice
        self._frames = sse.FrameSplitter(LONGEST_CHUNK_BYTES)
        self._chars: dict[int, int] = {}  # sent so far, by choice
        self._ended = False

    @override
    def feed(self, data: bytes) -> bytes:
        return b"".join(map(self._take, self._frames.feed(data)))

    def _take(self, frame: sse.Frame) -> bytes:
        if frame.name == sse.COMMENT:
            return sse.KEEP_ALIVE
        if not frame.data or frame.data.strip() == b"[DONE]":
            return b""
        chunk = dict_of(loads(frame.data))
        choices = [self._choice(choice) for choice in dicts_in(chunk.get("choices"))]
        usage = _usage(chunk) if self._voice.wants_usage else {}
        if not any(choices) and not usage:
            return b""
        head = headed(self._voice.head, chunk)
        return sse.encode(dumps({**head, "choices": list(filter(None, choices)), **usage}))

    def _choice(self, choice: Body) -> Body | None:
        """None for what says nothing here: a role, or nothing at all."""
        index = _index_of(choice)
        delta = dict_of(choice.get("delta"))
        text, finish = _text_in(delta), _finish_word(choice)
        if index not in self._chars:
            text = self._voice.echoed + text
        piece = _Piece(text, choice, delta)
        if not piece.says_something and finish is None:
            return None
        start = self._chars.get(index, 0)
        self._chars[index] = start + len(text)
        return piece.shown(start, finish)

    @override
    def close(self) -> bytes:
        if self._ended:
            return b""
        self._ended = True
        return sse.DONE

    @override
    def broken(self, error: HubError) -> bytes:
        """No [DONE] follows: the answer is not complete."""
        if self._ended:
            return b""
        self._ended = True
        return sse.encode(openai_envelope.error_body(error, self._voice.request_id, NAMES))


class _Piece:
    """Some of one choice's text, with what belongs to it."""

    def __init__(self, text: str, choice: Body, message: Body) -> None:
        self._text = text
        self._choice = choice
        self._thought = text_of(message.get("reasoning_content"))
        self.says_something = bool(text or self._thought)

    def shown(self, start: int, finish: str | None) -> Body:
        """`start`: characters of this choice before it. Thoughts have no field of their own."""
        made: Body = {
            "text": self._text,
            "index": _index_of(self._choice),
            "logprobs": _logprobs(self._choice, start),
            "finish_reason": finish,
        }
        return {**made, "reasoning_content": self._thought} if self._thought else made


# --- the request -----------------------------------------------------------------------------


def _refuse_impossible(body: Body) -> None:
    for name in _CHAT_ONLY:
        if body.get(name) is not None:
            raise refusal(
                name,
                f"'{name}' is a field of /v1/chat/completions. Completions take a 'prompt'",
                "unsupported_parameter",
            )
    if body.get("suffix"):
        raise refusal(
            "suffix",
            "Text cannot be inserted before a 'suffix' by every provider: leave it out, or ask "
            "for the middle in the prompt",
            "unsupported_parameter",
        )
    _check_best_of(body)
    if body.get("echo") not in (None, True, False):
        raise refusal("echo", "'echo' must be true or false", "invalid_type")
    _check_logprobs(body)


def _check_best_of(body: Body) -> None:
    best_of, n = body.get("best_of"), body.get("n") or 1
    if best_of not in (None, n):
        raise refusal(
            "best_of",
            "The best of several cannot be chosen for you here: ask for 'n' and choose",
            "unsupported_parameter",
        )


def _check_logprobs(body: Body) -> None:
    most = body.get("logprobs")
    if most is None:
        return
    if type(most) is not int or not 0 <= most <= MOST_LOGPROBS:
        raise refusal("logprobs", f"'logprobs' must be between 0 and {MOST_LOGPROBS}")
    if body.get("echo"):
        raise refusal(
            "logprobs",
            "The prompt has no 'logprobs' here: leave out 'echo' or 'logprobs'",
            "unsupported_parameter",
        )


def _prompt_of(body: Body) -> str:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt:
        prompt = _only_prompt(prompt)
    if not isinstance(prompt, str) or not prompt:
        raise refusal("prompt", "'prompt' must be a text", "invalid_type")
    return prompt


def _only_prompt(prompts: list[Any]) -> Any:
    if isinstance(prompts[0], int | list):
        raise refusal(
            "prompt",
            "'prompt' must be a text: token ids mean something else to every model",
            "unsupported_parameter",
        )
    if len(prompts) > 1:
        raise refusal(
            "prompt",
            f"'prompt' holds {len(prompts)} texts. One request answers one: send them one by one, "
            "or as a batch",
            "unsupported_parameter",
        )
    return prompts[0]


def _chat_from(body: Body, prompt: str) -> Body:
    """Fields that are the same in both, and unknown ones, go along as they are."""
    chat: Body = {"model": body.get("model"), "messages": [{"role": "user", "content": prompt}]}
    chat.update({name: value for name, value in body.items() if name not in _OWN})
    if body.get("logprobs") is not None:
        chat["logprobs"] = True
        chat["top_logprobs"] = body["logprobs"]
    return chat


# --- the answer ------------------------------------------------------------------------------


def headed(head: Body, document: Body) -> Body:
    named = {"model": text_of(document.get("model")) or head["model"]}
    fingerprint = text_of(document.get("system_fingerprint"))
    return {**head, **named, **({"system_fingerprint": fingerprint} if fingerprint else {})}


def _usage(document: Body) -> Body:
    usage = dict_of(document.get("usage"))
    return {"usage": usage} if usage else {}


def _index_of(choice: Body) -> int:
    index = choice.get("index")
    return index if type(index) is int else 0


def _text_in(message: Body) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content or text_of(message.get("refusal"))
    texts = "".join(text_of(part.get("text")) for part in dicts_in(content))
    return texts or text_of(message.get("refusal"))


def _finish_word(choice: Body) -> str | None:
    word = text_of(choice.get("finish_reason"))
    return word if word in _FINISH_WORDS else ("stop" if word else None)


def _logprobs(choice: Body, start: int) -> Body | None:
    """From a list of tokens to four lists side by side."""
    entries = dicts_in(dict_of(choice.get("logprobs")).get("content"))
    if not entries:
        return None
    shown: Body = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for entry in entries:
        token = text_of(entry.get("token"))
        shown["tokens"].append(token)
        shown["token_logprobs"].append(entry.get("logprob"))
        shown["top_logprobs"].append(
            {text_of(t.get("token")): t.get("logprob") for t in dicts_in(entry.get("top_logprobs"))}
        )
        shown["text_offset"].append(start)
        start += len(token)
    return shown
