"""What one turn of the loop has to send goes out when the turn is over, in order, or not at all."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any, cast

import pytest

from routing.core.deadlines import Deadlines
from routing.gateway.hot_protocol import HotCycle, HotProtocol
from routing.gateway.outbox import MANY, MOST_HELD_BYTES, Outbox, outbox_of
from routing.gateway.upstream.connection import Connection, StaleConnection
from tests.routing.gateway.scripted import Bench, stream


@pytest.fixture(autouse=True)
async def opened() -> None:
    outbox_of(asyncio.get_running_loop()).is_open = True


class Wire:
    """A transport that remembers what reached it, and when it was closed."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.closed = True

    close = abort


class Owner:
    def __init__(self) -> None:
        self.freed_connections: list[Connection] = []

    def freed(self, connection: Connection) -> None:
        self.freed_connections.append(connection)

    def lost(self, connection: Connection) -> None:
        pass


def connection_on(wire: Wire, owner: Owner | None = None) -> Connection:
    connection = Connection(owner or Owner(), asyncio.get_running_loop(), "host", 30.0)
    connection.connection_made(cast(asyncio.Transport, wire))
    return connection


def ask(connection: Connection, message: bytes, rest: bytes = b"") -> Any:
    now = connection.loop.time()
    return connection.start(message, rest, Deadlines(), inf, now)


async def turn() -> None:
    await asyncio.sleep(0)


async def test_messages_of_one_turn_go_out_after_it_in_their_order() -> None:
    order: list[bytes] = []
    wires = [Wire(), Wire(), Wire()]
    for wire in wires:
        wire.sent = order
    for n, wire in enumerate(wires):
        ask(connection_on(wire), b"%d" % n)
    assert order == []
    await turn()
    assert order == [b"0", b"1", b"2"]


async def test_where_little_goes_on_everything_is_sent_at_once() -> None:
    outbox_of(asyncio.get_running_loop()).is_open = False
    asked, answered = Wire(), Wire()
    ask(connection_on(asked), b"question")
    protocol_on(answered).hold(b"answer")
    assert (asked.sent, answered.sent) == ([b"question"], [b"answer"])


async def test_a_gateway_holds_while_many_requests_run() -> None:
    release = asyncio.Event()
    bench = Bench(*(stream(release) for _ in range(MANY)))
    await bench.gateway.start()
    box = outbox_of(asyncio.get_running_loop())
    clients = [bench.client(stream=True) for _ in range(MANY)]
    asked = [asyncio.create_task(bench.send(client)) for client in clients]
    try:
        await until(box, is_open=True)
        clients[0].leave()
        await until(box, is_open=False)
        assert len(bench.gateway.running) == MANY - 1
    finally:
        await bench.gateway.stop(drain_s=0)
        await asyncio.gather(*asked)


async def until(box: Outbox, is_open: bool) -> None:
    async with asyncio.timeout(5):
        while box.is_open is not is_open:  # noqa: ASYNC110 - the tick has no event for it
            await asyncio.sleep(0.01)


async def test_a_message_with_a_large_body_is_sent_at_once() -> None:
    wire = Wire()
    ask(connection_on(wire), b"head", b"body")
    assert wire.sent == [b"head", b"body"]


async def test_what_was_given_up_in_the_same_turn_is_never_sent() -> None:
    wire = Wire()
    answer = ask(connection_on(wire), b"question")
    answer.abandon()
    await turn()
    assert (wire.sent, wire.closed) == ([], True)


async def test_what_comes_before_the_question_went_out_is_not_its_answer() -> None:
    """A provider that closes idle connections may say so in that very moment."""
    wire, owner = Wire(), Owner()
    connection = connection_on(wire, owner)
    answer = ask(connection, b"question")
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    await turn()
    assert (type(answer.error), answer.status) == (StaleConnection, 0)  # so it is asked afresh
    assert (wire.closed, wire.sent, owner.freed_connections) == (True, [], [])


async def test_one_answer_for_each_question_gives_the_connection_back() -> None:
    wire, owner = Wire(), Owner()
    connection = connection_on(wire, owner)
    ask(connection, b"question")
    await turn()
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    assert owner.freed_connections == [connection]


# --- answers to clients ----------------------------------------------------------------------------


class Flow:
    write_paused = False


def protocol_on(wire: Wire) -> HotProtocol:
    protocol = HotProtocol.__new__(HotProtocol)
    protocol.loop = asyncio.get_running_loop()
    protocol.transport = cast(asyncio.Transport, wire)
    protocol.flow = Flow()  # type: ignore[assignment]
    protocol.pipeline = []  # type: ignore[assignment]
    protocol.outbox = outbox_of(protocol.loop)
    return protocol


async def test_pieces_of_one_turn_become_one_write() -> None:
    wire = Wire()
    protocol = protocol_on(wire)
    protocol.hold(b"a")
    protocol.hold(b"b")
    assert wire.sent == []
    await turn()
    assert wire.sent == [b"ab"]


async def test_no_more_is_held_than_a_bound() -> None:
    wire = Wire()
    protocol = protocol_on(wire)
    protocol.hold(b"a")
    protocol.hold(b"x" * MOST_HELD_BYTES)
    assert [len(sent) for sent in wire.sent] == [1, MOST_HELD_BYTES]


async def test_what_is_held_goes_before_what_is_written() -> None:
    wire = Wire()
    protocol = protocol_on(wire)
    protocol.hold(b"a")
    protocol.write_now(b"b")
    await turn()
    assert wire.sent == [b"a", b"b"]


async def test_the_last_answer_of_a_connection_is_written_before_it_is_closed() -> None:
    wire = Wire()
    protocol = protocol_on(wire)
    await protocol.write_last(HotCycle(protocol, keep_alive=False), b"bye")
    assert wire.sent == [b"bye"]


async def test_a_client_that_is_gone_gets_nothing_and_harms_nobody() -> None:
    wires = [Wire(), Wire()]
    for wire in wires:
        protocol_on(wire).hold(b"answer")
    wires[0].closed = True
    await turn()
    assert [wire.sent for wire in wires] == [[], [b"answer"]]


async def test_each_loop_has_a_box_of_its_own() -> None:
    here = outbox_of(asyncio.get_running_loop())
    assert outbox_of(asyncio.get_running_loop()) is here
    other = asyncio.new_event_loop()
    try:
        assert outbox_of(other) is not here
    finally:
        other.close()
