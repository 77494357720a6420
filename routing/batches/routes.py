"""`/v1/files`, `/v1/batches`, and the address at which workers hand in lines."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec

from routing.adapters.base import header
from routing.batches import book, files, requests
from routing.batches.answering import Answering
from routing.batches.receiving import Receiving
from routing.batches.shapes import batch_object, file_object, page
from routing.core.batches import (
    BATCH,
    FILE,
    LineEnd,
    is_of,
    is_ours,
    parsed_id,
    unpack_job,
)
from routing.core.catalog import Caller
from routing.core.cursor import Cursor
from routing.core.errors import HubError
from routing.core.ids import uuid7
from routing.gateway.asgi import AsgiSink, Receive, Scope, Send, read_body
from routing.gateway.errors import JSON_HEADERS
from routing.gateway.service import Gateway
from routing.services.database_work import DatabaseTransactions, DatabaseUnavailable
from routing.services.sealing import CannotOpen, Keyring

log = logging.getLogger(__name__)

FILES, BATCHES = "/v1/files", "/v1/batches"
LINES = "lines"  # below /v1/batches, for the hub's own workers
SIGNATURE = b"x-panelboard-signature"
MOST_BATCH_BODY = 256 * 2**10
ENVELOPE_BYTES = 64 * 2**10  # around a line, beside its body
CONTENT = [(b"content-type", b"application/octet-stream"), (b"cache-control", b"no-store")]
T = TypeVar("T")


class Asked(NamedTuple):
    """One request of a client that has been let in."""

    caller: Caller
    query: dict[str, str]
    scope: Scope
    receive: Receive
    send: Send

    async def reply(self, answer: Any) -> None:
        sink = AsgiSink(self.receive, self.send)
        await sink.reply(200, JSON_HEADERS, msgspec.json.encode(answer))


Route = Callable[[Asked, str], Awaitable[None]]


class BatchRoutes:
    """ASGI, for what lies at and below FILES and BATCHES. Errors are raised as HubError."""

    def __init__(
        self,
        gateway: Gateway,
        threads: DatabaseTransactions,
        keyring: Keyring,
        answering: Answering,
        max_file_bytes: int,
    ) -> None:
        self._gateway = gateway
        self._threads = threads
        self._keyring = keyring
        self._answering = answering
        self._max_file_bytes = max_file_bytes
        self._uploads: Counter[int] = Counter()  # under way, by project
        self._routes: dict[tuple[str, bool, str], dict[str, Route]] = {
            (FILES, False, ""): {"GET": self._list_files, "POST": self._upload},
            (FILES, True, ""): {"GET": self._get_file, "DELETE": self._delete_file},
            (FILES, True, "content"): {"GET": self._content},
            (BATCHES, False, ""): {"GET": self._list_batches, "POST": self._create},
            (BATCHES, True, ""): {"GET": self._get_batch},
            (BATCHES, True, "cancel"): {"POST": self._cancel},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        base = FILES if path.startswith(FILES) else BATCHES
        name, _, what = path.removeprefix(base).strip("/").partition("/")
        if (base, name) == (BATCHES, LINES):
            await self._take_line(scope, receive, send)
            return
        gateway = self._gateway
        caller = gateway.authenticate(scope["headers"], gateway.wall())
        route = self._route(scope["method"], path, (base, bool(name), what))
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        await route(Asked(caller, query, scope, receive, send), name)

    def _route(self, method: str, path: str, place: tuple[str, bool, str]) -> Route:
        methods = self._routes.get(place)
        if methods is None:
            raise requests.unknown(path)
        route = methods.get(method)
        if route is None:
            raise HubError(
                405,
                "method_not_allowed",
                f"{path[:200]} takes {', '.join(methods)}, not {method}",
                should_retry=False,
            )
        return route

    async def _ask(self, work: Callable[[Cursor], T]) -> T:
        """Raises HubError 503."""
        try:
            return await self._threads.run(work)
        except DatabaseUnavailable as exc:
            log.warning("files and batches cannot be reached: %s", exc)
            raise requests.unavailable() from None

    # --- files ------------------------------------------------------------------------------------
    async def _upload(self, asked: Asked, _: str) -> None:
        project_id = asked.caller.project_id
        is_full = self._uploads.total() >= requests.MOST_UPLOADS
        if is_full or self._uploads[project_id] >= requests.MOST_OF_ONE:
            raise requests.too_many_uploads()
        self._uploads[project_id] += 1
        try:
            gateway = self._gateway
            receiving = Receiving(
                self._threads,
                self._keyring,
                project_id,
                self._new_id(),
                gateway.wall(),
                max_file_bytes=self._max_file_bytes,
                max_line_bytes=gateway.settings.max_body_bytes,
            )
            stored = await receiving.receive(asked.scope["headers"], asked.receive)
        finally:
            self._uploads[project_id] -= 1
        await asked.reply(file_object(stored))

    async def _list_files(self, asked: Asked, _: str) -> None:
        limit = requests.limit_of(asked.query, 10_000, 10_000)
        after = requests.after_of(asked.query, FILE)
        newest_first = requests.is_descending(asked.query)
        purpose = requests.purpose_of(asked.query)

        def work(cursor: Cursor) -> list[files.StoredFile]:
            return files.list_files(
                cursor,
                asked.caller.project_id,
                purpose=purpose,
                after=after,
                limit=limit + 1,
                newest_first=newest_first,
            )

        found = await self._ask(work)
        shown = [file_object(file) for file in found[:limit]]
        await asked.reply(page(shown, has_more=len(found) > limit))

    async def _get_file(self, asked: Asked, name: str) -> None:
        await asked.reply(file_object(await self._file(asked, name)))

    async def _delete_file(self, asked: Asked, name: str) -> None:
        file = await self._file(asked, name)
        try:
            await self._ask(lambda cursor: files.forget(cursor, file.id, file.project_id))
        except files.FileInUse:
            raise requests.file_in_use() from None
        await asked.reply({"id": name, "object": "file", "deleted": True})

    async def _content(self, asked: Asked, name: str) -> None:
        file = await self._file(asked, name)
        sink = AsgiSink(asked.receive, asked.send)
        sent_bytes = number = 0
        try:
            while (chunk := await self._chunk(file.id, number)) is not None:
                if not sink.started:
                    await sink.start(200, [*CONTENT, (b"content-length", b"%d" % file.size_bytes)])
                await sink.write(chunk)
                sent_bytes += len(chunk)
                number += 1
        except HubError:
            if not sink.started:
                raise
        if not sink.started:
            raise requests.no_file(name)
        if sent_bytes == file.size_bytes:
            await sink.finish()
        else:  # clients see it by the length
            log.warning("file %s breaks off: %d of %d bytes", name, sent_bytes, file.size_bytes)
            sink.close()

    async def _chunk(self, file_id: UUID, number: int) -> bytes | None:
        try:
            return await self._ask(
                lambda cursor: files.read_chunk(cursor, self._keyring, file_id, number)
            )
        except CannotOpen as exc:
            log.warning("file %s cannot be opened: %s", file_id, exc)
            return None

    async def _file(self, asked: Asked, name: str) -> files.StoredFile:
        """Raises HubError 404 and 503."""
        file_id = parsed_id(FILE, name)
        if file_id is None:
            raise requests.no_file(name)
        project_id = asked.caller.project_id
        found = await self._ask(lambda cursor: files.find(cursor, file_id, project_id))
        if found is None:
            raise requests.no_file(name)
        return found

    # --- batches ----------------------------------------------------------------------------------
    async def _create(self, asked: Asked, _: str) -> None:
        wanted = requests.read_batch(await read_body(asked.receive, MOST_BATCH_BODY))
        file = await self._file(asked, wanted.input_file_id)
        if file.purpose != files.UPLOADED:
            raise requests.wrong_purpose(file.purpose)
        new = book.NewBatch(
            id=self._new_id(),
            project_id=asked.caller.project_id,
            key_id=asked.caller.key_id,
            endpoint=wanted.endpoint,
            completion_window=wanted.completion_window,
            input_file_id=file.id,
            metadata=wanted.metadata,
            native=wanted.native,
            output_kept_s=wanted.output_kept_s,
            created_at=requests.utc(self._gateway.wall()),
        )
        batch = await self._ask(lambda cursor: _added(cursor, new))
        if batch is None:
            raise requests.no_file(wanted.input_file_id)
        await asked.reply(batch_object(batch))

    async def _list_batches(self, asked: Asked, _: str) -> None:
        limit = requests.limit_of(asked.query, 20, 100)
        after = requests.after_of(asked.query, BATCH)
        project_id = asked.caller.project_id
        found = await self._ask(
            lambda cursor: book.list_batches(cursor, project_id, after=after, limit=limit + 1)
        )
        shown = [batch_object(batch) for batch in found[:limit]]
        await asked.reply(page(shown, has_more=len(found) > limit))

    async def _get_batch(self, asked: Asked, name: str) -> None:
        await self._show(asked, self._batch_id(name))

    async def _cancel(self, asked: Asked, name: str) -> None:
        batch_id, project_id = self._batch_id(name), asked.caller.project_id
        batch = await self._batch(asked, batch_id)
        if not await self._ask(lambda cursor: book.cancel(cursor, batch_id, project_id)):
            batch = await self._batch(asked, batch_id)
            if batch.status not in ("cancelling", "cancelled"):
                raise requests.cannot_cancel(batch.status)
        await self._show(asked, batch_id)

    def _batch_id(self, name: str) -> UUID:
        found = parsed_id(BATCH, name)
        if found is None:
            raise requests.no_batch(name)
        return found

    async def _batch(self, asked: Asked, batch_id: UUID) -> book.BatchRow:
        project_id = asked.caller.project_id
        found = await self._ask(lambda cursor: book.find(cursor, batch_id, project_id))
        if found is None:
            raise requests.no_batch(f"{BATCH}{batch_id.hex}")
        return found

    async def _show(self, asked: Asked, batch_id: UUID) -> None:
        await asked.reply(batch_object(await self._batch(asked, batch_id)))

    # --- lines, from the hub's own workers ------------------------------------------------------------
    async def _take_line(self, scope: Scope, receive: Receive, send: Send) -> None:
        settings = self._gateway.settings
        given = header(scope["headers"], SIGNATURE).decode("latin-1")
        if scope["method"] != "POST" or not is_ours(given, settings.pepper):
            raise requests.unknown(scope["path"])
        packed = await read_body(receive, settings.max_body_bytes + ENVELOPE_BYTES)
        if not is_of(given, packed):
            raise requests.unknown(scope["path"])
        end: LineEnd = await self._answering.run(unpack_job(packed))
        await AsgiSink(receive, send).reply(200, JSON_HEADERS, msgspec.json.encode({"end": end}))

    def _new_id(self) -> UUID:
        gateway = self._gateway
        return uuid7(int(gateway.wall() * 1000), gateway.rng.getrandbits)


def _added(cursor: Cursor, new: book.NewBatch) -> book.BatchRow | None:
    """None where its file has been deleted just now."""
    book.add(cursor, new)
    return book.find(cursor, new.id, new.project_id)
