"""`manage.py ship_spool`: the recorder, one per host. `./panelboard recorder` is the lighter way."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection
from typing_extensions import override

from analytics.recorder import running


class Command(BaseCommand):
    help = "Ships the spool into Postgres and settles what crashed processes left open."
    requires_system_checks: list[str] = []

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="ship what is there now, then stop")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        folder = Path(settings.PANELBOARD_SPOOL_DIR)
        running.run(folder, connection.get_connection_params(), once=options["once"])
