"""The stand-in provider speaks both wire formats, and the load client notices what goes wrong."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.bodies import CLAUDE, CLAUDE_STREAM, LONG, SHORT, SHORT_STREAM, Body
from bench.load import LoadReport
from bench.paths import LOAD, UPSTREAM
from bench.processes import is_listening
from bench.tools import SOURCES, compile_program

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
CHUNKS, DELAY_MS = 4, 2
EMPTY_STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)
ANTHROPIC_ORDER = [
    *("message_start", "content_block_start", "ping"),
    *["content_block_delta"] * CHUNKS,
    *("content_block_stop", "message_delta", "message_stop"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bench")
    for program, sources in SOURCES.items():
        compile_program("cc", made / program.name, sources)
    return made


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    port = free_port()
    command = [str(folder / UPSTREAM.name), str(port), str(CHUNKS), str(DELAY_MS)]
    process = subprocess.Popen(command)
    for _ in range(500):
        if is_listening(port):
            break
        time.sleep(0.01)
    yield port
    process.terminate()
    process.wait()


Run = Callable[..., LoadReport]


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    def run(port: int, body: Body, *options: str) -> LoadReport:
        file = tmp_path / "body.json"
        file.write_text(body.text(), encoding="utf-8")
        command = [str(folder / LOAD.name), "--port", str(port), "--body", str(file), *options]
        done = subprocess.run(command, capture_output=True, check=True)
        return msgspec.json.decode(done.stdout, type=LoadReport)

    return run


def answer(port: int, path: str, body: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", path, body.encode(), {"content-type": "application/json"})
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def events_in(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_anthropics_events_come_in_anthropics_order_with_the_usage_at_both_ends(port: int) -> None:
    text = answer(port, "/claude/v1/messages", CLAUDE_STREAM.text())
    events = events_in(text)
    assert [event["type"] for event in events] == ANTHROPIC_ORDER
    names = [line.removeprefix("event: ") for line in text.splitlines() if line[:6] == "event:"]
    assert names == ANTHROPIC_ORDER
    first, last = events[0]["message"], events[-2]
    assert first["usage"]["input_tokens"] == 41
    assert first["usage"]["cache_read_input_tokens"] == 16
    assert last["usage"]["output_tokens"] == CHUNKS
    assert last["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}


def test_a_plain_answer_is_that_of_the_dialect_asked(port: int) -> None:
    message = json.loads(answer(port, "/v1/messages", CLAUDE.text()))
    completion = json.loads(answer(port, "/v1/chat/completions", SHORT.text()))
    assert message["type"] == "message"
    assert message["usage"]["output_tokens"] == 100
    assert completion["object"] == "chat.completion"
    assert message["content"][0]["text"] == completion["choices"][0]["message"]["content"]


def test_openais_stream_ends_with_usage_and_done(port: int) -> None:
    text = answer(port, "/v1/chat/completions", SHORT_STREAM.text())
    events = events_in(text)
    assert len(events) == CHUNKS + 1
    assert events[-1]["choices"] == []
    assert text.endswith("data: [DONE]\n\n")


def test_a_stream_has_no_more_events_than_tokens_were_asked_for(port: int) -> None:
    text = answer(port, "/v1/chat/completions", SHORT_STREAM.warm_up.text())
    assert len(events_in(text)) == 2 + 1


@pytest.mark.parametrize("body", [SHORT, LONG], ids=lambda body: body.name)
def test_short_and_long_requests_are_all_answered(port: int, run: Run, body: Body) -> None:
    report = run(port, body, "--connections", "16", "--seconds", "5", "--requests", "200")
    assert (report.done, report.errors) == (200, 0)
    assert report.latency_p50_us > 0


def test_each_stream_and_each_of_its_chunks_is_counted(port: int, run: Run) -> None:
    report = run(port, SHORT_STREAM, "--connections", "20", "--seconds", "5", "--one-each")
    assert (report.done, report.errors, report.chunks) == (20, 0, 20 * CHUNKS)
    assert 0 < report.chunk_delay_p50_us < 1e6


def test_a_request_carries_its_number_so_that_no_two_are_the_same(run: Run) -> None:
    seen = OneReply(2, b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nxxxxx xxxxx")
    report = run(seen.port, SHORT, "--requests", "2", "--seconds", "5")
    assert report.done == 2
    assert b"Request 0000000000." in seen.requests[0]
    assert b"Request 0000000001." in seen.requests[1]


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 4\r\n\r\ngone", "502 gone"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "the answer is not the upstream's"),
        (b"", "the connection was closed before an answer"),
        (
            EMPTY_STREAM,
            "the stream ended without [DONE]",
        ),
    ],
    ids=["status", "other words", "closed", "no end"],
)
def test_what_is_no_good_answer_is_an_error(run: Run, reply: bytes, problem: str) -> None:
    seen = OneReply(1, reply)
    report = run(seen.port, SHORT, "--requests", "1", "--seconds", "5", "--one-each")
    assert (report.done, report.errors) == (0, 1)
    assert report.first_error == problem


class OneReply:
    """A server for so many requests on one connection, each answered by the same bytes."""

    def __init__(self, count: int, reply: bytes) -> None:
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, args=(count, reply), daemon=True).start()

    def _serve(self, count: int, reply: bytes) -> None:
        connection, _ = self._listener.accept()
        with self._listener, connection:
            for _ in range(count):
                self.requests.append(connection.recv(65536))
                connection.sendall(reply)
