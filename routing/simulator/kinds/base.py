"""One request of a kind other than chat: what was asked, and the whole answer to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from routing.simulator.asks import Refusal, wants
from routing.simulator.http11 import Request
from routing.simulator.prices import Tally
from routing.simulator.session import ENCODER, Frame, Report, pretend
from routing.simulator.world import Endpoint, Provider

JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"
Frames = Callable[[Report], Iterator[Frame]]


class Reading(msgspec.Struct):
    """A request taken apart: for multipart, `fields` holds a list where a name came again."""

    fields: dict[str, Any]
    file: bytes = b""
    has_file: bool = False


class Answer(msgspec.Struct):
    tally: Tally
    document: dict[str, Any] = {}
    usage: dict[str, Any] | None = None  # put under `usage` unless a fault leaves it out
    raw: bytes = b""  # instead of a document
    content_type: bytes = JSON
    frames: Frames | None = None  # where it comes in pieces

    def body(self, report: Report) -> bytes:
        if self.raw:
            return self.raw
        if self.usage is None or report is Report.NONE:
            return ENCODER.encode(self.document)
        return ENCODER.encode({**self.document, **told(self.usage, report)})


def told(usage: dict[str, Any], report: Report) -> dict[str, Any]:
    """What an answer says of its usage, as a part of it."""
    if report is Report.NONE:
        return {}
    return {"usage": pretend(usage) if report is Report.ABSURD else usage}


def event(name: str, *, named: bool = False, **fields: Any) -> bytes:
    head = b"event: " + name.encode() + b"\n" if named else b""
    return head + b"data: " + ENCODER.encode({"type": name, **fields}) + b"\n\n"


class Play(Protocol):
    kind: str

    def model_of(self, provider: Provider, request: Request) -> str | None:
        """The model id when this request is for this kind, "" when the body tells, else None."""
        ...

    def read(self, provider: Provider, request: Request) -> Reading:
        """Raises Refusal."""
        ...

    def answer(self, provider: Provider, endpoint: Endpoint, asked: Reading, now: float) -> Answer:
        """Raises Refusal. The same request has the same answer."""
        ...


def at_path(provider: Provider, request: Request, path: str) -> str | None:
    return "" if request.path == f"/{provider.slug}{provider.base_path}{path}" else None


def json_reading(request: Request) -> Reading:
    check_type(request, "application/json")
    try:
        body = msgspec.json.decode(request.body)
    except msgspec.DecodeError as exc:
        message = "We could not parse the JSON body of your request."
        raise Refusal(400, message, violation=f"body is not JSON: {exc}") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object", violation="body is not an object")
    return Reading(body)


def check_type(request: Request, wanted: str) -> None:
    sent = request.header(b"content-type").split(";")[0].strip().lower()
    if sent != wanted:
        message = f"Content-Type must be {wanted}"
        raise Refusal(415, message, violation=f"content type {sent or 'missing'}")


def check_fields(provider: Provider, kind: str, fields: dict[str, Any], known: str) -> None:
    """What the provider is known not to take is refused; some refuse all that they do not know."""
    refused = provider.traits.kind_drop_params.get(kind, ())
    names = known.split()
    for name in fields:
        is_bad = name in refused or (provider.persona.names_bad_fields and name not in names)
        wants(
            not is_bad,
            f"Unknown parameter: '{name}'.",
            param=name,
            status=provider.persona.param_status,
        )


def text_in(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    wants(isinstance(value, str) and value, f"'{name}' must be a text", param=name)
    return str(value)


def whole_in(fields: dict[str, Any], name: str, usual: int, most: int) -> int:
    value = fields.get(name, usual)
    good = type(value) is int and 1 <= value <= most
    wants(good, f"'{name}' must be between 1 and {most}", param=name)
    return int(value)


def tokens_of(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)
