"""The rules of batches: what a line of an input file must be, and what goes into output files."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

# Where the lines of a batch may be sent to, as if each were a request of its own.
ENDPOINTS = (
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/completions",
    "/v1/messages",
    "/v1/rerank",
)
COMPLETION_WINDOW = "24h"
WINDOW_S = 24 * 3600
MOST_LINES = 50_000
MOST_EMPTY_LINES = 50_000
MOST_CUSTOM_ID_CHARS = 512
MOST_METADATA = 16
MOST_METADATA_NAME, MOST_METADATA_VALUE = 64, 512  # characters
LEAST_KEPT_S, MOST_KEPT_S = 3600, 30 * 24 * 3600
KEPT_S = MOST_KEPT_S  # where nothing else is asked for
MOST_ERRORS = 100  # of a file that are told
MOST_TRIES = 6
_PAUSES_S = (1.0, 4.0, 15.0, 60.0, 180.0)

LOCAL, NATIVE, AUTO = "off", "native", "auto"
NATIVE_CHOICES = (AUTO, NATIVE, LOCAL)


class Ended(StrEnum):
    """Why a line has no answer."""

    EXPIRED = "batch_expired"
    CANCELLED = "batch_cancelled"
    LOST = "line_lost"
    REFUSED = "native_batch_refused"


_MESSAGES = {
    Ended.EXPIRED: "This request could not be executed before the completion window expired.",
    Ended.CANCELLED: "This request was not executed: its batch was cancelled before.",
    Ended.REFUSED: "The provider did not take the batch, and it was to be run there alone.",
    Ended.LOST: "The hub's processes ended again and again while this request was executed.",
}


class BadLine(ValueError):
    """`code` and `param` as OpenAI's batch errors have them; the message says what to change."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


NumberedBadLine = tuple[int | None, BadLine]  # None where it is not one line's


def told(errors: Sequence[NumberedBadLine]) -> list[dict[str, Any]]:
    """The first ones, as clients are told."""
    return [
        {"code": bad.code, "message": bad.message, "param": bad.param, "line": number}
        for number, bad in errors[:MOST_ERRORS]
    ]


class Line(msgspec.Struct, frozen=True):
    custom_id: str
    url: str
    model: str


class LineJob(msgspec.Struct, frozen=True):
    """What a worker hands to a gateway: one try of one line. Travels signed (`signature`)."""

    line_id: int
    try_no: int
    holder: bytes  # the worker's, 16 bytes
    key_digest: bytes  # of the API key that made the batch
    url: str
    body: bytes
    place: tuple[bytes, int, int]  # batch, number, project: what the answer is bound to


class LineEnd(StrEnum):
    """What became of a try, as the gateway tells the worker."""

    DONE = "done"  # kept: an answer, or an error that trying again would not mend
    AGAIN = "again"  # waits for another try
    NOT_YOURS = "not_yours"  # somebody else goes on with the line, or nobody should
    BUSY = "busy"  # nothing was begun


def read_line(data: bytes, limit_bytes: int) -> Line:
    """Raises BadLine. Checked is what a batch needs; the request itself is checked when it runs."""
    if len(data) > limit_bytes:
        raise BadLine(
            "line_too_large", f"The line is larger than {limit_bytes // 2**20} MiB. Shorten it"
        )
    try:
        data.decode()  # what is skipped below is not looked at as text
        line = _decode_outline(data)
        is_object = bytes(memoryview(line.body)[:1]) == b"{"
        body = _decode_outlined_body(line.body) if is_object else None
    except msgspec.ValidationError:
        raise BadLine("invalid_json_line", "The line must be a JSON object") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise BadLine("invalid_json_line", f"The line is not valid JSON: {exc}") from None
    if body is None:
        raise BadLine("invalid_body", "The line needs a 'body' object: the request", "body")
    _check_body(body)
    if line.method != "POST":
        raise BadLine("invalid_method", "'method' must be \"POST\"", "method")
    return Line(_custom_id(line.custom_id), _url(line.url), str(body.model))


