"""How connections are kept, retried, limited and ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from routing.core.deadlines import Deadlines
from routing.core.errors import BrokenAnswer, ConnectFailed, UpstreamTimeout
from routing.gateway.upstream import connection as fast_connection
from routing.gateway.upstream import httpx_client
from routing.gateway.upstream.base import UpstreamClient, UpstreamRequest
from tests.routing.upstream.helpers import PATIENT, Make, asking, fetch, opened, stream
from tests.routing.upstream.scripted import (
    Peer,
    Provider,
    answering,
    chunked,
    eventually,
    hanging,
    plain,
    serving,
)

NO_LIMITS = Deadlines(0, 0, 0, 0, 0, 0, 0, 0)
SHORT_POOL = Deadlines(pool_s=0.1)


async def test_it_sends_the_request_as_given_with_its_own_framing(client: UpstreamClient) -> None:
    headers = [
        (b"authorization", b"Bearer sk"),
        (b"x-request-id", b"abc-1"),
        (b"host", b"elsewhere.example"),
        (b"accept-encoding", b"gzip"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"content-length", b"1"),
    ]
    async with Provider(serving(plain())) as provider:
        url = f"{provider.url}/v1/chat/completions?beta=1&x=%20y"
        await fetch(client, UpstreamRequest("POST", url, headers, b'{"a":1}', PATIENT))
        [received] = provider.requests
        authority = f"127.0.0.1:{provider.port}"
    assert received.line == "POST /v1/chat/completions?beta=1&x=%20y HTTP/1.1"
    assert sorted((name.lower(), value) for name, value in received.headers) == [
        ("accept-encoding", "identity"),
        ("authorization", "Bearer sk"),
        ("content-length", "7"),
        ("host", authority),
        ("x-request-id", "abc-1"),
    ]
    assert received.body == b'{"a":1}'


async def test_requests_share_their_headers_and_each_has_its_own_mark(
    client: UpstreamClient,
) -> None:
    headers = ((b"authorization", b"Bearer sk"), (b"content-type", b"application/json"))
    async with Provider(serving(plain())) as provider:
        for mark, body in [(b"abc-1", b"{}"), (b"", b'{"a":1}'), (b"abc-2", b"")]:
            request = UpstreamRequest("POST", provider.url, headers, body, PATIENT, mark)
            assert await fetch(client, request) == (200, b"ok")
        marks = [received.values("x-request-id") for received in provider.requests]
        sizes = [received.values("content-length") for received in provider.requests]
        keys = [received.values("authorization") for received in provider.requests]
    assert marks == [["abc-1"], [], ["abc-2"]]
    assert sizes == [["2"], ["7"], ["0"]]
    assert keys == [["Bearer sk"]] * 3


@pytest.mark.parametrize("mark", [b"a\r\nx-evil: 1", b"a\nb", b"a\rb", b"a\0b"])
async def test_a_mark_cannot_smuggle_a_header(mark: bytes, client: UpstreamClient) -> None:
    headers = ((b"authorization", b"Bearer sk"),)
    async with Provider(serving(plain())) as provider:
        with pytest.raises(ConnectFailed, match="line break"):
            await client.send(UpstreamRequest("POST", provider.url, headers, b"{}", PATIENT, mark))
        assert provider.accepted == 0


async def test_a_get_has_no_body(client: UpstreamClient) -> None:
    async with Provider(serving(plain())) as provider:
        await fetch(client, UpstreamRequest("GET", provider.url, [], b"", PATIENT))
        [received] = provider.requests
    assert received.line == "GET / HTTP/1.1"
    assert not received.values("content-length")


@pytest.mark.parametrize("shape", [list, tuple])
@pytest.mark.parametrize("value", [b"sk\r\nx-evil: 1", b"sk\nx-evil: 1", b"sk\rx", b"sk\0"])
async def test_a_header_cannot_smuggle_another(
    value: bytes, shape: type[list[tuple[bytes, bytes]]], client: UpstreamClient
) -> None:
    async with Provider(serving(plain())) as provider:
        request = UpstreamRequest(
            "POST", provider.url, shape([(b"authorization", value)]), b"{}", PATIENT
        )
        for _ in range(2):  # what was refused once is not remembered as sound
            with pytest.raises(ConnectFailed, match="line break"):
                await client.send(request)
        assert provider.accepted == 0


async def test_a_large_body_arrives_whole(client: UpstreamClient) -> None:
    body = bytes(range(256)) * 16_384
    async with Provider(serving(plain())) as provider:
        await fetch(client, asking(provider.url, body=body))
        assert provider.requests[0].body == body


async def test_each_request_carries_the_headers_it_was_given(client: UpstreamClient) -> None:
    keys = [b"one", b"two", b"one", b"three"]
    async with Provider(serving(plain())) as provider:
        for key in keys:
            headers = ((b"authorization", key),)
            await fetch(client, UpstreamRequest("POST", provider.url, headers, b"{}", PATIENT))
        got = [received.values("authorization") for received in provider.requests]
    assert got == [[key.decode()] for key in keys]


FORMS = {
    "plain": ([plain(b"plain")], 200, b"plain"),
    "empty": ([plain(b"")], 200, b""),
    "chunked": ([chunked(b"chun", b"ked")], 200, b"chunked"),
    "in slices": ([plain(b"slices")[:30], plain(b"slices")[30:-2], b"es"], 200, b"slices"),
    "after the head": ([plain(b"later")[:-5], b"later"], 200, b"later"),
    "refused": ([plain(b"no", "429 Too Many Requests")], 429, b"no"),
    "no content": ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
    "interim first": ([b"HTTP/1.1 100 Continue\r\n\r\n", plain(b"ok")], 200, b"ok"),
    "interim with it": ([b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + plain(b"ok")], 200, b"ok"),
    "trailers": ([chunked(b"ok", end=b"0\r\nx-sum: 1\r\n\r\n")], 200, b"ok"),
}


async def test_answers_of_every_form_follow_each_other_on_one_connection(
    client: UpstreamClient,
) -> None:
    pairs = [form for first in FORMS for second in FORMS for form in (first, second)]

    async def script(peer: Peer) -> None:
        for form in pairs:
            await peer.request()
            for piece in FORMS[form][0]:
                await peer.send(piece)
                await asyncio.sleep(0.001 if len(FORMS[form][0]) > 1 else 0)
        await peer.gone()

    async with Provider(script) as provider:
        for form in pairs:
            _, status, body = FORMS[form]
            assert (form, await fetch(client, asking(provider.url))) == (form, (status, body))
        assert provider.accepted == 1


async def test_a_connection_serves_one_request_after_another(client: UpstreamClient) -> None:
    async with Provider(serving(chunked(b"he", b"y"))) as provider:
        for _ in range(5):
            assert await stream(client, asking(provider.url)) == b"hey"
        assert provider.accepted == 1


@pytest.mark.parametrize(
    "wire",
    [
        plain(b"ok", "200 OK", "connection: close"),
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        plain(b"ok") + b"surplus",
        plain(b"ok") + plain(b"no"),
    ],
    ids=["close", "http 1.0", "surplus", "second answer"],
)
async def test_a_connection_in_doubt_is_not_used_again(wire: bytes, client: UpstreamClient) -> None:
    async with Provider(serving(wire)) as provider:
        for _ in range(3):
            assert await fetch(client, asking(provider.url)) == (200, b"ok")
            await asyncio.sleep(0.01)
        assert provider.accepted == 3


async def test_bytes_on_an_unused_connection_retire_it(client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain(b"mine"))
        await asyncio.sleep(0.02)
        await peer.send(plain(b"not asked for"))
        await peer.request()
        await peer.send(plain(b"second"))

    async with Provider(script) as provider:
        assert await fetch(client, asking(provider.url)) == (200, b"mine")
        await asyncio.sleep(0.05)
        assert await fetch(client, asking(provider.url)) == (200, b"mine")
        assert provider.accepted == 2


async def test_a_kept_connection_that_was_closed_is_replaced(client: UpstreamClient) -> None:
    async with Provider(answering(plain())) as provider:
        for _ in range(3):
            assert await fetch(client, asking(provider.url)) == (200, b"ok")
            await provider.until_closed(provider.accepted)
        assert provider.accepted == 3


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_kept_connection_that_dies_on_use_is_retried_on_a_fresh_one(
    how: str, client: UpstreamClient
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain(b"%d" % peer.number))
        await peer.request()
        if how == "reset":
            peer.reset()

    async with Provider(script) as provider:
        assert await fetch(client, asking(provider.url)) == (200, b"1")
        assert await fetch(client, asking(provider.url)) == (200, b"2")
        assert [len(provider.requests), provider.accepted] == [3, 2]


async def test_it_retries_only_once(client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.send(plain())
            await peer.request()

    async with Provider(script) as provider:
        await fetch(client, asking(provider.url))
        with pytest.raises(BrokenAnswer) as caught:
            await fetch(client, asking(provider.url))
        assert caught.value.code == "no_answer"
        assert provider.accepted == 2


async def test_it_does_not_retry_once_a_byte_came_back(client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain())
        await peer.request()
        await peer.send(b"H")

    async with Provider(script) as provider:
        await fetch(client, asking(provider.url))
        with pytest.raises(BrokenAnswer):
            await fetch(client, asking(provider.url))
        assert provider.accepted == 1


async def test_it_does_not_retry_what_the_provider_worked_on_for_long(
    client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (fast_connection, httpx_client):
        monkeypatch.setattr(module, "STALE_WINDOW_S", 0.02)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain())
        await peer.request()
        await asyncio.sleep(0.1)

    async with Provider(script) as provider:
        await fetch(client, asking(provider.url))
        with pytest.raises(BrokenAnswer):
            await fetch(client, asking(provider.url))
        assert provider.accepted == 1


async def test_a_refused_connection_was_not_sent(client: UpstreamClient) -> None:
    async with Provider(hanging) as provider:
        url = provider.url
    with pytest.raises(ConnectFailed, match="cannot connect") as caught:
        await client.send(asking(url))
    assert not caught.value.was_sent


async def test_an_answer_before_the_request_is_read_is_delivered(client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(plain(b"too large", "413 Too Large", "connection: close"))
        await peer.gone()

    async with Provider(script) as provider:
        request = asking(provider.url, body=b"x" * 8_000_000)
        assert await fetch(client, request) == (413, b"too large")
        assert await fetch(client, request) == (413, b"too large")
        assert provider.accepted == 2


async def test_closing_an_answer_half_way_closes_the_connection(client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"hello", end=b""))
        await peer.gone()

    async with Provider(script) as provider:
        async with opened(client, asking(provider.url)) as answer:
            assert await anext(aiter(answer.chunks())) == b"hello"
        await provider.until_closed(1)


async def test_closing_an_answer_twice_does_no_harm(client: UpstreamClient) -> None:
    async with Provider(serving(plain())) as provider:
        answer = await client.send(asking(provider.url))
        assert await answer.read(10) == b"ok"
        await answer.aclose()
        async with opened(client, asking(provider.url)) as other:
            await answer.aclose()
            assert await other.read(10) == b"ok"
        assert provider.accepted == 1


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n", chunked(b"hello", end=b"")])
async def test_cancelling_closes_the_connection(begun: bytes, client: UpstreamClient) -> None:
    is_asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(begun)
        is_asked.set()
        await peer.gone()

    async with Provider(script) as provider:
        task = asyncio.create_task(fetch(client, asking(provider.url)))
        await is_asked.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await provider.until_closed(1)


@pytest.fixture
async def busy(make: Make) -> AsyncIterator[tuple[UpstreamClient, Provider, asyncio.Event]]:
    """A client with a single connection, in use until the event is set."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await go_on.wait()
            await peer.send(plain())

    client = make(limit=1)
    async with Provider(script) as provider:
        holder = asyncio.create_task(fetch(client, asking(provider.url)))
        await eventually(lambda: provider.requests)
        yield client, provider, go_on
        holder.cancel()
        with suppress(asyncio.CancelledError):
            await holder


