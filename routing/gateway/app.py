"""The data plane's ASGI callable: `/v1/*`, outside Django's middleware."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from routing.core.catalog import Caller
from routing.core.errors import HubError
from routing.core.ids import request_id_text
from routing.core.moment import Moment
from routing.gateway.asgi import (
    AsgiSink,
    ClientGone,
    Receive,
    Scope,
    Send,
    check_headers,
    read_body,
)
from routing.gateway.errors import JSON_HEADERS, error_body, error_headers, our_fault
from routing.gateway.kinds import KIND_PATHS, NOT_OFFERED, answer_kind
from routing.gateway.listing import model_body, models_body
from routing.gateway.resources import kept_response
from routing.gateway.service import Gateway
from routing.gateway.token_counts import counted
from routing.surfaces.base import Surface
from routing.surfaces.responses.store import ResponseStore

logger = logging.getLogger("panelboard.gateway")

PREFIX = "/v1/"
MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class GatewayApp:
    """`surfaces` are the client dialects besides OpenAI chat, by the path they are served at."""

    def __init__(
        self,
        gateway: Gateway,
        surfaces: Mapping[str, Surface] | None = None,
        responses: ResponseStore | None = None,
        mounted: Mapping[str, Handler] | None = None,
    ) -> None:
        """`mounted` answer at their path and below it; they authenticate for themselves."""
        self.gateway = gateway
        self._responses = responses
        self._surfaces = dict(surfaces or {})
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v1/chat/completions": ("POST", self._chat),
            "/v1/models": ("GET", self._models),
            **dict.fromkeys(self._surfaces, ("POST", self._converse)),
            **dict.fromkeys(KIND_PATHS, ("POST", self._answer_kind)),
        }
        if MESSAGES in self._surfaces:
            self._routes[f"{MESSAGES}/count_tokens"] = ("POST", self._count)
        # An empty method leaves the choice to the handler.
        self._routes |= {path: ("", handler) for path, handler in (mounted or {}).items()}
        self._prefixes: dict[str, tuple[str, Handler]] = {"/v1/models/": ("GET", self._model)}
        if RESPONSES in self._surfaces:
            self._prefixes[f"{RESPONSES}/"] = ("", self._kept)
        self._prefixes |= {f"{path}/": ("", at) for path, at in (mounted or {}).items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        route = self._routes.get(path) or self._route_below(path)
        try:
            if route is None:
                raise self._no_route(path)
            if scope["method"] != route[0] and route[0]:
                raise _wrong_method(scope["method"], path, route[0])
            await route[1](scope, receive, send)
        except ClientGone:
            pass
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

    async def _answer_kind(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit_bytes = self.gateway.settings.max_body_bytes
        await answer_kind(
            self.gateway,
            KIND_PATHS[scope["path"]],
            scope["headers"],
            AsgiSink(receive, send),
            partial(read_body, receive, limit_bytes),
        )

    def _route_below(self, path: str) -> tuple[str, Handler] | None:
        for prefix, route in self._prefixes.items():
            if path.startswith(prefix):
                return route
        return None

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit_bytes = self.gateway.settings.max_body_bytes
        await self.gateway.chat(
            scope["headers"],
            AsgiSink(receive, send),
            partial(read_body, receive, limit_bytes),
            surface=self._surfaces[scope["path"]],
        )

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = self._authenticate(scope)
        check_headers(scope["headers"], self.gateway.settings.max_body_bytes)
        raw = await read_body(receive, self.gateway.settings.max_body_bytes)
        head, body = await counted(self.gateway, caller, scope["headers"], raw)
        await AsgiSink(receive, send).reply(200, head, body)

    async def _kept(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = self._authenticate(scope)
        rest = scope["path"].removeprefix("/v1/responses/")
        query = scope.get("query_string", b"")
        body = await kept_response(self._responses, caller.project_id, scope["method"], rest, query)
        await _reply(send, receive, body)

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

    def _authenticate(self, scope: Scope) -> Caller:
        return self.gateway.authenticate(scope["headers"], self.gateway.wall())

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
        if path in NOT_OFFERED:
            return HubError(404, "not_offered", NOT_OFFERED[path], should_retry=False)
        served = [f"{method} {known}".strip() for known, (method, _) in self._routes.items()]
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
