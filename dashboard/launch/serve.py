"""One web process: gateway and pages under uvicorn."""

from __future__ import annotations

import argparse
import logging
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn

from dashboard.env import env_int, env_str
from dashboard.hub_settings import serve_of_environment
from dashboard.launch.errors import LaunchError
from dashboard.launch.preflight import BACKLOG, listen
from dashboard.launch.processes import allow_many_files
from routing.compiled.importing import state

if TYPE_CHECKING:
    from dashboard.application import Application

KEEP_ALIVE_S = 75

logger = logging.getLogger(__name__)


def serve(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="panelboard serve")
    parser.add_argument("--fd", type=int, help="a listening socket that was handed over")
    chosen = parser.parse_args(arguments)
    allow_many_files()
    application = _application()  # sets Django up, before anything that has models
    _tell_what_runs()
    from dashboard.launch.draining_server import DrainingServer
    from dashboard.runtime import current_gateway
    from routing.gateway.hot_protocol import protocol_for

    config = uvicorn.Config(
        application,
        http=protocol_for(current_gateway),  # type: ignore[arg-type] # called, whatever it is
        loop="uvloop",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,  # the application has set logging up
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        server_header=False,
        date_header=True,
        proxy_headers=False,
    )
    server = DrainingServer(
        config,
        drain_s=env_int("PANELBOARD_DRAIN_S", 20, least=1, most=3600),
        notice_s=env_int("PANELBOARD_STOP_NOTICE_S", 0, most=600),
    )
    with suppress(KeyboardInterrupt):  # raised again by uvicorn after a clean stop
        server.run(sockets=[_listener(chosen.fd)])


def _application() -> Application:
    """A gateway alone does without Django."""
    if serve_of_environment() == "gateway":
        from dashboard import gateway_asgi

        return gateway_asgi.application
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    from dashboard import asgi

    return asgi.application


def _tell_what_runs() -> None:
    running = state()
    level = logging.WARNING if running.has_misfit else logging.INFO
    logger.log(level, "the hot path is %s", running.describe())


def _listener(descriptor: int | None) -> socket.socket:
    if descriptor is not None:
        return socket.socket(fileno=descriptor)
    try:
        return listen(env_str("HOST", "127.0.0.1").strip("[]"), env_int("PORT", 8000, most=65535))
    except LaunchError as exc:
        raise SystemExit(f"panelboard: {exc}") from None