class _OutlinedBody(msgspec.Struct):
    model: Any = None
    stream: Any = None


class _Outline(msgspec.Struct):
    """Of a line, what is checked: the rest, which may be large, is skipped without being built."""

    custom_id: Any = None
    method: Any = None
    url: Any = None
    body: msgspec.Raw = msgspec.Raw(b"")


_decode_outline = msgspec.json.Decoder(_Outline).decode
_decode_outlined_body = msgspec.json.Decoder(_OutlinedBody).decode


def _custom_id(custom_id: Any) -> str:
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MOST_CUSTOM_ID_CHARS:
        raise BadLine(
            "invalid_custom_id",
            f"'custom_id' must be a text of 1 to {MOST_CUSTOM_ID_CHARS} characters, by which you "
            "find the answer again",
            "custom_id",
        )
    if "\x00" in custom_id:
        raise BadLine("invalid_custom_id", "'custom_id' must not hold a NUL", "custom_id")
    return custom_id


def _url(url: Any) -> str:
    if url not in ENDPOINTS:
        raise BadLine("invalid_url", f"'url' must be one of {', '.join(ENDPOINTS)}", "url")
    return str(url)


def _check_body(body: _OutlinedBody) -> None:
    if not isinstance(body.model, str) or not 0 < len(body.model) <= 300:
        raise BadLine(
            "missing_model", "The body has no 'model'. GET /v1/models lists them", "body.model"
        )
    if body.stream not in (None, False):
        raise BadLine(
            "unsupported_stream",
            "A line of a batch cannot stream: leave 'stream' out",
            "body.stream",
        )


class LineCheck:
    """Takes the lines of a file one by one, and knows of their number and of what is wrong.

    `endpoint` is the one that all lines must name; "" allows each its own.
    """

    def __init__(self, limit_bytes: int, endpoint: str = "") -> None:
        self.number = 0  # of the line taken last, from 1; empty ones count too
        self.count = 0  # of lines with a request
        self.errors: list[NumberedBadLine] = []
        self._limit_bytes = limit_bytes
        self._endpoint = endpoint
        self._seen: dict[bytes, int] = {}  # by digest of its custom_id, the line's number
        self._models: set[str] = set()

    @property
    def is_hopeless(self) -> bool:
        """Enough is wrong to stop reading."""
        is_empty = self.number - self.count > MOST_EMPTY_LINES
        return len(self.errors) >= MOST_ERRORS or self.count > MOST_LINES or is_empty

    @property
    def only_model(self) -> str:
        """ "" where the lines ask for several."""
        return next(iter(self._models)) if len(self._models) == 1 else ""

    def take(self, data: bytes) -> Line | None:
        """None for an empty line, and for one that is wrong."""
        self.number += 1
        if not data.strip():
            return None
        self.count += 1
        try:
            return self._checked(data)
        except BadLine as bad:
            self.errors.append((self.number, bad))
            return None

    def close(self) -> None:
        """The file is over."""
        if not self.count and not self.errors:
            self.errors.append((None, BadLine("empty_file", "The file has no line with a request")))
        if self.number - self.count > MOST_EMPTY_LINES:
            self.errors.append(
                (
                    None,
                    BadLine(
                        "too_many_empty_lines",
                        f"The file has more than {MOST_EMPTY_LINES} empty lines. Leave them out",
                    ),
                )
            )
        if self.count > MOST_LINES:
            self.errors.append(
                (
                    None,
                    BadLine(
                        "too_many_requests",
                        f"The file has more than {MOST_LINES} lines. Make several batches of it",
                    ),
                )
            )

    def _checked(self, data: bytes) -> Line:
        line = read_line(data, self._limit_bytes)
        if self._endpoint and line.url != self._endpoint:
            raise BadLine(
                "mismatched_url",
                f"'url' is {line.url}, and the batch was made for {self._endpoint}",
                "url",
            )
        digest = hashlib.blake2b(line.custom_id.encode(), digest_size=16).digest()
        first = self._seen.setdefault(digest, self.number)
        if first != self.number:
            raise BadLine(
                "duplicate_custom_id",
                f"'custom_id' {line.custom_id[:80]!r} is that of line {first} already",
                "custom_id",
            )
        if len(self._models) < 2:
            self._models.add(line.model)
        return line


