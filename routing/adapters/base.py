"""The seam between one client dialect (OpenAI chat) and the dialects of providers.

An adapter translates and nothing else: it returns a request to send and reads events from bytes.
It never sleeps, retries, logs bodies or opens sockets. One `StreamReader` serves one attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from routing.core.catalog import Endpoint
from routing.core.errors import UpstreamError
from routing.core.usage import NO_USAGE, Usage

Headers = list[tuple[bytes, bytes]]  # names in lower case
FixedHeaders = tuple[tuple[bytes, bytes], ...]  # of many requests: the same object for all of them


class NativeCall(msgspec.Struct, frozen=True):
    """A request in a dialect that some providers speak themselves: sent there as it is."""

    dialect: str  # as in `Adapter.dialect`
    body: dict[str, Any]
    headers: tuple[tuple[bytes, bytes], ...] = ()  # the client's own that belong to the dialect
    returns_thoughts: bool = False  # the hub sends them back in the next turn: sealed, they must be


class Upload(msgspec.Struct, frozen=True):
    filename: str
    content_type: str
    data: bytes


class ChatCall(msgspec.Struct, frozen=True):
    """A client's request, parsed once. `body` is never modified: a retry starts clean."""

    body: dict[str, Any]  # without the hub's own fields (`provider`, `models`)
    stream: bool
    wants_usage: bool  # the client asked for a usage chunk in its stream
    raw: bytes = b""  # the body as received
    is_plain: bool = False  # every message is a role and a text, no field needs a closer look
    native: NativeCall | None = None  # what the client wrote, where it was not OpenAI chat
    kind: str = "chat"  # of routing.core.kinds: `body` is what that kind's path takes
    upload: Upload | None = None  # the file of a multipart request; its fields are `body`
    is_sound: bool = False  # what streams is the sound itself: no event can be put into it


class BuiltRequest(msgspec.Struct, frozen=True):
    path: str  # appended to the provider's base URL, query included
    headers: Sequence[tuple[bytes, bytes]]  # `FixedHeaders` where many requests share them
    body: bytes
    dropped: tuple[str, ...] = ()  # parameters that could not be carried over


class Reply(msgspec.Struct):
    """A complete (non-streaming) answer, in OpenAI's shape."""

    raw: bytes  # the provider's own bytes where nothing had to change
    usage: Usage = NO_USAGE
    usage_raw: bytes = b""
    finish_reason: str = ""
    response_model: str = ""
    service_tier: str = ""  # that it was served by, in the provider's word; "" if it did not say
    output_chars: int = 0
    is_native: bool = False  # in the dialect of the call's `native`, not in OpenAI's
    content_type: bytes = b"application/json"  # of `raw`

    @property
    def body(self) -> dict[str, Any]:
        """`raw`, parsed anew at each call."""
        parsed: dict[str, Any] = msgspec.json.decode(self.raw)
        return parsed


class UsageNote(msgspec.Struct, frozen=True):
    """What the hub adds to the client's usage object: cost in USD as a decimal string."""

    cost_usd: str
    cost_status: str


class StreamReader(Protocol):
    """Feed it upstream bytes as they come; it returns client bytes (OpenAI SSE) and learns.

    `feed` and `close` never raise on bad input: they set `error`. After `error` or `done` further
    bytes are ignored. `b""` means nothing to forward yet.
    """

    content_started: bool  # a non-empty content, reasoning or tool-call delta was seen
    answer_started: bool  # ... that is not reasoning
    done: bool  # a terminal event was seen, or EOF after a finish_reason
    error: UpstreamError | None
    usage: Usage
    usage_raw: bytes
    finish_reason: str
    response_model: str
    service_tier: str  # that it was served by, in the provider's word; "" if it did not say
    output_chars: int
    content_frames: int
    is_native: bool  # gives events of the call's `native` dialect, not OpenAI's
    note: Callable[[Usage], UsageNote] | None  # set by the gateway when the client wants usage

    def feed(self, data: bytes) -> bytes: ...

    def close(self) -> bytes:
        """EOF. Sets `error` (code `truncated`) unless the answer had ended properly."""
        ...


class Adapter(Protocol):
    dialect: str

    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        """Raises UpstreamError(CLIENT) when the request cannot be expressed in this dialect."""
        ...

    def read_plain_reply(self, endpoint: Endpoint, body: bytes) -> Reply | None:
        """As `read_reply` where the body is of the plainest kind; None says nothing of it."""
        return None

    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        """Raises UpstreamError when a 2xx body is an error object, HTML or not an answer."""
        ...

    def read_error(
        self, endpoint: Endpoint, status: int, headers: Headers, body: bytes
    ) -> UpstreamError:
        """Classifies an answer with an error status; never raises."""
        ...

    def open_stream(self, call: ChatCall, endpoint: Endpoint) -> StreamReader: ...


def header(headers: Headers, name: bytes) -> bytes:
    """First value of a lower-case header name, or b""."""
    for key, value in headers:
        if key == name:
            return value
    return b""
