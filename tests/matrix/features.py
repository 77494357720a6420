"""The rows of the matrix: what is asked, and what proves that it works."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.matrix.asked import HELLO, PANEL, PIXEL, Asked, Body
from tests.matrix.exchange import Exchange

LONG_SYSTEM = "You answer questions about panelboards, breakers, feeds and circuits. " * 300
OSLO = "What is the weather in Oslo?"
TWO_CITIES = "What is the weather in Oslo and Paris?"


@dataclass(frozen=True)
class Feature:
    title: str
    asked: Asked
    prove: Callable[[Exchange, Asked], None]  # raises AssertionError or Refusal
    needs: str = ""  # capability of the endpoint, as in the catalog
    fields: tuple[str, ...] = ()  # names under which it is refused or reported as left out
    faulty: bool = False  # breaks the provider, so no other cell may run meanwhile


# --- proofs --------------------------------------------------------------------------------------


def answers(exchange: Exchange, asked: Asked) -> None:
    said = exchange.ask(asked)
    assert said.text
    assert said.finish == "stop"


def streams(exchange: Exchange, asked: Asked) -> None:
    plain, streamed = exchange.ask(asked), exchange.ask(asked.streamed())
    assert streamed.text == plain.text
    assert streamed.finish == plain.finish
    assert streamed.ended


def counts(exchange: Exchange, asked: Asked) -> None:
    plain, streamed = exchange.ask(asked), exchange.ask(asked.streamed())
    assert plain.input_tokens == streamed.input_tokens > 0
    assert plain.output_tokens == streamed.output_tokens > 0


def reaches_provider(text: str) -> Callable[[Exchange, Asked], None]:
    def prove(exchange: Exchange, asked: Asked) -> None:
        assert exchange.ask(asked).text
        assert text in json.dumps(exchange.received())

    return prove


def remembers(exchange: Exchange, asked: Asked) -> None:
    exchange.ask(asked)
    sent = json.dumps(exchange.received())
    assert all(text in sent for text in asked.earlier)


def stops(exchange: Exchange, asked: Asked) -> None:
    whole = exchange.ask(replace(asked, stop=())).text
    cut = exchange.ask(asked)
    assert cut.finish == "stop"
    assert whole.startswith(cut.text)
    assert asked.stop[0] not in cut.text
    assert len(cut.text) < len(whole)


def is_cut(exchange: Exchange, asked: Asked) -> None:
    said = exchange.ask(asked)
    assert said.finish == "length"
    assert 0 < said.output_tokens <= asked.limit


def loops(exchange: Exchange, asked: Asked) -> None:
    first = exchange.ask(asked)
    assert first.finish == "tool_calls"
    assert [call.name for call in first.calls] == ["get_weather"]
    assert json.loads(first.calls[0].arguments) == {"city": "Oslo"}
    second = exchange.answer(asked, first, ["4 C and rain"])
    assert second.text
    assert "4 C and rain" in json.dumps(exchange.received())


def streams_calls(exchange: Exchange, asked: Asked) -> None:
    plain, streamed = exchange.ask(asked), exchange.ask(asked.streamed())
    assert streamed.finish == "tool_calls"
    assert [call_without_id(c) for c in streamed.calls] == [call_without_id(c) for c in plain.calls]
    assert all(call.id for call in streamed.calls)


def call_without_id(call: Any) -> tuple[str, Body]:
    return call.name, json.loads(call.arguments)


def calls_two(exchange: Exchange, asked: Asked) -> None:
    first = exchange.ask(asked)
    assert [json.loads(call.arguments)["city"] for call in first.calls] == ["Oslo", "Paris"]
    assert exchange.answer(asked, first, ["4 C and rain", "18 C and sun"]).text
    sent = json.dumps(exchange.received())
    assert "4 C and rain" in sent
    assert "18 C and sun" in sent


def calls_one(exchange: Exchange, asked: Asked) -> None:
    assert len(exchange.ask(asked).calls) == 1


def calls_named(exchange: Exchange, asked: Asked) -> None:
    assert [call.name for call in exchange.ask(asked).calls] == [asked.tools[-1]]


def calls_any(exchange: Exchange, asked: Asked) -> None:
    assert len(exchange.ask(asked).calls) == 1


def calls_none(exchange: Exchange, asked: Asked) -> None:
    said = exchange.ask(asked)
    assert said.text
    assert not said.calls


def searches(exchange: Exchange, asked: Asked) -> None:
    """The provider's own search is in the answer, and in what it was asked."""
    plain, streamed = exchange.ask(asked), exchange.ask(asked.streamed())
    assert plain.searched
    assert plain.text
    assert streamed.searched
    assert streamed.text == plain.text
    assert "web_search" in json.dumps(exchange.received()["tools"])


