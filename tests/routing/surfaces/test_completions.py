from __future__ import annotations

import itertools
import json
from typing import Any, Literal

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI
from openai.types import Completion, CompletionChoice

from routing.core.errors import HubError
from routing.surfaces.completions import CompletionsSurface, CompletionsVoice
from tests.routing.surfaces.responses.support import (
    MODEL,
    NOW_S,
    REQUEST_ID,
    SSE_DONE,
    USAGE,
    chat_answer,
    chat_stream,
    chunk,
    frame,
)

SURFACE = CompletionsSurface()
LONG = chat_stream(
    chunk({"content": "Héllo \u2028"}), b": keep-alive\n\n", chunk({"content": "wörld 👋"})
)


class StreamedChoice(CompletionChoice):
    """The published type has no word for "not yet", which is what all but the last chunk say."""

    finish_reason: Literal["stop", "length", "content_filter"] | None = None  # type: ignore[assignment]


class Streamed(Completion):
    choices: list[StreamedChoice]  # type: ignore[assignment]


def voice_of(prompt: Any = "Once", **more: Any) -> CompletionsVoice:
    return SURFACE.read({"model": MODEL, "prompt": prompt, **more}, REQUEST_ID, NOW_S)


def reply_to(voice: CompletionsVoice, answer: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(voice.reply(json.dumps(answer).encode()))
    Completion.model_validate(document, strict=True)
    return document


def stream_to(voice: CompletionsVoice, *slices: bytes) -> list[dict[str, Any]]:
    stream = voice.open_stream()
    told = b"".join([*map(stream.feed, slices), stream.close()])
    assert told.endswith(SSE_DONE)
    return chunks_in(told.removesuffix(SSE_DONE))


def chunks_in(told: bytes) -> list[dict[str, Any]]:
    blocks = [b for b in told.decode().split("\n\n") if b.startswith("data: ")]
    chunks = [json.loads(block.removeprefix("data: ")) for block in blocks]
    for document in chunks:
        Streamed.model_validate(document, strict=True)
    return chunks


def text_of(chunks: list[dict[str, Any]], index: int = 0) -> str:
    choices = [choice for document in chunks for choice in document["choices"]]
    return "".join(choice["text"] for choice in choices if choice["index"] == index)


@pytest.mark.parametrize("prompt", ["Once", ["Once"]])
def test_a_prompt_is_one_user_message(prompt: Any) -> None:
    assert voice_of(prompt, max_tokens=9, seed=1, stop=["x"], n=2, user="u", top_k=3).chat == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Once"}],
        "max_tokens": 9,
        "seed": 1,
        "stop": ["x"],
        "n": 2,
        "user": "u",
        "top_k": 3,
    }


def test_a_text_and_its_usage_are_given() -> None:
    document = reply_to(voice_of(), chat_answer(" upon a time", system_fingerprint="fp"))
    assert document == {
        "id": f"cmpl-{REQUEST_ID.replace('-', '')}",
        "object": "text_completion",
        "created": int(NOW_S),
        "model": "m-1",
        "system_fingerprint": "fp",
        "choices": [
            {"text": " upon a time", "index": 0, "logprobs": None, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    }


@pytest.mark.parametrize(
    ("in_chat", "here"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "stop"),
    ],
)
def test_the_end_has_a_word_of_the_dialect(in_chat: str, here: str) -> None:
    assert reply_to(voice_of(), chat_answer("a", in_chat))["choices"][0]["finish_reason"] == here
    chunks = stream_to(voice_of(), chat_stream(chunk({"content": "a"}), finish=in_chat))
    assert chunks[1]["choices"][0]["finish_reason"] == here


def test_several_choices_keep_their_places() -> None:
    answer = chat_answer("a")
    answer["choices"].append({"index": 1, "finish_reason": "stop", "message": {"content": "b"}})
    texts = [choice["text"] for choice in reply_to(voice_of(n=2), answer)["choices"]]
    assert texts == ["a", "b"]
    other = frame({"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": None}]})
    chunks = stream_to(voice_of(n=2), chat_stream(chunk({"content": "a"}), other))
    assert (text_of(chunks, 0), text_of(chunks, 1)) == ("a", "b")


def test_the_prompt_is_repeated_where_it_was_asked_for() -> None:
    assert reply_to(voice_of(echo=True), chat_answer(" upon"))["choices"][0]["text"] == "Once upon"
    chunks = stream_to(voice_of(echo=True), chat_stream(chunk({"content": " upon"})))
    assert text_of(chunks) == "Once upon"


def test_logprobs_are_four_lists_side_by_side() -> None:
    top = [{"token": " a", "logprob": -0.5, "bytes": None}]
    content = [
        {"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": top}
        for token in ("Once", " a")
    ]
    voice = voice_of(logprobs=1)
    assert (voice.chat["logprobs"], voice.chat["top_logprobs"]) == (True, 1)
    answer = chat_answer("Once a")
    answer["choices"][0]["logprobs"] = {"content": content, "refusal": None}
    assert reply_to(voice, answer)["choices"][0]["logprobs"] == {
        "tokens": ["Once", " a"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{" a": -0.5}] * 2,
        "text_offset": [0, 4],
    }
    pieces = [
        chunk({"content": entry["token"]}, logprobs={"content": [entry]}) for entry in content
    ]
    chunks = stream_to(voice, chat_stream(*pieces))
    offsets = [c["choices"][0]["logprobs"]["text_offset"] for c in chunks[:2]]
    assert offsets == [[0], [4]]


