"""One provider as a way of batches sees it: its address, with the credential in each request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import msgspec
from typing_extensions import override

from routing.adapters.base import Adapter, Headers, header
from routing.adapters.jsonio import BadJson, dumps, loads
from routing.batches.providers.carrier import CarriedAnswer, Carrier
from routing.batches.providers.paper import Body
from routing.core.catalog import Endpoint

JSON = (b"content-type", b"application/json")
MOST_REPLY_BYTES = 16 * 2**20  # of what is no file of answers: a page of a listing
MOST_LINE_BYTES = 256 * 2**20  # of a file of answers
MOST_ERROR_BYTES = 2**20
OK = range(200, 300)


class Reply(msgspec.Struct, frozen=True):
    headers: Headers
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """Raises BadJson."""
        return document(self.body)

    def header(self, name: bytes) -> str:
        return header(self.headers, name).decode("latin-1")


class Wire(Protocol):
    """All of it raises UpstreamError, also where the provider refuses, and BadJson."""

    base: str  # without a slash at its end

    async def send(
        self, method: str, url: str, headers: Headers = ..., body: Body = ...
    ) -> Reply: ...

    async def get(self, path: str) -> dict[str, Any]: ...

    async def post(self, path: str, asked: dict[str, Any]) -> dict[str, Any]: ...

    def lines(self, url: str) -> AsyncGenerator[dict[str, Any], None]:
        """Of a file of answers, one at a time."""
        ...


class ProviderWire(Wire):
    def __init__(
        self,
        carrier: Carrier,
        adapter: Adapter,
        endpoint: Endpoint,
        own: Sequence[tuple[bytes, bytes]],
    ) -> None:
        """`own` are the headers that every request there needs."""
        self.base = endpoint.provider.base_url.rstrip("/")
        self._carrier = carrier
        self._adapter = adapter
        self._endpoint = endpoint
        self._own = [*own, (b"accept", b"*/*")]

    @override
    async def send(self, method: str, url: str, headers: Headers = [], body: Body = ()) -> Reply:  # noqa: B006
        answer = await self._ask(method, url, headers, body)
        try:
            return Reply(answer.headers, await answer.read(MOST_REPLY_BYTES))
        finally:
            await answer.aclose()

    @override
    async def get(self, path: str) -> dict[str, Any]:
        return (await self.send("GET", self.base + path)).document

    @override
    async def post(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        return (await self.send("POST", self.base + path, [JSON], [dumps(asked)])).document

    @override
    async def lines(self, url: str) -> AsyncGenerator[dict[str, Any], None]:
        answer = await self._ask("GET", url, [], ())
        rest = bytearray()
        try:
            async for chunk in answer.chunks():
                rest += chunk
                if b"\n" in chunk:
                    *whole, left = rest.split(b"\n")
                    rest = left
                    for line in whole:
                        if line.strip():
                            yield document(bytes(line))
                if len(rest) > MOST_LINE_BYTES:
                    raise BadJson("a line of the answers does not end")
            if rest.strip():
                yield document(bytes(rest))
        finally:
            await answer.aclose()

    async def _ask(self, method: str, url: str, headers: Headers, body: Body) -> CarriedAnswer:
        answer = await self._carrier.send(method, url, [*self._own, *headers], body)
        if answer.status in OK:
            return answer
        try:
            content = await answer.read(MOST_ERROR_BYTES)
        finally:
            await answer.aclose()
        raise self._adapter.read_error(self._endpoint, answer.status, answer.headers, content)


def document(body: bytes) -> dict[str, Any]:
    """Raises BadJson."""
    found = loads(body)
    if not isinstance(found, dict):
        raise BadJson("the answer is no JSON object")
    return found


def at_our_host(url: str, base: str) -> str:
    """What a provider gave as an address, at the host that its credential is for."""
    given, ours = urlsplit(url), urlsplit(base)
    return urlunsplit((ours.scheme, ours.netloc, given.path, given.query, ""))