Busy = tuple[UpstreamClient, Provider, asyncio.Event]


async def test_a_request_waits_for_a_connection(busy: Busy) -> None:
    client, provider, go_on = busy
    waiting = [asyncio.create_task(fetch(client, asking(provider.url))) for _ in range(3)]
    await asyncio.sleep(0.02)
    assert provider.accepted == 1
    go_on.set()
    assert await asyncio.gather(*waiting) == [(200, b"ok")] * 3
    assert provider.accepted == 1


async def test_it_does_not_wait_for_a_connection_for_ever(busy: Busy) -> None:
    client, provider, go_on = busy
    with pytest.raises(UpstreamTimeout) as caught:
        await client.send(asking(provider.url, SHORT_POOL))
    assert caught.value.phase == "pool"
    assert not caught.value.was_sent
    go_on.set()
    assert await fetch(client, asking(provider.url)) == (200, b"ok")


async def test_one_who_stops_waiting_leaves_the_turn_to_the_next(busy: Busy) -> None:
    client, provider, go_on = busy
    leaving = asyncio.create_task(fetch(client, asking(provider.url)))
    await asyncio.sleep(0.01)
    staying = asyncio.create_task(fetch(client, asking(provider.url)))
    await asyncio.sleep(0.01)
    go_on.set()
    leaving.cancel()
    assert await staying == (200, b"ok")
    assert await fetch(client, asking(provider.url)) == (200, b"ok")


