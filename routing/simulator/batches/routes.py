"""Which requests are about files and batches, and how they are answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from routing.simulator import checks
from routing.simulator.asks import Refusal
from routing.simulator.batches import anthropic_way, openai_way
from routing.simulator.batches.visit import Handler, Table, Visit
from routing.simulator.batches.work import MALFORMED
from routing.simulator.calls import JSON_TYPE
from routing.simulator.envelopes import Trouble, envelope, status_on_wire
from routing.simulator.http11 import Exchange, Request
from routing.simulator.session import ENCODER
from routing.simulator.world import Provider

if TYPE_CHECKING:
    from routing.simulator.service import Service

BATCH_PATH = re.compile(r"(?:/(?P<id>[^/]+)(?:/(?P<what>cancel|results))?)?$")
FILE_PATH = re.compile(r"(?:/(?P<id>[^/]+)/content)?$")


def handler_of(provider: Provider, request: Request) -> tuple[Handler, str, str] | None:
    """(what to do, id, what of it), or None where this is not about files or batches."""
    base = f"/{provider.slug}{provider.base_path}"
    if provider.traits.batches == "openai":
        return _routed(request, base, "/files", FILE_PATH, openai_way.FILES) or _routed(
            request, base, "/batches", BATCH_PATH, openai_way.BATCHES
        )
    if provider.traits.batches == "anthropic":
        below = f"{provider.traits.chat_path}/batches"
        return _routed(request, base, below, BATCH_PATH, anthropic_way.BATCHES)
    return None


def _routed(
    request: Request,
    base: str,
    below: str,
    pattern: re.Pattern[str],
    handlers: Table,
) -> tuple[Handler, str, str] | None:
    if not request.path.startswith(base + below):
        return None
    found = pattern.match(request.path, len(base + below))
    if found is None:
        return None
    parts = found.groupdict()
    name, what = parts.get("id") or "", parts.get("what") or ""
    handler = handlers.get((request.method, bool(name), what))
    return None if handler is None else (handler, name, what)


def perform(
    service: Service, exchange: Exchange, provider: Provider, found: tuple[Handler, str, str]
) -> None:
    handler, name, what = found
    try:
        checks.check_credential(provider, exchange.request)
        checks.check_private_headers(exchange.request)
        status, body = 200, handler(Visit(service, exchange, provider, name, what))
    except MALFORMED as exc:
        status, body = 400, envelope(provider.persona.envelope, Trouble(400, f"malformed: {exc}"))
    except Refusal as refusal:
        trouble = Trouble(refusal.status, refusal.message, code=refusal.code)
        status = status_on_wire(provider.persona.envelope, refusal.status)
        body = envelope(provider.persona.envelope, trouble)
    content = body if isinstance(body, bytes) else ENCODER.encode(body)
    exchange.respond(status, [JSON_TYPE, (b"x-simulated", b"1")], content)