def follows_schema(exchange: Exchange, asked: Asked) -> None:
    for said in (exchange.ask(asked), exchange.ask(asked.streamed())):
        value = json.loads(said.text)
        assert isinstance(value["name"], str)
        assert isinstance(value["circuits"], int)


def is_json(exchange: Exchange, asked: Asked) -> None:
    assert isinstance(json.loads(exchange.ask(asked).text), dict)


def thinks(exchange: Exchange, asked: Asked) -> None:
    plain, streamed = exchange.ask(asked), exchange.ask(asked.streamed())
    assert plain.text
    assert plain.thought
    assert streamed.thought == plain.thought


def thinks_on(exchange: Exchange, asked: Asked) -> None:
    """The thoughts of the first turn are with the provider in the second."""
    first = exchange.ask(asked)
    assert first.calls
    assert first.thought
    assert exchange.answer(asked, first, ["4 C and rain"]).text
    sent = json.dumps(exchange.received(), ensure_ascii=False)
    marks = [first.thought[:40], "thoughtSignature", "signature"]
    assert any(mark in sent for mark in marks), "no thought and no signature was sent back"


def caches(exchange: Exchange, asked: Asked) -> None:
    exchange.ask(asked)
    again = exchange.ask(asked)
    assert again.cached_tokens > 1000
    assert exchange.ask(asked.streamed()).cached_tokens > 1000


def has_logprobs(exchange: Exchange, asked: Asked) -> None:
    assert exchange.ask(asked).logprobs
    assert exchange.ask(asked.streamed()).logprobs or exchange.surface.name == "completions"


def gives_several(exchange: Exchange, asked: Asked) -> None:
    assert exchange.ask(asked).choices == asked.n


def tells_tier(exchange: Exchange, asked: Asked) -> None:
    said = exchange.ask(asked)
    sent = exchange.received()
    assert any("tier" in name.lower() for name in sent), "no tier was sent"
    assert said.text


def fails_before(exchange: Exchange, asked: Asked) -> None:
    """As an HTTP status and in the dialect's envelope, also where a stream was asked for."""
    for one, fault in ((asked, "error_200"), (asked.streamed(), "error_first_frame")):
        with exchange.fault(fault, status=500):
            refusal = exchange.refused(one)
        assert refusal.status >= 500
        assert refusal.code
        assert exchange.ask(one).text, "it does not work again"


def fails_after(exchange: Exchange, asked: Asked) -> None:
    """The stream says so in the dialect's words and does not claim to be whole."""
    with exchange.fault("cut", after_chunks=3):
        said = exchange.ask(asked.streamed())
    assert said.text
    assert said.error
    assert not said.ended
    assert exchange.ask(asked.streamed()).ended, "it does not work again"


# --- the rows ------------------------------------------------------------------------------------

TOOL = ("get_weather",)
TOOLS = ("get_weather", "get_humidity")

