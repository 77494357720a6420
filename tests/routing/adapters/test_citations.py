"""What an answer rests on survives the translation: whole and streamed, to OpenAI's words and on to
Anthropic's, both held against the makers' own types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from routing.adapters.anthropic.foreign import UNSIGNED
from routing.core.catalog import Endpoint
from tests.routing.adapters.support import (
    adapter_of,
    call_of,
    chunks_in,
    endpoint_of,
    open_stream,
    read_all,
    sent_body,
)
from tests.routing.surfaces.messages.support import (
    accumulated,
    streamed,
    voice_of,
)
from tests.routing.surfaces.messages.support import frame as chat_frame

CLAUDE = endpoint_of("anthropic", "claude-x")
GEMINI = endpoint_of("gemini", "gemini-3-x")

DOCUMENT = {
    "type": "char_location",
    "cited_text": "The panel has nine circuits.",
    "document_index": 0,
    "document_title": "Panel",
    "start_char_index": 10,
    "end_char_index": 38,
}
PAGE = {**DOCUMENT, "type": "page_location", "start_page_number": 2, "end_page_number": 3}
RESULT = {
    "type": "search_result_location",
    "source": "https://example.org/panel",
    "title": "Panel",
    "cited_text": "nine",
    "search_result_index": 0,
    "start_block_index": 0,
    "end_block_index": 1,
}
BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": "It has "},
    {"type": "text", "text": "nine", "citations": [DOCUMENT, PAGE, RESULT]},
    {"type": "text", "text": " circuits.", "citations": [{**RESULT, "source": "manual-7"}]},
]


def whole(endpoint: Endpoint, document: dict[str, Any]) -> dict[str, Any]:
    reply = adapter_of(endpoint).read_reply(call_of(), endpoint, [], json.dumps(document).encode())
    ChatCompletion.model_validate_json(reply.raw, strict=True)
    message: dict[str, Any] = reply.body["choices"][0]["message"]
    return message


def deltas_of(endpoint: Endpoint, *events: dict[str, Any]) -> list[dict[str, Any]]:
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    reader = open_stream(endpoint)
    chunks = chunks_in(read_all(reader, data))
    assert reader.done
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


def gathered(deltas: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [item for delta in deltas for item in delta.get(name, [])]


def claude_events() -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "model": "claude-x", "usage": {}}}
    ]
    for index, block in enumerate(BLOCKS):
        opening = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": block["text"]}]
        deltas += [
            {"type": "citations_delta", "citation": each} for each in block.get("citations", [])
        ]
        events.append({"type": "content_block_start", "index": index, "content_block": opening})
        events += [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
        events.append({"type": "content_block_stop", "index": index})
    ending = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
    return [*events, ending, {"type": "message_stop"}]


# --- Anthropic's citations ------------------------------------------------------------------------


def test_places_in_documents_come_as_they_are_with_their_place_in_the_text() -> None:
    message = whole(CLAUDE, {"content": BLOCKS, "stop_reason": "end_turn"})
    assert message["document_citations"] == [
        {**DOCUMENT, "start_index": 7, "end_index": 11},
        {**PAGE, "start_index": 7, "end_index": 11},
        {**RESULT, "source": "manual-7", "start_index": 11, "end_index": 21},
    ]
    assert message["content"][7:11] == "nine"


def test_a_search_result_with_an_address_is_a_cited_page() -> None:
    message = whole(CLAUDE, {"content": BLOCKS, "stop_reason": "end_turn"})
    place = {"start_index": 7, "end_index": 11}
    cited = {**place, "title": "Panel", "url": "https://example.org/panel"}
    assert message["annotations"] == [{"type": "url_citation", "url_citation": cited}]


def test_streamed_and_whole_tell_the_same_citations() -> None:
    message = whole(CLAUDE, {"content": BLOCKS, "stop_reason": "end_turn"})
    deltas = deltas_of(CLAUDE, *claude_events())
    for name in ("annotations", "document_citations"):
        assert gathered(deltas, name) == message[name] != []


def test_a_file_may_ask_for_citations_and_keeps_its_name() -> None:
    data = {"filename": "panel.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}
    part = {"type": "file", "file": data, "citations": {"enabled": True}}
    body = sent_body(CLAUDE, messages=[{"role": "user", "content": [part]}])
    assert body["messages"][0]["content"] == [
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "panel.pdf",
            "citations": {"enabled": True},
        }
    ]


# --- Gemini's grounding -----------------------------------------------------------------------------

TEXT = "Grüße: Oslo is cold — 4 °C. Bergen is wet."
SEARCHED = {
    "webSearchQueries": ["weather oslo"],
    "searchEntryPoint": {"renderedContent": "<div/>"},
    "groundingChunks": [
        {"web": {"uri": "https://a.test/oslo", "title": "Oslo"}},
        {"retrievedContext": {"uri": "https://b.test/bergen"}},
        {"web": {"title": "without an address"}},
    ],
}


def segment_of(text: str) -> dict[str, Any]:
    """As Google tells it: in bytes."""
    at = TEXT.encode().index(text.encode())
    return {"startIndex": at, "endIndex": at + len(text.encode()), "text": text}


GROUNDED: dict[str, Any] = {
    **SEARCHED,
    "groundingSupports": [
        {"segment": segment_of("Oslo is cold — 4 °C."), "groundingChunkIndices": [0, 2, 9]},
        {"segment": segment_of("Bergen is wet."), "groundingChunkIndices": [0, 1]},
    ],
}
EXPECTED = [
    ("Oslo is cold — 4 °C.", "https://a.test/oslo", "Oslo"),
    ("Bergen is wet.", "https://a.test/oslo", "Oslo"),
    ("Bergen is wet.", "https://b.test/bergen", ""),
]


def candidate(text: str, **more: Any) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}]} if text else {"parts": []}
    return {"content": content, "index": 0, **more}


def answer(*candidates: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": list(candidates), "responseId": "r", "modelVersion": "gemini-3-x"}


def told(annotations: list[dict[str, Any]], text: str = TEXT) -> list[tuple[str, str, str]]:
    cited = [annotation["url_citation"] for annotation in annotations]
    return [(text[c["start_index"] : c["end_index"]], c["url"], c["title"]) for c in cited]


def test_grounding_becomes_annotations_at_the_right_characters() -> None:
    message = whole(
        GEMINI, answer(candidate(TEXT, finishReason="STOP", groundingMetadata=GROUNDED))
    )
    assert told(message["annotations"]) == EXPECTED
    assert message["extra_content"] == {"google": {"grounding_metadata": GROUNDED}}


def test_grounding_that_grows_with_a_stream_is_told_once() -> None:
    events = [
        answer(candidate(TEXT[:9])),
        answer(candidate(TEXT[9:30], groundingMetadata={})),
        answer(candidate(TEXT[30:], groundingMetadata=GROUNDED)),
        answer(candidate("", finishReason="STOP", groundingMetadata=GROUNDED)),
    ]
    deltas = deltas_of(GEMINI, *events)
    assert "".join(delta.get("content", "") for delta in deltas) == TEXT
    assert told(gathered(deltas, "annotations")) == EXPECTED


def test_sources_without_a_place_stand_for_the_whole_answer() -> None:
    found = answer(candidate(TEXT, finishReason="STOP", groundingMetadata=SEARCHED))
    assert told(whole(GEMINI, found)["annotations"]) == [
        (TEXT, "https://a.test/oslo", "Oslo"),
        (TEXT, "https://b.test/bergen", ""),
    ]


@pytest.mark.parametrize("name", ["citationSources", "citations"])
def test_passages_that_stand_in_a_source_are_cited(name: str) -> None:
    source = {**segment_of("Bergen is wet."), "uri": "https://c.test", "license": "mit"}
    metadata = {name: [source, {"startIndex": 1}]}
    found = answer(candidate(TEXT, finishReason="STOP", citationMetadata=metadata))
    assert told(whole(GEMINI, found)["annotations"]) == [("Bergen is wet.", "https://c.test", "")]


@pytest.mark.parametrize(
    "segment",
    [
        {"startIndex": 5, "endIndex": 9, "text": "Bergen is wet."},
        {"startIndex": 0, "endIndex": 9_999, "text": "Bergen is wet."},
        {"endIndex": "x", "text": "Bergen is wet."},
    ],
)
def test_the_words_decide_where_the_numbers_are_wrong(segment: dict[str, Any]) -> None:
    supports = [{"segment": segment, "groundingChunkIndices": [0]}]
    metadata = {**SEARCHED, "groundingSupports": supports}
    found = answer(candidate(TEXT, finishReason="STOP", groundingMetadata=metadata))
    assert told(whole(GEMINI, found)["annotations"]) == [
        ("Bergen is wet.", "https://a.test/oslo", "Oslo")
    ]


def test_an_answer_without_sources_says_nothing_of_them() -> None:
    message = whole(GEMINI, answer(candidate(TEXT, finishReason="STOP", groundingMetadata={})))
    assert not {"annotations", "extra_content"} & message.keys()


# --- on to Anthropic's words ------------------------------------------------------------------------


def pages_in(content: list[dict[str, Any]]) -> list[tuple[str, str]]:
    citations = [c for block in content for c in block.get("citations") or []]
    assert {c["encrypted_index"] for c in citations} == {UNSIGNED}
    return [(c["cited_text"], c["url"]) for c in citations]


def test_a_client_of_messages_sees_what_gemini_found() -> None:
    found = answer(candidate(TEXT, finishReason="STOP", groundingMetadata=GROUNDED))
    reply = adapter_of(GEMINI).read_reply(call_of(), GEMINI, [], json.dumps(found).encode())
    message = json.loads(voice_of().reply(reply.raw))
    assert pages_in(message["content"]) == [(text, url) for text, url, _ in EXPECTED]
    events = [answer(candidate(TEXT)), found | {"candidates": [candidate("", **LAST)]}]
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    out = streamed(voice_of(), read_all(open_stream(GEMINI), data))
    assert pages_in(accumulated(out)["content"]) == [(text, url) for text, url, _ in EXPECTED]


LAST = {"finishReason": "STOP", "groundingMetadata": GROUNDED}


def test_pages_that_a_host_lists_beside_its_answer_are_citations_too() -> None:
    pages = ["https://a.test", "https://b.test"]
    choice = {"index": 0, "message": {"role": "assistant", "content": "cold"}}
    document = {"choices": [{**choice, "finish_reason": "stop"}], "citations": pages}
    message = json.loads(voice_of().reply(json.dumps(document).encode()))
    assert pages_in(message["content"]) == [("", page) for page in pages]
    chunk = {"index": 0, "delta": {"content": "cold"}, "finish_reason": None}
    frames = [
        chat_frame({"choices": [chunk], "citations": pages}),
        chat_frame({"choices": [{**chunk, "delta": {}, "finish_reason": "stop"}]}),
        chat_frame({"choices": [], "citations": pages}),
    ]
    out = streamed(voice_of(), b"".join(frames) + b"data: [DONE]\n\n")
    assert pages_in(accumulated(out)["content"]) == [("", page) for page in pages]
