"""What the simulated model says: a pure function of the model's name and the prompt.

The same request gets the same text streamed or whole, at each provider of the model and in each
dialect. Words in the prompt steer it:

    "... in 200 words"           exactly so many words
    "say exactly: some text"     that text
    "weather", or a tool's name  a call of that tool (when tools are given), for each place named
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec

from routing.simulator.asks import Ask, Tool
from routing.simulator.schemas import sample
from routing.simulator.tokens import pieces_of

MAX_WORDS = 20_000
TOPIC_WORDS = 8
REASONING_SHARE = 3  # at most one in so many allowed tokens is spent on thinking
_WORDS = re.compile(r"\b(\d{1,5})[ -]words?\b", re.IGNORECASE)
_EXACTLY = re.compile(r"say exactly: ?(.+)", re.IGNORECASE | re.DOTALL)
_PLACE = re.compile(r"\b(?:in|for|of|at)\s+((?:[A-Z][\w-]+)(?:(?:\s*,\s*|\s+and\s+)[A-Z][\w-]+)*)")
_SENTENCES = (
    "It is assembled from stock sentences, so nothing in it is a fact.",
    "A real model would weigh the question; this one only counts words.",
    "Every piece of it arrives in order, at the pace of the provider being played.",
    "The same question gets the same words from each provider of this model.",
    "Tokens are counted by a simple rule that can be checked by hand.",
    "Prices come from the catalog, and the bill can be asked for afterwards.",
    "Some characters need more than one byte: café, naïve, 東京, ½ and €.",
    "Short answers are cheap, long ones show how a stream behaves.",
    "If a connection breaks here, somebody asked for a fault.",
    "Caches remember long beginnings for five minutes.",
    "Limits, refusals and error envelopes follow the documentation of the provider.",
    "Latency is drawn from a lognormal distribution, speed from a normal one.",
    "Under load the first token comes later and the others more slowly.",
    "No graphics card was warmed for these lines.",
)
_THOUGHTS = (
    "The user wants an answer to a short question.",
    "I should name the simulation, so that nobody mistakes this for knowledge.",
    "Stock sentences will do; I pick them by the hash of the question.",
    "Then I stop at the length that was allowed.",
)


class Part(msgspec.Struct):
    """A stretch of the answer: kind is reasoning, text or call."""

    kind: str
    pieces: list[str]
    call_no: int = 0
    tool: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        return len(self.pieces) + (len(pieces_of(self.tool)) if self.kind == "call" else 0)


class Choice(msgspec.Struct):
    parts: list[Part]
    finish: str  # stop | length | tool_calls

    def text(self, kind: str) -> str:
        return "".join(part.text for part in self.parts if part.kind == kind)

    def tokens(self, kind: str = "") -> int:
        return sum(part.tokens for part in self.parts if not kind or part.kind == kind)


def answer(ask: Ask, model: str) -> list[Choice]:
    """`model` is the canonical name; `ask.max_tokens` bounds each choice."""
    return [_choice(ask, model, number) for number in range(ask.n)]


def _choice(ask: Ask, model: str, number: int) -> Choice:
    seed = _seed(model, ask.user_text, number)
    allowed = ask.max_tokens
    parts = [_reasoning(ask, Random(seed))] if ask.reasons else []
    parts = [part for part in parts if part.pieces]
    if allowed is not None:
        allowed -= sum(part.tokens for part in parts)
    tools = list(_calls(ask))
    if tools:
        return Choice(parts + tools, "tool_calls")
    text = _text(ask, model, number, Random(seed))
    text, stopped = _cut_at_stop(text, ask.stop)
    pieces = pieces_of(text)
    if allowed is not None and len(pieces) > allowed:
        return Choice([*parts, Part("text", pieces[:allowed])], "length")
    return Choice([*parts, Part("text", pieces)], "stop_sequence" if stopped else "stop")


def _seed(model: str, text: str, number: int) -> str:
    return hashlib.sha256(
        f"{model.lower()}\n{text}\n{number}".encode("utf-8", "replace")
    ).hexdigest()


def _reasoning(ask: Ask, rng: Random) -> Part:
    pieces = pieces_of(" ".join(_THOUGHTS[: rng.randint(2, len(_THOUGHTS))]))
    if ask.max_tokens is not None:
        pieces = pieces[: ask.max_tokens // REASONING_SHARE]
    return Part("reasoning", pieces)


def _text(ask: Ask, model: str, number: int, rng: Random) -> str:
    if ask.schema is not None:
        return json.dumps(sample(ask.schema, _hints(ask.user_text)), ensure_ascii=False)
    if ask.json_object:
        topic = _topic(ask.user_text)
        return json.dumps({"simulated": True, "model": model, "topic": topic}, ensure_ascii=False)
    exactly = _EXACTLY.search(ask.user_text)
    if exactly:
        return exactly[1]
    return _prose(ask, model, number, rng)


def _prose(ask: Ask, model: str, number: int, rng: Random) -> str:
    words = f"This is a simulated answer from {model}.".split()
    if number:
        words += f"It is variant {number + 1}.".split()
    if ask.tool_result is not None:
        words += f"The tool said: {_topic(ask.tool_result)}.".split()
    topic = _topic(ask.user_text)
    if topic:
        words += f"You asked: “{topic}”.".split()
    asked = _WORDS.search(ask.user_text)
    target = min(int(asked[1]), MAX_WORDS) if asked else len(words) + rng.randint(30, 80)
    sentences = list(_SENTENCES)
    while len(words) < target:
        rng.shuffle(sentences)
        for sentence in sentences:
            words += sentence.split()
    return _ended(" ".join(words[:target]) if asked else _whole_sentences(words, target))


def _whole_sentences(words: list[str], target: int) -> str:
    end = target
    while end < len(words) and not words[end - 1].endswith("."):
        end += 1
    return " ".join(words[:end])


def _ended(text: str) -> str:
    return text if text.endswith(".") or not text else text.rstrip(",;:“”") + "."


def _topic(text: str) -> str:
    words = text.split()
    more = "…" if len(words) > TOPIC_WORDS else ""
    return " ".join(words[:TOPIC_WORDS])[:120].rstrip(".?! ") + more


def _cut_at_stop(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    found = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
    return (text[: min(found)], True) if found else (text, False)


def _calls(ask: Ask) -> Iterator[Part]:
    tool = _chosen_tool(ask)
    if tool is None:
        return
    places = _places(ask.user_text) or [""]
    if not ask.parallel or not _place_property(tool.schema):
        places = places[:1]
    for number, place in enumerate(places[:4]):
        hints = _hints(ask.user_text, place)
        arguments = json.dumps(
            sample(tool.schema, hints) if tool.schema else {}, ensure_ascii=False
        )
        yield Part("call", pieces_of(arguments), number, tool.name)


def _chosen_tool(ask: Ask) -> Tool | None:
    if not ask.tools or ask.tool_mode == "none" or ask.tool_result is not None:
        return None
    if ask.tool_mode == "named":
        return next((tool for tool in ask.tools if tool.name == ask.tool_name), None)
    text = ask.user_text.lower()
    for tool in ask.tools:
        if tool.name.lower() in text:
            return tool
    if "weather" in text or ask.tool_mode == "required":
        return next((tool for tool in ask.tools if "weather" in tool.name.lower()), ask.tools[0])
    return None


_PLACE_NAMES = ("city", "location", "place", "town")


def _place_property(schema: dict[str, Any]) -> bool:
    return any(name in schema.get("properties", {}) for name in _PLACE_NAMES)


def _places(text: str) -> list[str]:
    found = _PLACE.search(text)
    return re.split(r"\s*,\s*|\s+and\s+", found[1]) if found else []


def _hints(text: str, place: str = "") -> dict[str, str]:
    place = place or next(iter(_places(text)), "")
    hints = dict.fromkeys(_PLACE_NAMES, place) if place else {}
    return {**hints, "topic": _topic(text), "title": _topic(text)}
