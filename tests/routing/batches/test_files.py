from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from openai.types import FileObject

from routing.batches import files, receiving, requests
from routing.batches.routes import BatchRoutes
from routing.core import batches
from routing.core.cursor import Cursor
from routing.core.errors import HubError
from routing.gateway.asgi import Message
from routing.models import BatchFile, BatchFileChunk
from routing.services import batch_work
from tests.routing.batches.world import World, line, make_key, run_sql

MIB = 2**20


async def test_a_file_comes_back_byte_for_byte(world: World) -> None:
    text = line("a") + "\n" + line("b").rstrip()  # an empty line, and no end after the last
    made = (await world.upload(text)).json()
    got = await world.client.get(f"/v1/files/{made['id']}/content")
    assert got.content == text.encode()
    assert made["bytes"] == len(text)
    assert made["filename"] == "lines.jsonl"


async def test_a_file_of_many_chunks_comes_back_whole(world: World) -> None:
    wide = "x" * 60_000
    async with world.serving(max_file_bytes=8 * MIB):
        text = "".join(line(f"n{n}", user=wide) for n in range(60))
        made = (await world.upload(text)).json()
        assert await sync_to_async(BatchFileChunk.objects.count)() == 4
        got = await world.client.get(f"/v1/files/{made['id']}/content")
    assert got.text == text


@pytest.mark.parametrize("trouble", [requests.unavailable(), None], ids=["away", "unreadable"])
async def test_a_file_that_cannot_be_read_to_its_end_is_cut_off(
    world: World, monkeypatch: pytest.MonkeyPatch, trouble: HubError | None
) -> None:
    made = (await world.upload("".join(line(f"n{n}", pad="x" * 5000) for n in range(3)))).json()
    read = BatchRoutes._chunk

    async def first_alone(self: BatchRoutes, file_id: UUID, number: int) -> bytes | None:
        if number == 0:
            return (await read(self, file_id, 0) or b"")[:-1]
        if trouble is not None:
            raise trouble
        return None

    monkeypatch.setattr(BatchRoutes, "_chunk", first_alone)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/v1/files/{made['id']}/content",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {world.token}".encode())],
    }
    await world.app(scope, receive, send)
    kinds = [(message["type"], message.get("more_body")) for message in sent]
    assert kinds == [("http.response.start", None), ("http.response.body", True)]


async def test_what_is_said_of_a_file_is_what_openai_publishes(world: World) -> None:
    made = (await world.upload(line("a"))).json()
    assert not FileObject.model_validate(made, strict=True).model_extra
    assert (await world.client.get(f"/v1/files/{made['id']}")).json() == made


async def test_nothing_of_a_file_can_be_read_in_the_database(world: World) -> None:
    await world.upload(line("a very secret prompt"))
    ((sealed,),) = await run_sql("SELECT sealed FROM routing_batchfilechunk")
    assert b"secret" not in bytes(sealed)


