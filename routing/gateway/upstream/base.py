"""One interface for sending a request to a provider and reading what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import msgspec

from routing.adapters.base import Headers
from routing.core.deadlines import Deadlines


class UpstreamRequest(msgspec.Struct, frozen=True):
    method: str
    url: str  # absolute, from the catalog; never from a client's request
    headers: Sequence[tuple[bytes, bytes]]  # a tuple where many requests share them: rendered once
    body: bytes
    deadlines: Deadlines
    mark: bytes = b""  # our id of this attempt, sent as x-request-id when it is not empty


class UpstreamAnswer(Protocol):
    """Status and headers have arrived. Must be closed on every path."""

    status: int
    is_complete: bool  # all of the body has come, and nothing is left to close

    @property
    def headers(self) -> Headers:
        """Names in lower case."""
        ...

    def header(self, line: bytes) -> bytes:
        """The first value of a header, b"" if there is none. `line` is b"\\n<lower-case name>: "."""
        ...

    def body_at_once(self, limit_bytes: int) -> bytes | None:
        """The whole body, if it has come already; otherwise it is to be read."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises BrokenAnswer(`too_large`) beyond the limit, UpstreamTimeout."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Body bytes as they arrive, raw (identity). Raises BrokenAnswer, UpstreamTimeout(idle)."""
        ...

    def pour_into(
        self,
        pour: Callable[[bytes], bool],
        framed: Callable[[bytes, int], bool] | None = None,
    ) -> None:
        """Has bytes that come while the reader waits for them given to `pour` at once. While it
        returns True the reader is left alone; else it gets b"" from `chunks`. A mere offer: bytes
        may still come by `chunks`. `framed` is for one whole HTTP chunk, given as it came with
        the offset of its data, which ends two bytes before it does; it answers as `pour` does."""
        ...

    async def aclose(self) -> None:
        """Gives a fully read connection back to the pool; aborts it otherwise."""
        ...


class UpstreamClient(Protocol):
    """Raises ConnectFailed or UpstreamTimeout(connect|pool) when nothing was sent, else UpstreamTimeout
    or BrokenAnswer. Follows no redirects, uses no environment, checks every address it connects to.
    """

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer: ...

    async def aclose(self) -> None: ...
