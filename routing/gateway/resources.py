"""What is kept of responses, at addresses below `/v1/responses/`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from routing.core.errors import HubError
from routing.surfaces.responses.resources import (
    cannot_cancel,
    deleted_body,
    input_items_body,
    response_body,
)
from routing.surfaces.responses.store import ResponseStore, Shelf

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
) -> bytes:
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
    return await route(shelf, response_id, dict(parse_qsl(query.decode("latin-1"))))
