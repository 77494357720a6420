"""The requests that are sent are what a client might send, and as large as they are said to be."""

from __future__ import annotations

import json

from bench.bodies import CLAUDE, LONG, LONG_BYTES, NUMBER_MARK, SHORT, SHORT_STREAM, Body


def test_the_long_prompt_is_about_100_kb_of_words_that_need_escapes() -> None:
    text = LONG.text()
    assert LONG_BYTES <= len(text.encode()) < LONG_BYTES * 1.1
    for escape in (r"\n", r"\"", r"\\", r"\t", r"\r\n", r"\u001b"):
        assert escape in text
    assert len(text.encode()) > len(text), "not ASCII alone"


def test_the_long_prompt_is_a_conversation_in_turns() -> None:
    messages = json.loads(LONG.text())["messages"]
    roles = [message["role"] for message in messages]
    assert roles[0] == "system"
    assert roles[-1] == "user"
    assert {"user", "assistant"} == set(roles[1:])
    assert len({message["content"] for message in messages}) == len(messages)


def test_the_long_prompt_is_the_same_in_every_run() -> None:
    assert LONG.text() == LONG.text()


def test_every_prompt_has_one_place_for_the_requests_number() -> None:
    for body in (SHORT, SHORT_STREAM, LONG, CLAUDE):
        assert body.text().count(NUMBER_MARK) == 1


def test_a_warm_up_differs_in_its_length_alone() -> None:
    warm, body = json.loads(SHORT_STREAM.warm_up.text()), json.loads(SHORT_STREAM.text())
    assert warm.pop("max_tokens") < body.pop("max_tokens")
    assert warm == body
    assert SHORT_STREAM.warm_up.file != SHORT_STREAM.file


def test_only_a_stream_asks_for_one() -> None:
    assert json.loads(SHORT_STREAM.text())["stream"] is True
    assert "stream" not in json.loads(Body("plain", "m").text())
