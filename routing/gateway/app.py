"""The data plane's ASGI callable: `/v1/*`, outside Django's middleware."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from routing.core.errors import HubError
from routing.core.ids import request_id_text
from routing.core.moment import Moment
from routing.gateway.asgi import AsgiSink, Receive, Scope, Send, read_body
from routing.gateway.errors import JSON_HEADERS, error_body, error_headers, our_fault
from routing.gateway.listing import model_body, models_body
from routing.gateway.service import Gateway
from routing.surfaces.base import Surface

logger = logging.getLogger("panelboard.gateway")

PREFIX = "/v1/"
Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class GatewayApp:
    """`surfaces` are the client dialects besides OpenAI chat, by the path they are served at."""

    def __init__(self, gateway: Gateway, surfaces: Mapping[str, Surface] | None = None) -> None:
        self.gateway = gateway
        self._surfaces = dict(surfaces or {})
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v1/chat/completions": ("POST", self._chat),
            "/v1/models": ("GET", self._models),
            **dict.fromkeys(self._surfaces, ("POST", self._converse)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        route = self._routes.get(path)
        if route is None and path.startswith("/v1/models/"):
            route = ("GET", self._model)
        try:
            if route is None:
                raise self._no_route(path)
            if scope["method"] != route[0]:
                raise _wrong_method(scope["method"], path, route[0])
            await route[1](scope, receive, send)
        except HubError as error:
            await self._refuse(path, error, receive, send)
        except Exception:
            logger.exception("the gateway failed at %s", path)
            await self._refuse(path, our_fault(), receive, send)

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit_bytes = self.gateway.settings.max_body_bytes
        await self.gateway.chat(
            scope["headers"], AsgiSink(receive, send), partial(read_body, receive, limit_bytes)
        )

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit_bytes = self.gateway.settings.max_body_bytes
        await self.gateway.chat(
            scope["headers"],
            AsgiSink(receive, send),
            partial(read_body, receive, limit_bytes),
            surface=self._surfaces[scope["path"]],
        )

    async def _models(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._authenticate(scope)
        gateway = self.gateway
        await _reply(send, receive, models_body(gateway.snapshot, gateway.health, self._moment()))

    async def _model(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._authenticate(scope)
        gateway = self.gateway
        path_id = scope["path"].removeprefix("/v1/models/")
        body = model_body(path_id, gateway.snapshot, gateway.health, self._moment())
        await _reply(send, receive, body)

    def _authenticate(self, scope: Scope) -> None:
        self.gateway.authenticate(scope["headers"], self.gateway.wall())

    def _moment(self) -> Moment:
        gateway = self.gateway
        return Moment(gateway.monotonic(), dt.datetime.fromtimestamp(gateway.wall(), dt.UTC))

    async def _refuse(self, path: str, error: HubError, receive: Receive, send: Send) -> None:
        request_id = request_id_text(self.gateway.new_request_id(self.gateway.wall()))
        headers = [*error_headers(error), (b"x-request-id", request_id.encode())]
        surface = self._surface_at(path)
        body = (
            error_body(error, request_id)
            if surface is None
            else surface.error_body(error, request_id)
        )
        await AsgiSink(receive, send).reply(error.status, headers, body)

    def _surface_at(self, path: str) -> Surface | None:
        """Whose envelope an error at this path has."""
        for own, surface in self._surfaces.items():
            if path == own or path.startswith(f"{own}/"):
                return surface
        return None

    def _no_route(self, path: str) -> HubError:
        served = [f"{method} {known}" for known, (method, _) in self._routes.items()]
        return HubError(
            404,
            "unknown_url",
            f"There is nothing at {path[:200]}. The hub serves {', '.join(served)} and "
            "GET /v1/models/<id>",
            should_retry=False,
        )


async def _reply(send: Send, receive: Receive, body: bytes) -> None:
    await AsgiSink(receive, send).reply(200, JSON_HEADERS, body)


def _wrong_method(method: str, path: str, allowed: str) -> HubError:
    return HubError(
        405, "method_not_allowed", f"{path} takes {allowed}, not {method}", should_retry=False
    )
