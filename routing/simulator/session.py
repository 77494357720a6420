"""One accepted request on its way to an answer, as the dialects see it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol

import msgspec

from routing.simulator.answers import Choice
from routing.simulator.asks import Ask
from routing.simulator.http11 import Headers, Request
from routing.simulator.prices import Tally
from routing.simulator.world import Endpoint, Provider

ABSURD_TOKENS = 987_654_321_012
ENCODER = msgspec.json.Encoder(decimal_format="number")


class Report(Enum):
    """What the answer says about usage."""

    TRUE = auto()
    NONE = auto()
    ABSURD = auto()


class Kind(Enum):
    HEAD = auto()
    CONTENT = auto()
    FINISH = auto()
    USAGE = auto()
    DONE = auto()


class Frame(NamedTuple):
    """`data` may be empty: tokens that are produced but not shown (hidden reasoning)."""

    kind: Kind
    data: bytes
    output: int = 0  # tokens in this frame, reasoning included
    reasoning: int = 0


class Session(msgspec.Struct):
    provider: Provider
    endpoint: Endpoint
    ask: Ask
    choices: list[Choice]
    tally: Tally  # of the whole answer
    cost_usd: Decimal  # of the whole answer
    response_id: str
    created: int
    pieces_per_chunk: tuple[int, int]
    elapsed_s: float = 0.0  # what the timing fields tell
    report: Report = Report.TRUE
    content_type: bytes = b"application/json"  # of a whole answer

    @property
    def response_model(self) -> str:
        return self.ask.model + self.provider.persona.model_suffix


class Replies(Protocol):
    def reply(self, session: Session) -> bytes:
        """A whole answer."""
        ...


class Streams(Protocol):
    stream_type: bytes  # content type of a stream

    def frames(self, session: Session) -> Iterator[Frame]: ...


class Dialect(Replies, Streams, Protocol):
    def chat_model(self, provider: Provider, request: Request) -> str | None:
        """The model id when this is a chat request, "" when the body must tell, else None."""
        ...

    def read(self, provider: Provider, request: Request, body: dict[str, Any]) -> Ask:
        """Raises Refusal."""
        ...

    def error_frame(self, body: dict[str, Any] | list[Any]) -> bytes: ...

    def headers(self, provider: Provider, request_id: str) -> Headers: ...


def pretend(usage: dict[str, Any]) -> dict[str, Any]:
    """The same usage object with absurd numbers."""
    return {
        key: ABSURD_TOKENS
        if type(value) is int
        else pretend(value)
        if isinstance(value, dict)
        else value
        for key, value in usage.items()
    }


def groups_of(pieces: list[str], sizes: tuple[int, int]) -> Iterator[list[str]]:
    """Chunks of varying size, the same each time: sizes go round between least and most."""
    least, most = sizes
    at, size = 0, least
    while at < len(pieces):
        yield pieces[at : at + size]
        at += size
        size = least if size >= most else size + 1
