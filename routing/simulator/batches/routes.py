"""Which requests are about files and batches, and how they are answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from routing.simulator import checks
from routing.simulator.asks import Refusal
from routing.simulator.batches import anthropic_way, gemini_way, mistral_way, openai_way
from routing.simulator.batches.visit import Given, Handler, Table, Visit
from routing.simulator.batches.work import MALFORMED
from routing.simulator.calls import JSON_TYPE
from routing.simulator.envelopes import Trouble, envelope, status_on_wire
from routing.simulator.http11 import Exchange, Request, head_bytes
from routing.simulator.session import ENCODER
from routing.simulator.world import Provider

if TYPE_CHECKING:
    from routing.simulator.service import Service

Place = tuple[str, re.Pattern[str], Table]  # where it begins, how it goes on, what is done there
FILE_TYPE = (b"content-type", b"application/octet-stream")
BATCH_PATH = re.compile(r"(?:/(?P<id>[^/]+)(?:/(?P<what>cancel|results))?)?$")
FILE_PATH = re.compile(r"(?:/(?P<id>[^/]+)/content)?$")
NAMED_PATH = re.compile(r"(?:/(?P<id>[^/:]+)(?::(?P<what>\w+))?)?$")  # as Google's


def _openai(provider: Provider) -> Iterable[Place]:
    base = f"/{provider.slug}{provider.base_path}"
    yield f"{base}/files", FILE_PATH, openai_way.FILES
    yield f"{base}/batches", BATCH_PATH, openai_way.BATCHES


def _anthropic(provider: Provider) -> Iterable[Place]:
    below = f"{provider.base_path}{provider.traits.chat_path}/batches"
    yield f"/{provider.slug}{below}", BATCH_PATH, anthropic_way.BATCHES


def _mistral(provider: Provider) -> Iterable[Place]:
    base = f"/{provider.slug}{provider.base_path}"
    yield f"{base}/files", FILE_PATH, mistral_way.FILES
    yield f"{base}/batch/jobs", BATCH_PATH, mistral_way.JOBS


def _gemini(provider: Provider) -> Iterable[Place]:
    root, _, version = f"/{provider.slug}{provider.base_path}".rpartition("/")
    yield f"{root}/upload/{version}/files", NAMED_PATH, gemini_way.UPLOADS
    yield f"{root}/download/{version}/files", NAMED_PATH, gemini_way.DOWNLOADS
    yield f"{root}/{version}/files", NAMED_PATH, gemini_way.DOWNLOADS  # as its SDKs fetch them
    yield f"{root}/{version}/models", NAMED_PATH, gemini_way.MODELS
    yield f"{root}/{version}/batches", NAMED_PATH, gemini_way.BATCHES


PLACES: dict[str, Callable[[Provider], Iterable[Place]]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "mistral": _mistral,
    "gemini": _gemini,
}


def handler_of(provider: Provider, request: Request) -> tuple[Handler, str, str] | None:
    """(what to do, id, what of it), or None where this is not about files or batches."""
    places = PLACES.get(provider.traits.batches)
    for place in places(provider) if places is not None else ():
        found = _routed(request, *place)
        if found is not None:
            return found
    return None


def _routed(
    request: Request, below: str, pattern: re.Pattern[str], handlers: Table
) -> tuple[Handler, str, str] | None:
    if not request.path.startswith(below):
        return None
    found = pattern.match(request.path, len(below))
    if found is None:
        return None
    parts = found.groupdict()
    name, what = parts.get("id") or "", parts.get("what") or ""
    handler = handlers.get((request.method, bool(name), what))
    return None if handler is None else (handler, name, what)


def perform(
    service: Service, exchange: Exchange, provider: Provider, found: tuple[Handler, str, str]
) -> None:
    request = exchange.request
    mishap = service.batches.mishap_at(provider, request.method, request.path)
    if mishap is not None and not mishap.is_done and mishap.status:
        _answer(exchange, *_trouble(provider, Trouble(mishap.status, "")))
        return
    status, given = _performed(service, exchange, provider, found)
    if mishap is None:
        _answer(exchange, status, given)
    elif mishap.status:
        _answer(exchange, *_trouble(provider, Trouble(mishap.status, "")))
    else:
        _cut_off(exchange, given)


def _performed(
    service: Service, exchange: Exchange, provider: Provider, found: tuple[Handler, str, str]
) -> tuple[int, Given]:
    handler, name, what = found
    try:
        if not gemini_way.is_known_upload(exchange.request):
            checks.check_credential(provider, exchange.request)
        checks.check_private_headers(exchange.request)
        body = handler(Visit(service, exchange, provider, name, what))
    except MALFORMED as exc:
        return _trouble(provider, Trouble(400, f"malformed: {exc}"))
    except Refusal as refusal:
        return _trouble(provider, Trouble(refusal.status, refusal.message, code=refusal.code))
    return 200, body if isinstance(body, Given) else Given(body, [])


def _trouble(provider: Provider, trouble: Trouble) -> tuple[int, Given]:
    name = provider.persona.envelope
    return status_on_wire(name, trouble.status), Given(envelope(name, trouble), [])


def _answer(exchange: Exchange, status: int, given: Given) -> None:
    kind = FILE_TYPE if isinstance(given.body, bytes) else JSON_TYPE
    headers = [kind, (b"x-simulated", b"1"), *given.headers]
    exchange.respond(status, headers, _content(given))


def _cut_off(exchange: Exchange, given: Given) -> None:
    """Nothing of an answer, and half of a file."""
    content = _content(given)
    if isinstance(given.body, bytes):
        size = (b"content-length", b"%d" % len(content))
        exchange.write_raw(head_bytes(200, [size]) + content[: len(content) // 2])
    exchange.close()


def _content(given: Given) -> bytes:
    return given.body if isinstance(given.body, bytes) else ENCODER.encode(given.body)
