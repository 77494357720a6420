"""What can be known to fail before anything is started, each with one clear line."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import IO

from dashboard.launch.errors import LaunchError

BACKLOG = 4096
AFTER_A_CRASH_S = 5.0  # processes of a killed hub let go of its port within moments


def claim_data_folder(folder: Path) -> IO[str]:
    """Make the folder and lock it. The lock is held until the returned file is closed."""
    try:
        # As root, Postgres runs as another account and must be able to pass through.
        folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        for name in ("logs", "spool"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        lock = (folder / "hub.lock").open("a+")
    except OSError as exc:
        raise LaunchError(
            f"cannot write to the data folder {folder}: {_reason(exc)}; "
            "set PANELBOARD_DATA to a folder of your own"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise LaunchError(
            f"a hub is already running with the data folder {folder}: stop it, "
            "or set PANELBOARD_DATA to another folder for a second one"
        ) from None
    return lock


def was_killed(lock: IO[str]) -> bool:
    """Whether the hub before us ended without the chance to say so."""
    lock.seek(0)
    return bool(lock.read())


def note_running(lock: IO[str]) -> None:
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def note_stopped(lock: IO[str]) -> None:
    lock.truncate(0)
    lock.flush()


def listen(host: str, port: int, patience_s: float = 0.0) -> socket.socket:
    """The web processes' listening socket, held here so that a restart of theirs refuses nobody."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return _bound(host, port)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise LaunchError(
                    f"cannot listen on {host}:{port}: {_reason(exc)}; {_advice(exc)}"
                ) from None
        time.sleep(0.2)


def port_beside(port: int, distance: int) -> int:
    """A free port at this distance, else any free one."""
    wanted = port + distance
    for candidate in (wanted if wanted <= 65535 else 0, 0):
        try:
            with _bound("127.0.0.1", candidate) as found:
                return int(found.getsockname()[1])
        except OSError:
            continue
    raise LaunchError("no free port for the provider simulator: set SIMULATOR_PORT")


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _reason(exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return "the port is taken"
    return (exc.strerror or str(exc)).lower()


def _advice(exc: OSError) -> str:
    if isinstance(exc, socket.gaierror) or exc.errno == errno.EADDRNOTAVAIL:
        return "set HOST to an address of this machine, 127.0.0.1 or 0.0.0.0"
    return "set PORT to another one, for example PORT=8080"
