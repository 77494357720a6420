"""What every way of taking batches does. Each is a module beside this one, and a row in the table."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Container
from typing import Any
from uuid import uuid4

import msgspec

from routing.adapters.jsonio import dicts_in, text_of
from routing.batches.providers.paper import Answer, Body, Paper
from routing.batches.providers.wire import Wire

LOOK_BACK = dt.timedelta(seconds=60)  # the provider's clock may be behind ours
MOST_PAGES = 20


class Entry(msgspec.Struct, frozen=True):
    custom_id: str
    path: str  # as the adapter gave it, below the provider's base URL
    body: bytes


class Job(msgspec.Struct, frozen=True):
    """A batch as it is handed over."""

    tag: str  # ours, for `find`
    path: str  # of each of its requests
    model: str  # as the provider calls it
    lines: Paper


class Lost(msgspec.Struct, frozen=True):
    """A batch that may have been made while nobody lived to write its id down."""

    tag: str
    since: dt.datetime
    count: int  # of its lines
    known: Container[str]  # ids of batches that are others of ours


class Status(msgspec.Struct, frozen=True):
    native_id: str
    has_ended: bool = False
    problem: str = ""  # why there will be no answers
    completed: int = 0
    failed: int = 0
    results: tuple[str, ...] = ()  # whole addresses, where the answers are


class Way(ABC):
    """`separator` stands between two lines of a job. What asks the provider raises UpstreamError
    and BadJson."""

    kinds = frozenset({"chat"})  # of models
    separator = b"\n"

    @abstractmethod
    def line(self, entry: Entry) -> bytes: ...

    @abstractmethod
    async def submit(self, wire: Wire, job: Job) -> str:
        """The provider's id of the new batch."""

    @abstractmethod
    async def find(self, wire: Wire, lost: Lost) -> str:
        """The provider's id, or ""."""

    @abstractmethod
    async def status(self, wire: Wire, native_id: str) -> Status: ...

    async def answers(self, wire: Wire, status: Status) -> AsyncGenerator[Answer, None]:
        """In any order."""
        for url in status.results:
            async for line in wire.lines(url):
                yield self.answer_of(line)

    @abstractmethod
    def answer_of(self, line: dict[str, Any]) -> Answer: ...

    @abstractmethod
    async def cancel(self, wire: Wire, native_id: str) -> None: ...


Page = tuple[dict[str, Any], list[dict[str, Any]]]  # as it came, and the batches on it


def only_page(_: Page) -> str:
    return ""


async def search(
    wire: Wire,
    path: str,
    name: str,
    fits: Callable[[dict[str, Any]], bool],
    next_path: Callable[[Page], str] = only_page,
) -> dict[str, Any]:
    """The first batch that fits on the pages from `path` on, which have them under `name`; or {}.

    `next_path` is asked on a page with batches, and says "" where to go on is of no use.
    """
    for _ in range(MOST_PAGES):
        listed = await wire.get(path)
        found = dicts_in(listed.get(name))
        for batch in found:
            if fits(batch):
                return batch
        path = next_path((listed, found)) if found else ""
        if not path:
            break
    return {}


def form(fields: dict[str, str], filename: str, lines: Paper) -> tuple[tuple[bytes, bytes], Body]:
    """A form with a file of lines: its content type, and its body."""
    mark = uuid4().hex
    parts = [
        f'--{mark}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        f'--{mark}\r\ncontent-disposition: form-data; name="file"; filename="{filename}"\r\n'
        "content-type: application/jsonl\r\n\r\n"
    )
    content_type = (b"content-type", f"multipart/form-data; boundary={mark}".encode())
    return content_type, ["".join(parts).encode(), lines, f"\r\n--{mark}--\r\n".encode()]


def whole(value: Any) -> int:
    """Gemini writes whole numbers as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    return value if type(value) is int else 0


def is_since(value: Any, since: dt.datetime) -> bool:
    try:
        made_at = dt.datetime.fromisoformat(text_of(value))
    except ValueError:
        return False
    return made_at.tzinfo is not None and made_at >= since - LOOK_BACK
