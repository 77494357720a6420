"""The smaller routes beside the answering ones: kept responses, and counting a prompt's tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from routing.adapters.anthropic import counting
from routing.adapters.anthropic.native import DIALECT
from routing.adapters.base import ChatCall, Headers
from routing.core.errors import HubError, UpstreamError
from routing.core.names import resolve
from routing.gateway.errors import JSON_HEADERS
from routing.gateway.parse import load_json
from routing.gateway.service import Gateway
from routing.gateway.upstream.base import UpstreamRequest
from routing.surfaces.base import Asker
from routing.surfaces.messages.counting import ESTIMATED, count_body, count_tokens
from routing.surfaces.messages.surface import MessagesSurface
from routing.surfaces.responses.resources import (
    cannot_cancel,
    deleted_body,
    input_items_body,
    response_body,
)
from routing.surfaces.responses.store import ResponseStore, Shelf

MAX_COUNT_BYTES = 64 * 2**10


class Answered:
    """A small whole answer."""

    __slots__ = ("body", "headers")

    def __init__(self, body: bytes, headers: Headers | None = None) -> None:
        self.body = body
        self.headers = headers or JSON_HEADERS


ResponseRoute = Callable[[Shelf, str, dict[str, str]], Awaitable[bytes]]


async def _get(shelf: Shelf, response_id: str, query: dict[str, str]) -> bytes:
    return response_body(await shelf.find(response_id), query)


async def _delete(shelf: Shelf, response_id: str, query: dict[str, str]) -> bytes:
    await shelf.forget(response_id)
    return deleted_body(response_id)


async def _input_items(shelf: Shelf, response_id: str, query: dict[str, str]) -> bytes:
    return input_items_body(await shelf.find(response_id), query)


async def _cancel(shelf: Shelf, response_id: str, query: dict[str, str]) -> bytes:
    await shelf.find(response_id)
    raise cannot_cancel()


RESPONSE_ROUTES: dict[str, dict[str, ResponseRoute]] = {
    "": {"GET": _get, "DELETE": _delete},
    "input_items": {"GET": _input_items},
    "cancel": {"POST": _cancel},
}


async def kept_response(
    store: ResponseStore | None, project_id: int, method: str, rest: str, query: bytes
) -> Answered:
    """`rest` is the path behind `/v1/responses/`. Raises HubError 400, 404, 405 and 503."""
    response_id, _, what = rest.partition("/")
    methods = RESPONSE_ROUTES.get(what)
    if methods is None:
        raise HubError(
            404,
            "unknown_url",
            f"There is nothing at /v1/responses/{rest[:200]}. A kept response has its own address, "
            "input_items and cancel",
            should_retry=False,
        )
    route = methods.get(method)
    if route is None:
        raise HubError(
            405,
            "method_not_allowed",
            f"/v1/responses/{rest[:200]} takes {', '.join(methods)}, not {method}",
            should_retry=False,
        )
    shelf = Shelf(store, project_id)
    return Answered(await route(shelf, response_id, dict(parse_qsl(query.decode("latin-1")))))


async def counted(gateway: Gateway, headers: Headers, raw: bytes, project_id: int) -> Answered:
    """Asks a provider of the dialect where the model has one; else the hub's own estimate.

    Raises HubError 400 and 404.
    """
    body = load_json(raw)
    estimate = count_tokens(body)
    exact = await _ask_provider(gateway, headers, body, project_id)
    if exact is None:
        return Answered(count_body(estimate), [*JSON_HEADERS, *ESTIMATED])
    return Answered(count_body(exact))


async def _ask_provider(
    gateway: Gateway, headers: Headers, body: dict[str, Any], project_id: int
) -> int | None:
    """None where no provider of the dialect serves the model, or none answers."""
    snapshot = gateway.snapshots.current
    model = resolve(body["model"], snapshot).model
    call = await _count_call(headers, body, project_id)
    for endpoint in snapshot.endpoints_of.get(model, ()):
        if endpoint.provider.dialect != DIALECT or not endpoint.credentials:
            continue
        with suppress(UpstreamError):
            built = counting.build_count(call, endpoint, endpoint.credentials[0].secret)
            answer = await gateway.upstream.send(
                UpstreamRequest(
                    "POST",
                    endpoint.provider.base_url + built.path,
                    built.headers,
                    built.body,
                    gateway.deadlines_for(endpoint),
                )
            )
            try:
                content = await answer.read(MAX_COUNT_BYTES)
            finally:
                await answer.aclose()
            if answer.status == 200:
                return counting.read_count(content)
    return None


async def _count_call(headers: Headers, body: dict[str, Any], project_id: int) -> ChatCall:
    counted_body = {"max_tokens": 1, **body}
    asker = Asker(request_id="", now_unix_s=0.0, project_id=project_id, headers=headers)
    voice = await MessagesSurface().open(counted_body, asker)
    return ChatCall(voice.chat, stream=False, wants_usage=False, native=voice.native)
