"""Runs a Postgres server of our own as a direct child.

No daemonising: the server is a child that we wait for, so a killed one is reaped and restarted,
and it shuts down cleanly when we are killed ourselves.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from dashboard.launch import binaries as pg_binaries
from dashboard.launch.accounts import Account, account_to_drop_to
from dashboard.launch.errors import LaunchError
from dashboard.launch.processes import dies_with_us

SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "synchronous_commit": "on",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
FAST_AND_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

INITDB_OPTIONS = (
    *("--username=panelboard", "--encoding=UTF8", "--no-instructions"),
    *("--auth-local=trust", "--auth-host=reject"),  # the socket lies in a folder of ours alone
)

START_TIMEOUT_S = 60.0  # crash recovery on a busy machine takes a while
STOP_TIMEOUT_S = 30.0
OLD_MEMORY_S = 15.0
LONGEST_SOCKET_FOLDER = 80  # a socket's path holds 104 bytes
SHARED_ROOT = Path("/var/lib/panelboard")  # where another account can reach, used as root only
PORT = 5432  # names the socket file; nothing listens on TCP


class AlreadyRunning(LaunchError):
    """Another process uses this folder."""


class EmbeddedPostgres:
    """One cluster in `state`. `start()` before `url` is of use; `stop()` on every path."""

    def __init__(
        self,
        state: Path,
        *,
        settings: Mapping[str, str] | None = None,
        log: IO[bytes] | None = None,
    ) -> None:
        self.state = state.absolute()
        self.settings = {**SETTINGS, **(settings or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self._log = log
        self._account: Account | None = None
        self._binaries = pg_binaries.find()
        self._lock: IO[str] | None = None
        self._cluster = self.state / "cluster"
        self._socket_folder = self.state / "run"

    @property
    def url(self) -> str:
        folder = quote(str(self._socket_folder), safe="")
        return f"postgresql://panelboard@/panelboard?host={folder}"

    @property
    def source(self) -> str:
        return self._binaries.source

    def start(self) -> subprocess.Popen[bytes]:
        """Lock the folder, make the cluster if there is none, and wait until the server answers.

        Called again after the server ended, it starts the server anew in the locked folder.
        """
        if self._lock is not None:
            return self.launch()
        self._take_lock()
        try:
            self._account = account_to_drop_to()
            self._settle_folders()
            self._make_cluster()
            return self.launch()
        except BaseException:
            self.stop()
            raise

    def launch(self) -> subprocess.Popen[bytes]:
        deadline = time.monotonic() + OLD_MEMORY_S
        while True:
            self._stop_orphan()
            self._remove_lock_files()
            self.process = self._start_server()
            if self._becomes_ready(self.process):
                self._make_database()
                (self.state / "url").write_text(f"{self.url}\n")
                return self.process
            # Sessions of a killed server hold its shared memory until they notice, and the new
            # server refuses to start beside them.
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"the embedded Postgres ended at once with {self.process.returncode}: "
                    "see logs/postgres.log in the data folder"
                )
            time.sleep(0.2)

    def _remove_lock_files(self) -> None:
        """We hold the folder's lock and no server runs: they name a dead process, or a zombie."""
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        (self._socket_folder / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)

    def _start_server(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._arguments(),
            stdin=subprocess.DEVNULL,
            stdout=self._log or subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C reaches us, and we stop it in its turn
            preexec_fn=dies_with_us(signal.SIGINT),  # noqa: PLW1509 - two system calls, no locks
            **self._as_account(),
        )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()
        self.process = None
        self.release()

    def release(self) -> None:
        """Give up the lock of a server that has ended."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # --- folders ------------------------------------------------------------------------------

    def _take_lock(self) -> None:
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            self._lock = (self.state / "lock").open("a+")
        except OSError as exc:
            raise LaunchError(f"cannot write to {self.state}: {exc.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.release()
            raise AlreadyRunning(
                f"a hub is already running with the data folder {self.state.parent}: stop it, "
                "or choose another folder with PANELBOARD_DATA"
            ) from None

    def _settle_folders(self) -> None:
        account = self._account
        if account is not None:
            # Folders of others are never opened up: what the account cannot reach lies elsewhere.
            if not account.can_enter(self.state):
                self._cluster = self._shared_cluster()
            if not account.can_enter(self._binaries.folder):
                copies = SHARED_ROOT / "postgres"
                copies.mkdir(parents=True, exist_ok=True)
                self._binaries = pg_binaries.copy_for_another_user(self._binaries, copies)
        if account is not None or len(str(self._socket_folder)) > LONGEST_SOCKET_FOLDER:
            digest = hashlib.sha256(str(self._cluster).encode()).hexdigest()[:10]
            name = f"panelboard-{os.geteuid()}-{digest}"
            self._socket_folder = Path(tempfile.gettempdir()) / name
        self._make_socket_folder()

    def _shared_cluster(self) -> Path:
        """Named by a note in our folder, so that a new data folder never meets an old cluster."""
        note = self.state / "cluster.location"
        if not note.exists():
            place = SHARED_ROOT / secrets.token_hex(6) / "cluster"
            place.parent.mkdir(parents=True)
            note.write_text(f"{place}\n")
        place = Path(note.read_text().strip())
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _make_socket_folder(self) -> None:
        folder = self._socket_folder
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        owners = {os.geteuid()} | ({self._account.uid} if self._account else set())
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners:
            raise LaunchError(f"{folder} belongs to someone else: remove it, or set TMPDIR")
        folder.chmod(0o700)
        if self._account is not None:
            os.chown(folder, self._account.uid, self._account.gid)

    # --- cluster ------------------------------------------------------------------------------

    def _make_cluster(self) -> None:
        wanted = self._binaries.major()
        version_file = self._cluster / "PG_VERSION"
        if version_file.exists():
            self._refuse_other_version(int(version_file.read_text()), wanted)
            return
        # Into a fresh folder, renamed when complete: a killed initdb leaves a PG_VERSION behind.
        for left_over in self._cluster.parent.glob(f"{self._cluster.name}.new-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        fresh = Path(
            tempfile.mkdtemp(prefix=f"{self._cluster.name}.new-", dir=self._cluster.parent)
        )
        if self._account is not None:
            os.chown(fresh, self._account.uid, self._account.gid)
        self._initdb(fresh, wanted)
        fresh.rename(self._cluster)

    def _refuse_other_version(self, found: int, wanted: int) -> None:
        if found != wanted:
            raise LaunchError(
                f"{self._cluster} was made by Postgres {found}, the installed server is {wanted}: "
                f"dump it with Postgres {found} and restore it into a new data folder"
            )

    def _initdb(self, folder: Path, major: int) -> None:
        # Plain C folds the case of ASCII only, which would break searches; this one knows Unicode.
        builtin = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        locale = builtin if major >= 17 else ["--locale=C.UTF-8"]
        done = subprocess.run(
            [self._binaries["initdb"], "-D", str(folder), *INITDB_OPTIONS, *locale],
            capture_output=True,
            text=True,
            check=False,
            **self._as_account(),
        )
        if done.returncode:
            raise LaunchError(f"cannot make a Postgres cluster: {done.stderr.strip()}")

    def _make_database(self) -> None:
        if not self._sql("select 1 from pg_database where datname = 'panelboard'"):
            self._sql("create database panelboard")

    def _sql(self, statement: str) -> str:
        address = ["-h", str(self._socket_folder), "-p", str(PORT), "-U", "panelboard"]
        done = subprocess.run(
            [self._binaries["psql"], "-XqAt", *address, "-d", "postgres", "-c", statement],
            capture_output=True,
            text=True,
            check=False,
            env=_clean_environment(),
        )
        if done.returncode:
            raise LaunchError(f"the embedded Postgres refused a statement: {done.stderr.strip()}")
        return done.stdout.strip()

    # --- server -------------------------------------------------------------------------------

    def _arguments(self) -> list[str]:
        arguments = [self._binaries["postgres"], "-D", str(self._cluster)]
        arguments += ["-k", str(self._socket_folder), "-p", str(PORT)]
        fixed = {"listen_addresses": "", "unix_socket_permissions": "0700"}
        for name, value in {**self.settings, **fixed}.items():
            arguments += ["-c", f"{name}={value}"]
        return arguments

    def _as_account(self) -> dict[str, Any]:
        extra: dict[str, Any] = {"cwd": "/", "env": _clean_environment()}
        if self._account is not None:
            extra |= {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}
        return extra

    def _becomes_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """False when it ended instead."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            if self._says_ready(process.pid):
                return True
            time.sleep(0.02)
        raise LaunchError(f"the embedded Postgres was not ready within {START_TIMEOUT_S:.0f} s")

    def _says_ready(self, pid: int) -> bool:
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
            return int(lines[0]) == pid and lines[7].strip() == "ready"
        except (OSError, ValueError, IndexError):
            return False

    def _stop_orphan(self) -> None:
        """We hold the lock, so a server that still runs here lost its parent: end it first."""
        pid = self._live_server()
        if pid is None:
            return
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._live_server() is not None:
            if time.monotonic() > deadline:
                raise LaunchError(f"an old Postgres (process {pid}) does not stop: end it by hand")
            time.sleep(0.05)

    def _live_server(self) -> int | None:
        """The process of the pid file, if it is a living Postgres on this very cluster."""
        try:
            pid = int((self._cluster / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None
        if Path("/proc/self").exists():
            return pid if _is_postgres_on(pid, self._cluster) else None
        running = subprocess.run(
            [self._binaries["pg_ctl"], "status", "-D", str(self._cluster)],
            capture_output=True,
            check=False,
        )
        return pid if running.returncode == 0 else None


def _is_postgres_on(pid: int, cluster: Path) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return state != "Z" and command[0].endswith(b"postgres") and os.fsencode(cluster) in command


def _clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC", "HOME": "/tmp"}  # noqa: S108 - only to have one
