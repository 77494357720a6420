from __future__ import annotations

import asyncio
from uuid import UUID

import orjson
import pytest

from routing.adapters.base import Headers
from routing.core.errors import ConnectFailed
from routing.core.record import Outcome, RequestDone
from routing.core.replay import original_in
from routing.gateway.app import GatewayApp
from routing.gateway.asgi import Scope
from routing.gateway.idempotency import (
    AnswerTooLarge,
    CallName,
    Claimed,
    Found,
    KeptAnswer,
    OtherRequest,
    Running,
    StoreUnavailable,
)
from routing.gateway.spool import SpoolFull
from routing.gateway.wishes import Wishes
from routing.surfaces.messages.surface import MessagesSurface
from tests.routing.factories import MODEL, endpoint
from tests.routing.gateway.scripted import (
    JSON,
    PEPPER,
    TOKEN,
    WHOLE,
    Bench,
    Client,
    ScriptedAnswer,
    plain,
    plain_answer,
    stream,
)

KEY: Headers = [(b"idempotency-key", b"order-17")]
ANOTHER: Headers = [(b"idempotency-key", b"order-18")]


class MemoryStore:
    """What Postgres does with its rows. `trouble` is raised by every call once it is set."""

    def __init__(self) -> None:
        self.rows: dict[CallName, tuple[bytes, UUID, KeptAnswer | None]] = {}
        self.trouble: Exception | None = None
        self.renewed = 0

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def claim(self, name: CallName, fingerprint: bytes, holder: UUID, lock_s: float) -> Found:
        self._check()
        row = self.rows.get(name)
        if row is None:
            self.rows[name] = (fingerprint, holder, None)
            return Claimed(holder)
        if row[0] != fingerprint:
            return OtherRequest()
        return row[2] or Running()

    async def renew(self, name: CallName, holder: UUID, lock_s: float) -> None:
        self._check()
        self.renewed += 1

    async def keep(self, name: CallName, holder: UUID, answer: KeptAnswer) -> None:
        self._check()
        self.rows[name] = (self.rows[name][0], holder, answer)

    async def release(self, name: CallName, holder: UUID) -> None:
        self._check()
        del self.rows[name]


def with_store(
    *answers: ScriptedAnswer | Exception, **settings: object
) -> tuple[Bench, MemoryStore]:
    bench, store = Bench(*answers, **settings), MemoryStore()
    bench.gateway.idempotency = store
    return bench, store


async def test_the_same_request_again_gets_the_first_answer_again_and_one_charge() -> None:
    bench, _ = with_store(plain())
    first, again = await bench.send(headers=KEY), await bench.send(headers=KEY)
    assert again.status == 200
    assert again.pieces == first.pieces
    assert again.headers[b"x-panelboard-replayed"] == b"true"
    assert b"x-panelboard-replayed" not in first.headers
    assert again.headers[b"x-request-id"] == first.headers[b"x-request-id"]
    assert again.headers[b"x-panelboard-cost"] == first.headers[b"x-panelboard-cost"]
    assert len(bench.upstream.requests) == 1
    assert len(bench.spool.of(RequestDone)) == 2
    assert len(bench.spool.finishes) == 1  # and with it the one charge


async def test_a_replayed_answer_is_written_down_as_such_and_points_at_the_first() -> None:
    bench, _ = with_store(plain())
    first = await bench.send(headers=KEY)
    await bench.send(headers=KEY)
    answered, replayed = bench.spool.of(RequestDone)
    assert (answered.kind, original_in(orjson.loads(answered.decision))) == ("traffic", "")
    assert (replayed.kind, replayed.outcome, replayed.http_status) == ("replay", Outcome.OK, 200)
    assert (replayed.attempts, replayed.endpoint_id) == (0, None)
    assert replayed.requested_model == answered.requested_model
    assert replayed.request_id != answered.request_id
    first_id = first.headers[b"x-request-id"].decode()
    assert original_in(orjson.loads(replayed.decision)) == first_id


async def test_a_full_spool_replays_nothing_that_it_could_not_write_down() -> None:
    bench, _ = with_store(plain())
    await bench.send(headers=KEY)

    def refuse(record: object) -> None:
        raise SpoolFull("no room")

    bench.spool.append = refuse  # type: ignore[method-assign]
    client = await bench.send(headers=KEY)
    assert client.status == 503


async def test_another_body_with_the_same_key_is_refused() -> None:
    bench, _ = with_store(plain(), plain())
    await bench.send(headers=KEY)
    client = await bench.send(headers=KEY, temperature=0.5)
    assert (client.status, client.error["code"]) == (422, "idempotency_key_reused")
    assert len(bench.upstream.requests) == 1


async def test_another_key_or_another_callers_same_key_is_another_request() -> None:
    bench, store = with_store(plain(), plain())
    await bench.send(headers=KEY)
    client = await bench.send(headers=ANOTHER)
    assert b"x-panelboard-replayed" not in client.headers
    assert {name.key_id for name in store.rows} == {5}
    assert len(store.rows) == 2


async def test_while_the_first_is_still_answered_the_second_is_told_to_wait() -> None:
    goes_on = asyncio.Event()
    bench, _ = with_store(ScriptedAnswer(200, JSON, [goes_on, plain_answer()]))
    first = asyncio.create_task(bench.send(headers=KEY))
    await asyncio.sleep(0.01)
    second = await bench.send(headers=KEY)
    assert (second.status, second.error["code"]) == (409, "idempotency_in_progress")
    assert second.headers[b"retry-after"] == b"1"
    goes_on.set()
    assert (await first).status == 200
    assert (await bench.send(headers=KEY)).headers[b"x-panelboard-replayed"] == b"true"