def body_of(line: bytes) -> bytes:
    """The request in a line that `read_line` has accepted, as it was written."""
    return bytes(_decode_body(line).body)


class _WithBody(msgspec.Struct):
    body: msgspec.Raw


_decode_json = msgspec.json.Decoder().decode
_decode_body = msgspec.json.Decoder(_WithBody).decode
_encode_json = msgspec.json.Encoder().encode
_encode_job = msgspec.msgpack.Encoder().encode
_decode_job = msgspec.msgpack.Decoder(LineJob).decode


# --- ids as clients see them ------------------------------------------------------------------------
FILE, BATCH = "file-", "batch_"
_HEX = re.compile(r"[0-9a-f]{32}")


def shown_id(kind: str, id_: UUID) -> str:
    return f"{kind}{id_.hex}"


def parsed_id(kind: str, text: str) -> UUID | None:
    digits = text.removeprefix(kind)
    return UUID(digits) if text.startswith(kind) and _HEX.fullmatch(digits) else None


# --- what a worker hands to a gateway ---------------------------------------------------------------
_PURPOSE = b"panelboard batch line\n"
_DIGEST_CHARS = 64


def pack_job(job: LineJob) -> bytes:
    return _encode_job(job)


def unpack_job(data: bytes) -> LineJob:
    """Raises msgspec.MsgspecError."""
    return _decode_job(data)


def signature(packed: bytes, pepper: bytes) -> str:
    """Its digest, signed: only the hub's own processes know the pepper."""
    digest = hashlib.sha256(packed).hexdigest()
    return digest + _signed(digest, pepper)


def is_ours(given: str, pepper: bytes) -> bool:
    """Looked at before anything of what it stands for is read."""
    expected = given[:_DIGEST_CHARS] + _signed(given[:_DIGEST_CHARS], pepper)
    return hmac.compare_digest(expected.encode(), given.encode())


def is_of(given: str, packed: bytes) -> bool:
    return given[:_DIGEST_CHARS] == hashlib.sha256(packed).hexdigest()


def _signed(digest: str, pepper: bytes) -> str:
    return hmac.new(pepper, _PURPOSE + digest.encode(), hashlib.sha256).hexdigest()


# --- tries --------------------------------------------------------------------------------------------
def pause_s(try_no: int, retry_after_s: float | None) -> float | None:
    """Before the next try, or None after the last one."""
    if try_no >= MOST_TRIES:
        return None
    return max(_PAUSES_S[min(try_no, len(_PAUSES_S)) - 1], retry_after_s or 0.0)


# --- output and error files ---------------------------------------------------------------------------
def answer_line(custom_id: str, request_id: UUID, status: int, body: bytes) -> bytes:
    """One line for the output file (status 200) or the error file. `body` is JSON."""
    if b"\n" in body or b"\r" in body:  # providers may send it set out for reading
        body = _encode_json(_decode_json(body))
    head = _encode_json(
        {"id": shown_id("batch_req_", request_id), "custom_id": custom_id, "response": None}
    )
    response = b'{"status_code":%d,"request_id":"%b","body":%b}' % (
        status,
        str(request_id).encode(),
        body,
    )
    return head[: -len(b"null}")] + response + b',"error":null}\n'


def failure_line(custom_id: str, line_key: str, ended: Ended) -> bytes:
    """For a line that was never answered."""
    return (
        _encode_json(
            {
                "id": f"batch_req_{line_key}",
                "custom_id": custom_id,
                "response": None,
                "error": {"code": ended.value, "message": _MESSAGES[ended]},
            }
        )
        + b"\n"
    )