async def test_another_project_does_not_see_it(world: World) -> None:
    made = (await world.upload(line("a"))).json()
    _, token = await sync_to_async(make_key)("other")
    async with world.serving(), world.client_of(token) as stranger:
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
            answer = await stranger.request(method, f"/v1/files/{made['id']}{path}")
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "file_not_found"
        assert (await stranger.get("/v1/files")).json()["data"] == []
        body = {
            "input_file_id": made["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        assert (await stranger.post("/v1/batches", json=body)).status_code == 404


async def test_a_chunk_that_was_moved_to_another_project_cannot_be_opened(world: World) -> None:
    made = (await world.upload(line("a"))).json()
    other, token = await sync_to_async(make_key)("other")
    await run_sql("UPDATE routing_batchfile SET project_id = %s", other.project_id)
    async with world.serving(), world.client_of(token) as stranger:
        assert (await stranger.get(f"/v1/files/{made['id']}")).status_code == 200
        assert (await stranger.get(f"/v1/files/{made['id']}/content")).status_code == 404


async def test_files_are_listed_page_by_page(world: World) -> None:
    made = [(await world.upload(line(name))).json()["id"] for name in "abc"]
    first = (await world.client.get("/v1/files", params={"limit": 2})).json()
    assert [file["id"] for file in first["data"]] == [made[2], made[1]]
    assert first["has_more"] is True
    rest = {"limit": 2, "after": first["last_id"]}
    second = (await world.client.get("/v1/files", params=rest)).json()
    assert [file["id"] for file in second["data"]] == [made[0]]
    assert second["has_more"] is False
    oldest_first = (await world.client.get("/v1/files", params={"order": "asc"})).json()
    assert [file["id"] for file in oldest_first["data"]] == made
    none = (await world.client.get("/v1/files", params={"purpose": "batch_output"})).json()
    assert none["data"] == []


async def test_files_are_listed_by_purpose_and_no_other_purpose_is_taken(world: World) -> None:
    made = (await world.upload(line("a"))).json()["id"]
    inputs = (await world.client.get("/v1/files", params={"purpose": "batch"})).json()
    assert [file["id"] for file in inputs["data"]] == [made]
    for purpose in ("zzz", "fine-tune", "\x00"):
        answer = await world.client.get("/v1/files", params={"purpose": purpose})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["type"], error["param"]) == ("invalid_request_error", "purpose")
        assert "'purpose' must be one of batch, batch_output" in error["message"]


async def test_a_deleted_file_is_gone_with_its_content(world: World) -> None:
    made = (await world.upload(line("a"))).json()
    answer = await world.client.delete(f"/v1/files/{made['id']}")
    assert answer.json() == {"id": made["id"], "object": "file", "deleted": True}
    assert (await world.client.get(f"/v1/files/{made['id']}")).status_code == 404
    assert await sync_to_async(BatchFileChunk.objects.count)() == 0


BROKEN = {
    "not json": ("{", "invalid_json_line", "not valid JSON"),
    "no object": ("[1]", "invalid_json_line", "JSON object"),
    "a body that is a list": (
        line("x").replace('{"model"', '[{"model"')[:-2] + "]}",
        "invalid_body",
        "body",
    ),
    "a body that does not end": (line("x")[:-3], "invalid_json_line", "not valid JSON"),
    "no body": ('{"custom_id":"a","method":"POST","url":"/v1/embeddings"}', "invalid_body", "body"),
    "another method": (line("x").replace("POST", "GET"), "invalid_method", "POST"),
    "no custom_id": (line("x").replace("custom_id", "id"), "invalid_custom_id", "find the answer"),
    "an unknown url": (line("x", url="/v1/files"), "invalid_url", "/v1/embeddings"),
    "no model": (line("x", model=""), "missing_model", "GET /v1/models"),
    "a stream": (line("x", stream=True), "unsupported_stream", "leave 'stream' out"),
    "the same custom_id": (line("good"), "duplicate_custom_id", "line 1 already"),
    "a long line": (line("x", user="y" * 70_000), "line_too_large", "Shorten"),
}


@pytest.mark.parametrize(("bad", "code", "says"), BROKEN.values(), ids=BROKEN)
async def test_a_wrong_line_is_refused_with_its_number(
    world: World, bad: str, code: str, says: str
) -> None:
    answer = await world.upload(line("good") + bad.strip() + "\n" + line("last"))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"].startswith("Line 2: ")
    assert says in error["message"]
    assert await sync_to_async(BatchFile.objects.count)() == 0


async def test_a_line_that_is_no_text_is_refused(world: World) -> None:
    answer = await world.upload(
        line("good").encode() + line("x", user="?").encode().replace(b"?", b"\xff")
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_json_line"


async def test_all_wrong_lines_are_told_at_once(world: World) -> None:
    answer = await world.upload(line("a") + "{\n" + line("b") + "[]\n")
    error = answer.json()["error"]
    assert "1 more lines are wrong" in error["message"]
    assert [one["line"] for one in error["detail"]["errors"]] == [2, 4]


async def test_an_empty_file_is_refused(world: World) -> None:
    answer = await world.upload("\n\n")
    assert answer.json()["error"]["code"] == "empty_file"


async def test_only_files_for_batches_are_taken(world: World) -> None:
    answer = await world.upload(line("a"), purpose="fine-tune")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_purpose"


async def test_a_file_beyond_the_cap_is_refused_and_nothing_of_it_stays(world: World) -> None:
    text = "".join(line(f"n{n}", user="x" * 60_000) for n in range(20))
    refused = await world.upload(text)
    assert refused.status_code == 413
    assert "PANELBOARD_MAX_FILE_MIB" in refused.json()["error"]["message"]

    async def pieces():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for at in range(0, len(text), 50_000):
            yield text[at : at + 50_000].encode()

    headers = {"content-type": "multipart/form-data; boundary=b"}
    unannounced = await world.client.post("/v1/files", content=pieces(), headers=headers)
    assert unannounced.status_code == 413
    assert await sync_to_async(BatchFile.objects.count)() == 0
    assert await sync_to_async(BatchFileChunk.objects.count)() == 0


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{}", "application/json", 415, "unsupported_content_type"),
        (b"--b\r\nbroken", "multipart/form-data; boundary=b", 400, "invalid_form"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 400, "invalid_purpose"),
    ],
)
async def test_what_is_no_form_is_refused(
    world: World, body: bytes, content_type: str, status: int, code: str
) -> None:
    headers = {"content-type": content_type}
    answer = await world.client.post("/v1/files", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_file_ends_when_it_was_asked_to(world: World) -> None:
    soon = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    made = (await world.upload(line("a"), **soon)).json()
    assert made["expires_at"] - made["created_at"] == 3600
    await run_sql("UPDATE routing_batchfile SET expires_at = now() - interval '1 second'")
    assert (await world.client.get(f"/v1/files/{made['id']}")).status_code == 404
    ((now,),) = await run_sql("SELECT now()")
    assert await sync_to_async(batch_work.forget_expired)(now) == 1
    assert await sync_to_async(BatchFileChunk.objects.count)() == 0


async def test_an_odd_expiry_is_refused(world: World) -> None:
    odd = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "60"}
    answer = await world.upload(line("a"), **odd)
    assert answer.status_code == 400
    assert "3600" in answer.json()["error"]["message"]


