"""Postgres refuses to run as root: which account to drop to, and whether it can reach a folder."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from dashboard.launch.errors import LaunchError

FALLBACK_NAMES = ("postgres", "nobody")  # initdb wants an account that has a name


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int

    def can_enter(self, folder: Path) -> bool:
        return all(self._may_pass(path.stat()) for path in (folder, *folder.parents))

    def _may_pass(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def account_to_drop_to() -> Account | None:
    """None when we are not root and may run Postgres as we are."""
    if os.geteuid() != 0:
        return None
    found = _invoking_account() or _named_account()
    if found is None:
        raise LaunchError(
            "running as root, and there is no account postgres or nobody to run Postgres as: "
            "start as an ordinary user, or set DATABASE_URL"
        )
    return found


def _invoking_account() -> Account | None:
    try:
        entry = pwd.getpwuid(int(os.environ.get("SUDO_UID", "0")))
    except (KeyError, ValueError):
        return None
    return Account(entry.pw_uid, entry.pw_gid) if entry.pw_uid else None


def _named_account() -> Account | None:
    for name in FALLBACK_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    return None