def test_thoughts_and_refusals_are_not_lost() -> None:
    answer = chat_answer({"content": None, "refusal": "no", "reasoning_content": "hm"})
    choice = reply_to(voice_of(), answer)["choices"][0]
    assert (choice["text"], choice["reasoning_content"]) == ("no", "hm")
    chunks = stream_to(voice_of(), chat_stream(chunk({"reasoning_content": "hm"})))
    assert chunks[0]["choices"][0]["reasoning_content"] == "hm"


def test_a_stream_tells_usage_to_those_who_asked() -> None:
    chat = chat_stream(chunk({"content": "a"}))
    chunks = stream_to(voice_of(stream_options={"include_usage": True}), chat)
    assert [len(document["choices"]) for document in chunks] == [1, 1, 0]
    assert chunks[-1]["usage"] == USAGE
    assert not any("usage" in document for document in stream_to(voice_of(), chat))


def test_a_broken_stream_ends_with_an_error_and_without_done() -> None:
    stream = voice_of().open_stream()
    told = stream.feed(chunk({"content": "half"}))
    assert text_of(chunks_in(told)) == "half"
    error = json.loads(stream.broken(HubError(502, "cut", "cut")).removeprefix(b"data: "))["error"]
    assert (error["code"], error["request_id"]) == ("cut", REQUEST_ID)
    assert stream.close() == b""
    assert stream.broken(HubError(502, "cut", "cut")) == b""


@pytest.mark.parametrize("index", [[], {}, None, "0", True])
def test_a_choice_whose_place_is_nonsense_is_taken_for_the_first(index: Any) -> None:
    choice = {"index": index, "delta": {"content": "hi"}, "finish_reason": None}
    told = stream_to(voice_of(), frame({"id": "c", "choices": [choice]}))
    assert [document["choices"][0]["index"] for document in told] == [0]


def test_a_chunk_that_grew_in_translation_passes_whole() -> None:
    told = stream_to(voice_of(), chunk({"content": "x" * 2**21}), chunk({"content": "y"}))
    assert text_of(told) == "x" * 2**21 + "y"


def test_closing_twice_says_nothing_twice() -> None:
    stream = voice_of().open_stream()
    stream.feed(LONG)
    assert stream.close() == SSE_DONE
    assert stream.close() == b""


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(LONG)), max_size=12))
def test_the_chunks_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(LONG)]
    slices = [LONG[a:b] for a, b in itertools.pairwise(edges)]
    chunks = stream_to(voice_of(), *slices)
    assert chunks == stream_to(voice_of(), LONG)
    assert text_of(chunks) == "Héllo \u2028wörld 👋"


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"echo": "yes"}, "echo"),
        ({"echo": True, "logprobs": 1}, "logprobs"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": []}, "messages"),
        ({"tools": [{}]}, "tools"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(sent: dict[str, Any], param: str) -> None:
    with pytest.raises(HubError) as raised:
        voice_of(**{"prompt": "Once", **sent})
    assert (raised.value.status, raised.value.param) == (400, param)


@pytest.mark.parametrize("sent", [{"best_of": 1}, {"best_of": 2, "n": 2}, {"suffix": ""}])
def test_what_asks_for_nothing_more_is_taken(sent: dict[str, Any]) -> None:
    assert not voice_of(**sent).chat.keys() & {"best_of", "suffix", "echo"}


def test_the_request_as_it_was_written_is_there_for_providers_of_the_dialect() -> None:
    native = voice_of(provider={"only": ["a"]}, best_of=1).native
    assert native is not None
    assert (native.dialect, native.body) == (
        "openai_completions",
        {"model": MODEL, "prompt": "Once", "best_of": 1},
    )


def test_an_error_names_the_field_of_the_dialect() -> None:
    error = HubError(400, "context_length_exceeded", "too long", param="messages")
    assert json.loads(SURFACE.error_body(error, "r1"))["error"]["param"] == "prompt"


# --- with OpenAI's own client ----------------------------------------------------------------


def client_of(answer: Any) -> OpenAI:
    def respond(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        try:
            voice = SURFACE.read(body, REQUEST_ID, NOW_S)
        except HubError as error:
            return httpx2.Response(error.status, content=SURFACE.error_body(error, "r1"))
        if not body.get("stream"):
            return httpx2.Response(200, content=voice.reply(json.dumps(answer).encode()))
        stream = voice.open_stream()
        content = stream.feed(answer) + stream.close()
        return httpx2.Response(200, content=content)

    http_client = httpx2.Client(transport=httpx2.MockTransport(respond))
    return OpenAI(api_key="k", http_client=http_client, max_retries=0)


def test_the_sdk_reads_a_text() -> None:
    with client_of(chat_answer(" upon")) as client:
        assert client.completions.create(model=MODEL, prompt="Once").choices[0].text == " upon"


def test_the_sdk_reads_a_stream() -> None:
    with client_of(LONG) as client:
        options: Any = {"include_usage": True}
        chunks = list(
            client.completions.create(
                model=MODEL, prompt="Once", stream=True, stream_options=options
            )
        )
    assert "".join(c.choices[0].text for c in chunks if c.choices) == "Héllo \u2028wörld 👋"
    assert chunks[-1].usage is not None


def test_the_sdk_is_told_of_a_refusal() -> None:
    with client_of(None) as client, pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model=MODEL, prompt=[1, 2, 3])
    assert raised.value.param == "prompt"