async def test_without_a_key_nothing_is_told(world: World) -> None:
    async with world.client_of("pb_live_" + "x" * 46) as nobody:
        for path in ("/v1/files", "/v1/batches", "/v1/files/file-1/content"):
            assert (await nobody.get(path)).status_code == 401


async def test_addresses_that_are_not_there_are_named(world: World) -> None:
    wrong = await world.client.get("/v1/files/file-1/other")
    assert wrong.status_code == 404
    assert "/content" in wrong.json()["error"]["message"]
    method = await world.client.put("/v1/batches", content=b"{}")
    assert method.status_code == 405
    assert "GET, POST" in method.json()["error"]["message"]


async def test_empty_lines_without_end_are_refused_before_they_are_all_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_EMPTY_LINES", 5)
    assert (await world.upload(line("a") + "\n" * 5)).status_code == 200
    refused = await world.upload(line("a") + "\n" * 6)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "too_many_empty_lines"


async def test_no_batch_is_made_of_a_file_that_is_being_deleted(world: World) -> None:
    made = (await world.upload(line("a"))).json()
    file_id, asked = UUID(made["id"].removeprefix("file-")), threading.Event()

    def delete(cursor: Cursor) -> bool:
        gone = files.drop(cursor, file_id, world.key.project_id)
        assert asked.wait(5)
        time.sleep(0.1)  # the other one is at the same row by now
        return gone

    deleting = asyncio.create_task(world.in_database(delete))
    await asyncio.sleep(0.05)
    body = {
        "input_file_id": made["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    making = asyncio.create_task(world.client.post("/v1/batches", json=body))
    asked.set()
    assert await deleting is True
    answer = await making
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "file_not_found"
    assert (await world.client.get("/v1/batches")).json()["data"] == []


FORM = {"content-type": "multipart/form-data; boundary=b"}
HEAD = b'--b\r\ncontent-disposition: form-data; name="file"; filename="f.jsonl"\r\n'


async def test_a_header_without_end_is_refused(world: World) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield HEAD + b"x-long: "
        for _ in range(20):
            yield b"y" * 1024

    answer = await world.client.post("/v1/files", content=body(), headers=FORM)
    assert answer.status_code == 400
    assert "header" in answer.json()["error"]["message"]


async def test_what_comes_behind_the_form_is_not_listened_to_for_ever(world: World) -> None:
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        yield HEAD + b"\r\n" + line("a").encode() + b"\r\n--b--\r\n"
        while taken < 10_000:
            taken += 1
            yield b"z" * 8192

    answer = await world.client.post("/v1/files", content=body(), headers=FORM)
    assert answer.status_code == 413
    assert taken < 100


async def test_an_upload_that_trickles_gives_its_place_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "SILENCE_S", 0.2)

    async def body() -> AsyncIterator[bytes]:
        yield HEAD + b"\r\n"
        while True:
            await asyncio.sleep(0.05)
            yield b"{"

    answer = await world.client.post("/v1/files", content=body(), headers=FORM)
    assert answer.status_code == 408


async def test_one_project_cannot_take_all_places_for_uploads(world: World) -> None:
    go_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield HEAD + b"\r\n" + line("a").encode()
        await go_on.wait()
        yield b'\r\n--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'

    uploads = [
        asyncio.create_task(world.client.post("/v1/files", content=body(), headers=FORM))
        for _ in range(requests.MOST_OF_ONE)
    ]
    await asyncio.sleep(0.1)
    refused = await world.upload(line("b"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_uploads")
    go_on.set()
    assert {answer.status_code for answer in await asyncio.gather(*uploads)} == {200}
    assert (await world.upload(line("b"))).status_code == 200
