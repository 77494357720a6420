"""One web process: gateway and pages under uvicorn."""

from __future__ import annotations

import argparse
import os
import socket
from contextlib import suppress

import uvicorn

from dashboard.env import env_int, env_str
from dashboard.launch.errors import LaunchError
from dashboard.launch.preflight import BACKLOG, listen
from dashboard.launch.processes import allow_many_files

KEEP_ALIVE_S = 75


def serve(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="panelboard serve")
    parser.add_argument("--fd", type=int, help="a listening socket that was handed over")
    chosen = parser.parse_args(arguments)
    allow_many_files()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    from dashboard.asgi import application  # sets Django up, before anything that has models
    from dashboard.runtime import current_gateway
    from routing.gateway.hot_protocol import protocol_for

    config = uvicorn.Config(
        application,
        http=protocol_for(current_gateway),
        loop="uvloop",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,  # Django's logging settings hold for all
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=env_int("PANELBOARD_DRAIN_S", 20, least=1, most=3600),
        server_header=False,
        date_header=True,
        proxy_headers=False,
    )
    with suppress(KeyboardInterrupt):  # raised again by uvicorn after a clean stop
        uvicorn.Server(config).run(sockets=[_listener(chosen.fd)])


def _listener(descriptor: int | None) -> socket.socket:
    if descriptor is not None:
        return socket.socket(fileno=descriptor)
    try:
        return listen(env_str("HOST", "127.0.0.1").strip("[]"), env_int("PORT", 8000, most=65535))
    except LaunchError as exc:
        raise SystemExit(f"panelboard: {exc}") from None