async def test_a_request_that_failed_may_be_sent_again() -> None:
    bench, store = with_store(ConnectFailed("a"), plain(), rules={"max_attempts": 1})
    assert (await bench.send(headers=KEY)).status == 502
    assert not store.rows
    client = await bench.send(headers=KEY)
    assert client.status == 200
    assert b"x-panelboard-replayed" not in client.headers


async def test_it_goes_on_when_its_client_leaves_which_comes_back_for_the_answer() -> None:
    goes_on = asyncio.Event()
    bench, _ = with_store(ScriptedAnswer(200, JSON, [goes_on, plain_answer()]))
    await bench.gateway.start()
    client = bench.client()
    asking = asyncio.create_task(bench.send(client, KEY))
    await asyncio.sleep(0.05)
    client.leave()
    await asyncio.sleep(0.05)
    goes_on.set()
    await asking
    back = await bench.send(headers=KEY)
    assert (back.status, back.headers[b"x-panelboard-replayed"]) == (200, b"true")
    done = bench.spool.of(RequestDone)
    assert [(one.kind, one.outcome) for one in done] == [
        ("traffic", Outcome.OK),
        ("replay", Outcome.OK),
    ]
    await bench.gateway.stop(drain_s=0)


async def test_a_store_that_is_away_refuses_those_who_asked_for_it_and_nobody_else() -> None:
    bench, store = with_store(plain())
    store.trouble = StoreUnavailable("gone")
    client = await bench.send(headers=KEY)
    assert (client.status, client.error["code"]) == (503, "idempotency_unavailable")
    assert client.headers[b"retry-after"] == b"2"
    assert (await bench.send()).status == 200


async def test_a_hub_without_a_store_refuses_them_too() -> None:
    assert (await Bench(plain()).send(headers=KEY)).status == 503


@pytest.mark.parametrize("trouble", [StoreUnavailable("gone"), AnswerTooLarge("much")])
async def test_an_answer_that_cannot_be_kept_is_given_and_says_so(
    trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, store = with_store(plain())

    async def keep(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(store, "keep", keep)
    client = await bench.send(headers=KEY)
    assert client.status == 200
    assert client.headers[b"x-panelboard-idempotency"] == b"not-kept"
    assert (await bench.send(headers=KEY)).status == 409  # until the claim lapses


async def test_a_stream_is_refused_before_anything_is_claimed() -> None:
    bench, store = with_store(stream(*WHOLE))
    client = await bench.send(headers=KEY, stream=True)
    assert (client.status, client.error["code"]) == (400, "idempotency_of_stream")
    assert not store.rows
    assert not bench.upstream.requests


@pytest.mark.parametrize("key", [b"", b"with space", b"x" * 256, "ä".encode()])
async def test_a_key_that_is_no_key_is_refused(key: bytes) -> None:
    bench, _ = with_store(plain())
    client = await bench.send(headers=[(b"idempotency-key", key)])
    assert (client.status, client.error["code"]) == (400, "invalid_header")


async def test_a_claim_is_renewed_while_the_request_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.gateway.idempotency.RENEW_EVERY_S", 0.01)
    bench, store = with_store(ScriptedAnswer(200, JSON, [0.1, plain_answer()]))
    await bench.send(headers=KEY)
    renewed = store.renewed
    assert renewed >= 2
    await asyncio.sleep(0.05)
    assert store.renewed == renewed


async def test_a_stopping_gateway_releases_what_it_breaks_off() -> None:
    bench, store = with_store(ScriptedAnswer(200, JSON, [asyncio.Event()]))
    asking = asyncio.create_task(bench.send(headers=KEY))
    await asyncio.sleep(0.05)
    assert store.rows
    await bench.gateway.stop(drain_s=0)
    assert (await asking).status == 503
    assert not store.rows


async def test_it_works_on_other_surfaces_and_a_key_means_one_of_them() -> None:
    bench, _ = with_store(plain(), plain(), endpoints=(endpoint("first", 1),))
    app = GatewayApp(bench.gateway, {"/v1/messages": MessagesSurface()})
    body = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}

    async def ask(path: str) -> Client:
        client = Client(orjson.dumps(body))
        headers = [(b"authorization", b"Bearer " + TOKEN), *KEY]
        scope: Scope = {"type": "http", "path": path, "method": "POST", "headers": headers}
        await app(scope, client.receive, client.send)
        return client

    first, again = await ask("/v1/messages"), await ask("/v1/messages")
    assert orjson.loads(first.text)["type"] == "message"
    assert again.text == first.text
    assert again.headers[b"x-panelboard-replayed"] == b"true"
    assert (await ask("/v1/chat/completions")).status == 422


def test_a_form_is_the_same_request_whatever_parts_it_with() -> None:
    wishes = Wishes(idempotency_key="k")

    def fingerprint(word: bytes) -> bytes:
        headers = [(b"content-type", b'multipart/form-data; boundary="' + word + b'"')]
        body = b"--" + word + b"\r\nthe recording\r\n--" + word + b"--\r\n"
        return wishes.of("transcriptions", headers, body).fingerprint

    assert fingerprint(b"aaa111") == fingerprint(b"bbb222")
    assert wishes.of("speech", [], b"x").fingerprint != wishes.of("images", [], b"x").fingerprint


async def test_the_clients_own_key_is_not_what_is_stored() -> None:
    bench, store = with_store(plain())
    await bench.send(headers=KEY)
    (name,) = store.rows
    assert b"order" not in name.digest
    assert len(name.digest) == len(PEPPER)