async def test_one_cancelled_at_its_turn_passes_the_connection_on(make: Make) -> None:
    client = make(limit=1)
    async with Provider(serving(plain())) as provider:
        for _ in range(50):
            tasks = [asyncio.create_task(fetch(client, asking(provider.url))) for _ in range(4)]
            await asyncio.sleep(0)
            for turn, task in enumerate(tasks):
                await asyncio.sleep(0.0005 * turn)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert await fetch(client, asking(provider.url, SHORT_POOL)) == (200, b"ok")


async def test_broken_answers_do_not_use_up_the_pool(make: Make) -> None:
    client = make(limit=3)

    async def script(peer: Peer) -> None:
        if peer.number <= 60:
            await peer.request()
            await peer.send(chunked(b"hello", end=b"zz\r\n") if peer.number % 2 else b"")
            return
        await serving(plain())(peer)

    async with Provider(script) as provider:
        for _ in range(60):
            with pytest.raises(BrokenAnswer):
                await fetch(client, asking(provider.url))
        good = await asyncio.gather(*(fetch(client, asking(provider.url)) for _ in range(30)))
        assert good == [(200, b"ok")] * 30


async def test_errors_left_unread_do_not_use_up_the_pool(make: Make) -> None:
    client = make(limit=2)
    async with Provider(serving(plain(b"slow down", "429 Too Many"))) as provider:
        for _ in range(20):
            async with opened(client, asking(provider.url)) as answer:
                assert answer.status == 429


