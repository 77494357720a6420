"""The life of the recorder, one per host: waits for its lock, ships, and ends in good order.

Without Django, which would be most of the memory of a process that only moves rows.
"""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analytics.recorder.shipper import Shipper, SpoolTaken, lock_folder
from analytics.recorder.store import Store

logger = logging.getLogger(__name__)

DRAIN_S = 5.0
RETRY_LOCK_S = 1.0


def run(folder: Path, connection_parameters: Mapping[str, Any], *, once: bool = False) -> None:
    """Returns after SIGTERM or SIGINT, or with `once` when all that is there has been shipped."""
    stop = _stop_at_signals()
    lock = _wait_for_lock(folder, stop)
    if lock is None:
        return
    _collect_garbage_rarely()
    shipper = Shipper(folder, Store(connection_parameters))
    try:
        _ship(shipper, stop, once=once)
    finally:
        shipper.close()


def _stop_at_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _wait_for_lock(folder: Path, stop: threading.Event) -> int | None:
    """The descriptor that holds the lock; None when we are told to stop first."""
    told = False
    while not stop.is_set():
        try:
            return lock_folder(folder)
        except SpoolTaken:
            if not told:
                logger.warning("another recorder ships %s: waiting for it to end", folder)
                told = True
            stop.wait(RETRY_LOCK_S)
    return None


def _ship(shipper: Shipper, stop: threading.Event, *, once: bool) -> None:
    while not once and not stop.is_set():
        wait_s = shipper.step()
        if wait_s:
            stop.wait(wait_s)
    if not shipper.drain(DRAIN_S):
        logger.warning("Postgres did not take all records; they wait in the spool")


def _collect_garbage_rarely() -> None:
    """Records form no cycles: looking for some costs a sixth of the time of each row."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
