"""What is too large to be held: text on disk, requests of it, and answers in pieces."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from routing.batches.providers import ways
from routing.batches.providers.carrier import Carrier
from routing.batches.providers.paper import Answer, Answers, Paper, pieces_of, size_of
from routing.batches.providers.wire import at_our_host
from routing.core.errors import BrokenAnswer, ConnectFailed
from routing.gateway.upstream.guard import AllowList
from routing.simulator.batches.book import Mishap
from routing.simulator.server import ThreadedSimulator

MIB = 2**20


@pytest.fixture
def paper() -> Iterator[Paper]:
    made = Paper(b"\n")
    yield made
    made.close()


def test_a_hundred_mebibytes_are_never_in_memory_together(paper: Paper) -> None:
    text = b"x" * MIB
    tracemalloc.start()
    try:
        for _ in range(100):
            paper.add(text)
        _, body = ways.form({"purpose": "batch"}, "lines.jsonl", paper)
        sent = sum(map(len, pieces_of(body)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent == size_of(body) > 100 * MIB
    assert peak < 12 * MIB


def test_text_is_read_where_it_was_written(paper: Paper) -> None:
    places = [paper.add(text) for text in (b"one", b"two", b"three")]
    assert paper.read(places[1], 3) == b"two"
    assert b"".join(paper.pieces()) == b"one\ntwo\nthree"
    assert paper.size == len(b"one\ntwo\nthree")


def test_the_first_answer_to_a_line_is_the_one_that_counts() -> None:
    answers = Answers()
    for status, body in ((200, b"first"), (500, b"second")):
        answers.add(Answer("a", status, body))
    assert answers.get("a") == Answer("a", 200, b"first")
    assert answers.get("b") is None
    answers.close()


async def test_it_connects_only_where_the_guard_allows(simulator: ThreadedSimulator) -> None:
    carrier = Carrier(AllowList.parse([]))
    with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1"):
        await carrier.send("GET", f"{simulator.base_url('openai')}/batches", [])
    await carrier.aclose()


async def test_a_file_that_breaks_off_is_a_broken_answer(simulator: ThreadedSimulator) -> None:
    simulator.in_loop(lambda service: service.batches.keep_file(b"x" * MIB, "f"))
    simulator.in_loop(lambda service: service.batches.mishaps.append(Mishap(status=0)))
    carrier = Carrier(AllowList.parse(["127.0.0.1"]))
    own = [(b"authorization", b"Bearer sim-openai-key")]
    answer = await carrier.send("GET", f"{simulator.base_url('openai')}/files/f/content", own)
    with pytest.raises(BrokenAnswer):
        await answer.read(2 * MIB)
    await answer.aclose()
    await carrier.aclose()


def test_a_credential_goes_to_no_other_host_than_its_own() -> None:
    given = "https://elsewhere.example/upload/v1beta/files?upload_id=7"
    ours = at_our_host(given, "https://gemini.example/v1beta")
    assert ours == "https://gemini.example/upload/v1beta/files?upload_id=7"
