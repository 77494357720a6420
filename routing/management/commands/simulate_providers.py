from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from typing_extensions import override

from routing.simulator.server import SimulatorServer, serve
from routing.simulator.service import Options
from routing.simulator.world import CATALOG_DIR, BadCatalog, read_documents


class Command(BaseCommand):
    help = "Play the catalog's providers on one port, each in its own dialect, without any key."
    requires_system_checks: list[str] = []  # needs neither a database nor settings

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=9470, help="0 takes a free one")
        parser.add_argument(
            "--speed", type=float, default=1.0, help="20 is twenty times faster, 0 is instant"
        )
        parser.add_argument("--seed", type=int, default=1, help="same seed, same timings")
        parser.add_argument("--journal", type=Path, help="append what was asked and billed here")
        parser.add_argument(
            "--catalog", type=Path, default=CATALOG_DIR, help="a catalog file or folder"
        )
        parser.add_argument(
            "--keep-requests",
            action="store_true",
            help="keep the last request bodies in memory for GET /_control/requests",
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        _log_to_stdout()
        wanted = Options(
            speed=options["speed"],
            seed=options["seed"],
            journal=options["journal"],
            keep_requests=options["keep_requests"],
        )
        try:
            server = SimulatorServer(read_documents(options["catalog"]), wanted)
            serve(server, options["host"], options["port"], lambda: self._announce(server))
        except BadCatalog as exc:
            raise CommandError(str(exc)) from None
        except OSError as exc:
            where = f"{options['host']}:{options['port']}"
            raise CommandError(
                f"cannot listen on {where}: {exc.strerror}; choose another with --port"
            ) from None

    def _announce(self, server: SimulatorServer) -> None:
        endpoints = sum(len(provider.endpoints) for provider in server.world.values())
        self.stdout.write(
            f"playing {len(server.world)} providers with {endpoints} endpoints"
            f" at {server.root_url()} (speed {server.options.speed:g}, seed {server.options.seed})"
        )
        self.stdout.flush()


def _log_to_stdout() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("panelboard.simulator")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