async def test_unused_connections_are_closed_after_a_while(make: Make) -> None:
    client = make(idle_expiry_s=0.05)
    async with Provider(serving(plain())) as provider:
        await fetch(client, asking(provider.url))
        await asyncio.sleep(0.15)
        await fetch(client, asking(provider.url))
        assert provider.accepted == 2
        await provider.until_closed(1)


async def test_without_limits_it_still_works(client: UpstreamClient) -> None:
    async with Provider(serving(plain())) as provider:
        assert await fetch(client, asking(provider.url, NO_LIMITS)) == (200, b"ok")


async def test_many_exchanges_at_once_do_not_mix(client: UpstreamClient) -> None:
    async def script(peer: Peer) -> None:
        while True:
            received = await peer.request()
            await asyncio.sleep(0.001 * (int(received.body) % 7))
            await peer.send(chunked(received.body[:1], received.body[1:] or b"-"))

    async def one(number: int) -> bool:
        body = b"%03d" % number
        return await stream(client, asking(provider.url, body=body)) == body

    async with Provider(script) as provider:
        assert all(await asyncio.gather(*(one(number) for number in range(80))))


async def test_a_reader_who_lags_slows_the_provider_down(client: UpstreamClient) -> None:
    total, sent = 48 * 2**20, 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        while sent < total:
            await peer.send(b"x" * 2**16)
            sent += 2**16

    async with Provider(script) as provider, opened(client, asking(provider.url)) as answer:
        await asyncio.sleep(0.2)
        assert sent < total / 2
        assert sum([len(part) async for part in answer.chunks()]) == total


async def test_a_lagging_reader_is_not_taken_for_a_silent_provider(
    client: UpstreamClient,
) -> None:
    body = b"x" * 2**23
    async with Provider(serving(plain(body))) as provider:
        deadlines = Deadlines(idle_s=0.1)
        async with opened(client, asking(provider.url, deadlines)) as answer:
            await asyncio.sleep(0.3)
            assert sum([len(part) async for part in answer.chunks()]) == len(body)


async def test_a_closed_client_sends_nothing(make: Make) -> None:
    client = make()
    async with Provider(serving(plain())) as provider:
        await fetch(client, asking(provider.url))
        await client.aclose()
        await provider.until_closed(1)
        with pytest.raises(ConnectFailed, match="closed"):
            await client.send(asking(provider.url))


async def test_the_address_may_be_of_version_6(client: UpstreamClient) -> None:
    try:
        provider = await Provider(serving(plain()), host="::1").__aenter__()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    try:
        assert await fetch(client, asking(provider.url)) == (200, b"ok")
        assert provider.requests[0].values("host") == [f"[::1]:{provider.port}"]
    finally:
        await provider.__aexit__()
