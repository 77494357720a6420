"""An upload on its way in: checked line by line, sealed and stored chunk by chunk."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

from routing.adapters.base import Headers, header
from routing.adapters.kinds.multipart import BadForm
from routing.batches import files, requests
from routing.batches.uploads import FormStream, LineSplitter
from routing.core.batches import KEPT_S, BadLine, LineCheck
from routing.core.cursor import Cursor
from routing.core.errors import HubError
from routing.gateway.asgi import ClientGone, Receive, body_late
from routing.gateway.preferences import bad_request
from routing.services.database_work import DatabaseTransactions, DatabaseUnavailable
from routing.services.sealing import Keyring

log = logging.getLogger(__name__)

SILENCE_S = 60.0  # without a byte of the body
LEAST_PACE = 2048  # bytes a second, once so long has passed: a place is not held for ever
FORM_BYTES = 64 * 2**10  # beside the file
MOST_NAME_CHARS = 255
T = TypeVar("T")


class Receiving:
    """One upload. What was stored of one that fails is dropped again."""

    def __init__(
        self,
        threads: DatabaseTransactions,
        keyring: Keyring,
        project_id: int,
        file_id: UUID,
        now_unix_s: float,
        *,
        max_file_bytes: int,
        max_line_bytes: int,
    ) -> None:
        self._threads = threads
        self._keyring = keyring
        self._max_file_bytes = max_file_bytes
        self._max_line_bytes = max_line_bytes
        self._check = LineCheck(max_line_bytes)
        self._lines = LineSplitter(files.CHUNK_BYTES, self._check.take)
        self._chunks = self._received_bytes = 0
        created_at = requests.utc(now_unix_s)
        self._file = files.NewFile(
            id=file_id,
            project_id=project_id,
            filename="",
            purpose=files.UPLOADED,
            created_at=created_at,
            expires_at=created_at + dt.timedelta(seconds=KEPT_S),
        )

    async def receive(self, headers: Headers, receive: Receive) -> files.StoredFile:
        """Raises HubError 400, 408, 413, 415 and 503, and ClientGone."""
        self._refuse_early(headers)
        form = self._form(headers)
        begun = False
        try:
            async for data in _pieces(receive):
                self._received_bytes += len(data)
                form.feed(data)
                self._look()
                for content, count in self._lines.take():
                    begun = await self._store(content, count)
            form.close()
            kept_s = self._whole(form)
            for content, count in self._lines.take():
                begun = await self._store(content, count)
            return await self._finish(form.filename, kept_s)
        except BadForm as exc:
            await self._drop(begun)
            raise bad_request("invalid_form", str(exc)) from None
        except BaseException:
            await asyncio.shield(self._drop(begun))
            raise

    def _refuse_early(self, headers: Headers) -> None:
        length = header(headers, b"content-length")
        if length.isdigit() and int(length[:19]) > self._max_file_bytes + FORM_BYTES:
            raise self._too_large()

    def _form(self, headers: Headers) -> FormStream:
        content_type = header(headers, b"content-type").decode("latin-1")
        try:
            return FormStream(content_type, self._lines.feed)
        except BadForm:
            raise HubError(
                415,
                "unsupported_content_type",
                "Send the file as multipart/form-data, with the fields 'file' and 'purpose'",
                should_retry=False,
            ) from None

    def _look(self) -> None:
        beside = self._received_bytes - self._lines.size_bytes
        if self._lines.size_bytes > self._max_file_bytes or beside > FORM_BYTES:
            raise self._too_large()
        if self._lines.rest_bytes > self._max_line_bytes:
            mib = self._max_line_bytes // 2**20
            bad = BadLine("line_too_large", f"The line is larger than {mib} MiB. Shorten it")
            raise requests.bad_lines([(self._check.number + 1, bad)])
        if self._check.is_hopeless:
            self._check.close()
            raise requests.bad_lines(self._check.errors)

    def _whole(self, form: FormStream) -> int | None:
        purpose = form.fields.get("purpose")
        if purpose != files.UPLOADED:
            raise bad_request(
                "invalid_purpose",
                f"'purpose' must be '{files.UPLOADED}': the hub keeps files for batches",
                "purpose",
            )
        if not form.has_file:
            raise bad_request("missing_file", "The form has no 'file'", "file")
        self._lines.close()
        self._check.close()
        if self._check.errors:
            raise requests.bad_lines(self._check.errors)
        return requests.file_kept_s(form.fields)

    async def _store(self, content: bytes, count: int) -> bool:
        number, file = self._chunks, self._file
        self._chunks += 1

        def work(cursor: Cursor) -> None:
            if number == 0:
                files.begin(cursor, file)
            files.add_chunk(cursor, self._keyring, file, number, content, count)

        await self._ask(work)
        return True

    async def _finish(self, filename: str, kept_s: int | None) -> files.StoredFile:
        name = "".join(c for c in filename if c.isprintable())[:MOST_NAME_CHARS] or "batch.jsonl"
        size, count = self._lines.size_bytes, self._check.count
        file = self._file
        expires_at = file.created_at + dt.timedelta(seconds=kept_s or KEPT_S)
        return await self._ask(
            lambda cursor: files.finish(cursor, file, size, count, name, expires_at)
        )

    async def _drop(self, begun: bool) -> None:
        """What is not dropped now is, some hours later, with other uploads that nobody finished."""
        file = self._file
        if begun:
            with suppress(DatabaseUnavailable):
                await self._threads.run(lambda cursor: files.drop(cursor, file.id, file.project_id))

    async def _ask(self, work: Callable[[Cursor], T]) -> T:
        try:
            return await self._threads.run(work)
        except DatabaseUnavailable as exc:
            log.warning("an upload cannot be stored: %s", exc)
            raise requests.unavailable() from None

    def _too_large(self) -> HubError:
        return HubError(
            413,
            "file_too_large",
            f"The file is larger than {self._max_file_bytes // 2**20} MiB. Make several batches of "
            "it, or ask an administrator to raise PANELBOARD_MAX_FILE_MIB",
            should_retry=False,
        )


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    """Raises HubError 408 and ClientGone."""
    loop, size = asyncio.get_running_loop(), 0
    began_at = loop.time()
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                message = await receive()
        except TimeoutError:
            raise body_late() from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        if data := message.get("body", b""):
            size += len(data)
            yield data
        if not message.get("more_body"):
            return
        took_s = loop.time() - began_at
        if took_s > SILENCE_S and size < took_s * LEAST_PACE:
            raise body_late()
