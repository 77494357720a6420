"""A Responses request as an OpenAI chat request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from routing.adapters.jsonio import dict_of, list_of, text_of
from routing.adapters.left_out import named
from routing.surfaces.openai_envelope import refusal
from routing.surfaces.responses.messages import Transcript
from routing.surfaces.responses.store import Item
from routing.surfaces.responses.tools import chat_choice, chat_tools

Body = dict[str, Any]

# Fields of chat that have another name and place here.
MOVED = {
    "messages": "input",
    "response_format": "text.format",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "functions": "tools",
    "function_call": "tool_choice",
}
_SAME_NAME = (
    "temperature",
    "top_p",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "user",
)
# Words of chat that this dialect lacks. A provider of the dialect refuses them; in chat they work.
CHAT_ONLY = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "modalities",
        "prediction",
        "presence_penalty",
        "seed",
        "stop",
        "web_search_options",
    }
)
# Whoever asks for these would get something else than asked.
_REFUSED = {
    # A provider would keep such a response under its own id for whoever polls for it, outside of
    # what this hub keeps, and its end would never be metered.
    "background": "answers while you wait: leave 'background' out, or use batches",
    "conversation": "keeps responses, not conversations: use 'previous_response_id'",
    "n": "gives one response to a request: send it several times",
}
_ASKS_FOR_NOTHING = {"background": False, "n": 1}
# Without effect on providers that speak chat.
_NO_WORD = (
    "access_programs",
    "background_options",
    "context_management",
    "image",
    "moderation",
    "prompt",
)
# Those of them without which the answer would be to another question.
_ESSENTIAL = frozenset({"access_programs", "moderation", "prompt"})
_INCLUDED = (
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
    "message.input_image.image_url",
)
# Kept by the hub itself, or read where the body is read.
_OWN = frozenset(
    {
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "store",
        "stream",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "truncation",
    }
)
_HANDLED = _OWN | {*_SAME_NAME, *_REFUSED, *_NO_WORD}


# What is asked is in a prompt that the provider keeps.
NOTHING_SAID = {"role": "user", "content": ""}


class Translation(NamedTuple):
    chat: Body
    uncarried: tuple[str, ...]  # fields that chat has no word for
    essential: tuple[str, ...]  # those of them that change what is asked


class _Job(NamedTuple):
    body: Body
    chat: Body
    uncarried: set[str]
    essential: set[str]


def chat_from(body: Body, items: list[Item]) -> Translation:
    """Fields that are unknown here go along as they are. Raises HubError 400."""
    chat: Body = {"model": body.get("model")}
    transcript = Transcript(body.get("instructions"), items)
    chat["messages"] = transcript.messages or [NOTHING_SAID]
    chat.update({name: body[name] for name in _SAME_NAME if body.get(name) is not None})
    job = _Job(body, chat, set(transcript.uncarried), set(transcript.essential))
    for step in _STEPS:
        step(job)
    chat.update({name: value for name, value in body.items() if name not in _HANDLED})
    essential = job.essential | (job.uncarried & _ESSENTIAL)
    return Translation(chat, named(sorted(job.uncarried | essential)), named(sorted(essential)))


def refuse_impossible(body: Body) -> None:
    """Raises HubError 400 for what no part of this hub could do."""
    for name, place in MOVED.items():
        if body.get(name) is not None:
            raise refusal(
                name,
                f"'{name}' is a field of chat completions: here it is '{place}'",
                "unsupported_parameter",
            )
    for name, reason in _REFUSED.items():
        value = body.get(name)
        if value is not None and value != _ASKS_FOR_NOTHING.get(name):
            raise refusal(name, f"This hub {reason}", "unsupported_parameter")


def _put_stream(job: _Job) -> None:
    """The last event carries usage, so it is always asked for."""
    if job.body.get("stream"):
        job.chat["stream"] = True
        job.chat["stream_options"] = {"include_usage": True}
        if dict_of(job.body.get("stream_options")).get("include_obfuscation"):
            job.uncarried.add("stream_options.include_obfuscation")


def _put_limits(job: _Job) -> None:
    if job.body.get("max_output_tokens") is not None:
        job.chat["max_completion_tokens"] = job.body["max_output_tokens"]
    if job.body.get("truncation") == "auto":
        job.uncarried.add("truncation")


def _put_tools(job: _Job) -> None:
    read = chat_tools(job.body)
    job.uncarried.update(read.uncarried)
    job.essential.update(read.builtin)
    choice = chat_choice(job.body.get("tool_choice"), read)
    if not read.tools:  # chat refuses the other two without tools
        return
    job.chat["tools"] = read.tools
    if choice is not None:
        job.chat["tool_choice"] = choice
    if job.body.get("parallel_tool_calls") is not None:
        job.chat["parallel_tool_calls"] = job.body["parallel_tool_calls"]


def _put_reasoning(job: _Job) -> None:
    reasoning = dict_of(job.body.get("reasoning"))
    if reasoning.get("effort") is not None:
        job.chat["reasoning_effort"] = reasoning["effort"]
    extra = reasoning.keys() - {"effort", "summary", "generate_summary"}
    job.uncarried.update(f"reasoning.{name}" for name in extra if reasoning[name] is not None)


def _put_text(job: _Job) -> None:
    text = dict_of(job.body.get("text"))
    if text.get("verbosity") is not None:
        job.chat["verbosity"] = text["verbosity"]
    form = text.get("format")
    if form is None:
        return
    kind = text_of(dict_of(form).get("type"))
    if kind == "json_schema":
        job.chat["response_format"] = {"type": kind, "json_schema": _schema(dict_of(form))}
    elif kind == "json_object":
        job.chat["response_format"] = {"type": kind}
    elif kind != "text":
        raise refusal(
            "text.format.type", "'text.format.type' must be text, json_object or json_schema"
        )


def _schema(form: Body) -> Body:
    if not text_of(form.get("name")):
        raise refusal("text.format.name", "'text.format.name' must name the schema", "invalid_type")
    if not isinstance(form.get("schema"), dict):
        raise refusal(
            "text.format.schema", "'text.format.schema' must be a JSON schema", "invalid_type"
        )
    fields = ("name", "description", "schema", "strict")
    return {name: form[name] for name in fields if form.get(name) is not None}


def _put_include(job: _Job) -> None:
    wanted = set(list_of(job.body.get("include")))
    job.uncarried.update(f"include.{name}" for name in wanted - set(_INCLUDED))
    most = job.body.get("top_logprobs")
    if most or "message.output_text.logprobs" in wanted:
        job.chat["logprobs"] = True
        job.chat["top_logprobs"] = most or 0


def _note_the_rest(job: _Job) -> None:
    job.uncarried.update(name for name in _NO_WORD if job.body.get(name) is not None)


_STEPS: tuple[Callable[[_Job], None], ...] = (
    _put_stream,
    _put_limits,
    _put_tools,
    _put_reasoning,
    _put_text,
    _put_include,
    _note_the_rest,
)
