"""Clients that are no dependency of ours, installed on demand where no other package can meet them.

Python clients get a virtual environment from a hashed lock, npm clients the folder that
`package-lock.json` describes. Both are kept under `.panelboard/clients` until their lock changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.running_hub import ROOT

HERE = Path(__file__).resolve().parent
LOCKS, NODE = HERE / "locks", HERE / "node"
INSTALLED = ROOT / ".panelboard" / "clients"
INSTALL_TIMEOUT_S = 900
OLDEST_NODE = 20
OWN = "own"  # the interpreter of the tests themselves


class NotInstallable(Exception):
    """Carries what the installer said last."""


def python_of(environment: str) -> Path:
    """The interpreter that has these clients. Installs them when their lock is new."""
    if environment == OWN:
        return Path(sys.executable)
    lock = LOCKS / f"{environment}.lock"
    folder = INSTALLED / environment
    with _installed_once(folder, lock.read_bytes() + sys.version.encode()) as is_new:
        if is_new:
            _make_virtual_environment(folder, lock)
    return folder / "bin" / "python"


def node_folder() -> Path:
    """A folder with `node_modules` in it. Scripts have to be run from a copy inside."""
    _need_node()
    folder = INSTALLED / "node"
    with _installed_once(folder, (NODE / "package-lock.json").read_bytes()) as is_new:
        if is_new:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(NODE / name, folder / name)
            _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    return folder


@contextmanager
def _installed_once(folder: Path, content: bytes) -> Iterator[bool]:
    """Says whether the folder, then empty, has to be filled; a second process waits for the first."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    stamp = folder / ".installed"
    wanted = hashlib.sha256(content + str(folder).encode()).hexdigest()
    with (INSTALLED / f"{folder.name}.busy").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            yield False
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield True
        stamp.write_text(wanted)


def _make_virtual_environment(folder: Path, lock: Path) -> None:
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    python = str(folder / "bin" / "python")
    safe = ("--require-hashes", "--only-binary=:all:", "--no-deps")
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check", "--no-warn-script-location")
    pip = [_pip_python(), "-m", "pip", "--python", python]
    _run([*pip, "install", *quiet, *safe, "-r", str(lock)])


def _pip_python() -> str:
    """An interpreter that has pip: ours may have been made without."""
    candidates = (sys.executable, getattr(sys, "_base_executable", sys.executable))
    for python in candidates:
        asked = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)
        if asked.returncode == 0:
            return python
    raise NotInstallable(f"neither of {candidates} has pip: install python3-pip or python3-venv")


def _need_node() -> None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise NotInstallable(f"node and npm are needed (Node.js {OLDEST_NODE} or later)")
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
        raise NotInstallable(f"Node.js {OLDEST_NODE} or later is needed, and this is {version}")


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise NotInstallable(f"{command[0]} took longer than {INSTALL_TIMEOUT_S} s") from exc
    if done.returncode:
        lines = done.stdout.strip().splitlines()
        raise NotInstallable("\n".join(lines[-5:]) or f"{command[0]} said nothing")
