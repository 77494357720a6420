"""`manage.py ship_spool`: the recorder, one per host."""

from __future__ import annotations

import gc
import signal
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection
from typing_extensions import override

from analytics.recorder.shipper import Shipper, SpoolTaken, lock_folder
from analytics.recorder.store import Store

DRAIN_S = 5.0
RETRY_LOCK_S = 1.0


class Command(BaseCommand):
    help = "Ships the spool into Postgres and settles what crashed processes left open."
    requires_system_checks: list[str] = []

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="ship what is there now, then stop")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        folder = Path(settings.PANELBOARD_SPOOL_DIR)
        if not self._wait_for_lock(folder, stop):
            return
        _collect_garbage_rarely()
        shipper = Shipper(folder, Store(connection.get_connection_params()))
        try:
            self._run(shipper, stop, once=options["once"])
        finally:
            shipper.close()

    def _run(self, shipper: Shipper, stop: threading.Event, *, once: bool) -> None:
        while not once and not stop.is_set():
            wait_s = shipper.step()
            if wait_s:
                stop.wait(wait_s)
        if not shipper.drain(DRAIN_S):
            self.stderr.write("Postgres did not take all records; they wait in the spool")

    def _wait_for_lock(self, folder: Path, stop: threading.Event) -> bool:
        told = False
        while not stop.is_set():
            try:
                self._lock = lock_folder(folder)
            except SpoolTaken:
                if not told:
                    self.stderr.write(f"another recorder ships {folder}: waiting for it to end")
                    told = True
                time.sleep(RETRY_LOCK_S)
            else:
                return True
        return False


def _collect_garbage_rarely() -> None:
    """Records form no cycles: looking for some costs a sixth of the time of each row."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
