"""Gemini's way: a file of requests that is uploaded in two steps, and an operation that reads it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from typing_extensions import override

from routing.adapters.jsonio import BadJson, dict_of, dumps, text_of
from routing.batches.providers.paper import Answer
from routing.batches.providers.ways import (
    Entry,
    Job,
    Lost,
    Page,
    Status,
    Way,
    is_since,
    search,
    whole,
)
from routing.batches.providers.wire import JSON, Wire, at_our_host

ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})
# Codes of gRPC, which the errors of single requests may have, as statuses of HTTP.
_STATUS_OF_CODE = {
    1: 499,
    3: 400,
    4: 504,
    5: 404,
    7: 403,
    8: 429,
    9: 400,
    13: 500,
    14: 503,
    16: 401,
}
_LEAST_STATUS = 400


class GeminiWay(Way):
    @override
    def line(self, entry: Entry) -> bytes:
        return b'{"key":%b,"request":%b}' % (dumps(entry.custom_id), entry.body)

    @override
    async def submit(self, wire: Wire, job: Job) -> str:
        uploaded = await self._upload(wire, job)
        asked = {"displayName": job.tag, "inputConfig": {"fileName": uploaded}}
        path = f"{job.path.rpartition(':')[0]}:batchGenerateContent"
        return text_of((await wire.post(path, {"batch": asked})).get("name"))

    async def _upload(self, wire: Wire, job: Job) -> str:
        size = b"%d" % job.lines.size
        begun = await wire.send(
            "POST",
            f"{_beside(wire, 'upload')}/files",
            [
                JSON,
                (b"x-goog-upload-protocol", b"resumable"),
                (b"x-goog-upload-command", b"start"),
                (b"x-goog-upload-header-content-length", size),
                (b"x-goog-upload-header-content-type", b"application/jsonl"),
            ],
            [dumps({"file": {"displayName": job.tag}})],
        )
        address = begun.header(b"x-goog-upload-url")
        if not address:
            raise BadJson("the answer does not say where the file is to go")
        command = (b"x-goog-upload-command", b"upload, finalize")
        done = await wire.send(
            "POST",
            at_our_host(address, wire.base),
            [command, (b"x-goog-upload-offset", b"0")],
            [job.lines],
        )
        return text_of(dict_of(done.document.get("file")).get("name"))

    @override
    async def find(self, wire: Wire, lost: Lost) -> str:
        first = "/batches?pageSize=100"

        def fits(operation: dict[str, Any]) -> bool:
            return dict_of(operation.get("metadata")).get("displayName") == lost.tag

        def next_path(page: Page) -> str:
            listed, found = page
            token = text_of(listed.get("nextPageToken"))
            made_at = dict_of(found[-1].get("metadata")).get("createTime")
            if not token or not is_since(made_at, lost.since):
                return ""
            return f"{first}&pageToken={quote(token, safe='')}"

        return text_of((await search(wire, first, "operations", fits, next_path)).get("name"))

    @override
    async def status(self, wire: Wire, native_id: str) -> Status:
        operation = await wire.get(f"/{native_id}")
        batch = dict_of(operation.get("metadata"))
        state = text_of(batch.get("state")).removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
        counts = dict_of(batch.get("batchStats"))
        output = dict_of(batch.get("output")) or dict_of(operation.get("response"))
        file = text_of(output.get("responsesFile"))
        error = dict_of(operation.get("error"))
        problem = text_of(error.get("message")) or state
        return Status(
            native_id,
            has_ended=state in ENDED,
            problem=problem if state == "FAILED" and not file else "",
            completed=whole(counts.get("successfulRequestCount")),
            failed=whole(counts.get("failedRequestCount")),
            results=(f"{_beside(wire, 'download')}/{file}:download?alt=media",) if file else (),
        )

    @override
    def answer_of(self, line: dict[str, Any]) -> Answer:
        key, error = text_of(line.get("key")), line.get("error")
        if isinstance(line.get("response"), dict):
            return Answer(key, 200, dumps(line["response"]))
        if not isinstance(error, dict):
            return Answer(key, None)
        code = whole(error.get("code"))
        status = code if code >= _LEAST_STATUS else _STATUS_OF_CODE.get(code, 500)
        return Answer(key, status, dumps({"error": error}))

    @override
    async def cancel(self, wire: Wire, native_id: str) -> None:
        await wire.post(f"/{native_id}:cancel", {})


def _beside(wire: Wire, what: str) -> str:
    """Files travel beside the versions: `/upload/v1beta` for `/v1beta`."""
    root, _, version = wire.base.rpartition("/")
    return f"{root}/{what}/{version}"