FEATURES: tuple[Feature, ...] = (
    Feature("Plain answer", Asked(), answers),
    Feature("Stream", Asked(), streams),
    Feature("Usage, plain and in the stream", Asked(), counts),
    Feature(
        "System prompt",
        Asked(system="Answer like a pirate."),
        reaches_provider("Answer like a pirate."),
        fields=("messages", "system"),
    ),
    Feature(
        "Several turns",
        Asked(earlier=("My name is Ada.", "Good day, Ada.")),
        remembers,
        fields=("messages",),
    ),
    Feature("Stop sequences", Asked(stop=("answer",)), stops, fields=("stop",)),
    Feature(
        "Temperature",
        Asked(temperature=0.3),
        reaches_provider('"temperature": 0.3'),
        fields=("temperature",),
    ),
    Feature("Output limit", Asked(text="Tell me a story in 200 words.", limit=20), is_cut),
    Feature("Tool loop", Asked(text=OSLO, tools=TOOL), loops, "tools", ("tools",)),
    Feature("Tools in a stream", Asked(text=OSLO, tools=TOOL), streams_calls, "tools", ("tools",)),
    Feature(
        "Parallel tools",
        Asked(text=TWO_CITIES, tools=TOOL),
        calls_two,
        "parallel_tools",
        ("tools",),
    ),
    Feature(
        "One tool at a time",
        Asked(text=TWO_CITIES, tools=TOOL, one_call_at_most=True),
        calls_one,
        "one_call_at_most",
        ("parallel_tool_calls", "tools"),
    ),
    Feature(
        "Some tool forced",
        Asked(tools=TOOL, choice="required"),
        calls_any,
        "tool_choice_required",
        ("tool_choice", "tools"),
    ),
    Feature(
        "One tool forced",
        Asked(tools=TOOLS, choice="named"),
        calls_named,
        "tool_choice_required",
        ("tool_choice", "tools"),
    ),
    Feature(
        "Tools forbidden",
        Asked(text=OSLO, tools=TOOL, choice="none"),
        calls_none,
        "tools",
        ("tool_choice", "tools"),
    ),
    Feature(
        "Web search run by the provider",
        Asked(text="Search for panelboards.", web_search=True),
        searches,
        "web_search",
        ("tools", "web_search"),
    ),
    Feature(
        "Structured output",
        Asked(schema=PANEL),
        follows_schema,
        "structured_output",
        ("response_format", "output_config", "text.format"),
    ),
    Feature(
        "JSON mode",
        Asked(text=f"{HELLO} Answer in JSON.", json_mode=True),
        is_json,
        "json_mode",
        ("response_format", "text.format"),
    ),
    Feature(
        "Images in, inline",
        Asked(picture="inline"),
        reaches_provider(PIXEL),
        "vision",
        ("messages",),
    ),
    Feature(
        "Images in, by address",
        Asked(picture="address"),
        reaches_provider("pictures.example"),
        "vision",
        ("messages",),
    ),
    Feature(
        "Reasoning shown",
        Asked(effort="high"),
        thinks,
        "reasoning",
        ("reasoning_effort", "reasoning", "messages"),
    ),
    Feature(
        "Reasoning kept through a tool loop",
        Asked(text=OSLO, tools=TOOL, effort="high"),
        thinks_on,
        "reasoning",
        ("reasoning_effort", "reasoning", "tools", "messages"),
    ),
    Feature(
        "Prompt caching",
        Asked(system=LONG_SYSTEM, caches=True),
        caches,
        "prompt_cache",
        ("messages",),
    ),
    Feature("Logprobs", Asked(logprobs=True), has_logprobs, "logprobs", ("logprobs",)),
    Feature("Seed", Asked(seed=731942), reaches_provider("731942"), "seed", ("seed",)),
    Feature("Several answers (n)", Asked(n=2), gives_several, "n", ("n",)),
    Feature("Service tier", Asked(tier="default"), tells_tier, fields=("service_tier",)),
    Feature(
        "End user's id",
        Asked(user="user-1843"),
        reaches_provider("user-1843"),
        "end_user",
        ("user", "safety_identifier", "metadata"),
    ),
    Feature("Failure before the first token", Asked(), fails_before, faulty=True),
    Feature("Failure after the first token", Asked(), fails_after, faulty=True),
)
