"""One recorder, without Django."""

from __future__ import annotations

import argparse
import logging.config

from analytics.recorder import running
from dashboard.hub_settings import HubSettings
from dashboard.logs import logging_of


def recorder(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="panelboard recorder",
        description="Ships the spool into Postgres and settles what crashed processes left open.",
    )
    parser.add_argument("--once", action="store_true", help="ship what is there now, then stop")
    chosen = parser.parse_args(arguments)
    hub = HubSettings.from_environment()
    logging.config.dictConfig(logging_of(hub.log_level))
    running.run(hub.spool_dir, hub.connection_parameters, once=chosen.once)
