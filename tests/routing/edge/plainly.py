"""The tests' database as processes without Django reach it, and what reads it for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from django.db import connections
from typing_extensions import override

from routing.services.credentials import keyring
from routing.snapshots import Database, SnapshotWatcher, read_snapshot

KEYWORDS = {
    "NAME": "dbname",
    "USER": "user",
    "PASSWORD": "password",
    "HOST": "host",
    "PORT": "port",
}


class LiveParameters(Mapping[str, Any]):
    """Looks at Django's settings anew each time, so that a proxy can step in between."""

    def _now(self) -> dict[str, Any]:
        settings = connections["default"].settings_dict
        named = {keyword: settings[name] for name, keyword in KEYWORDS.items() if settings[name]}
        options = {name: value for name, value in settings["OPTIONS"].items() if name != "pool"}
        return named | options

    @override
    def __getitem__(self, name: str) -> Any:
        return self._now()[name]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    @override
    def __len__(self) -> int:
        return len(self._now())


DATABASE = Database(LiveParameters())


def snapshot_watcher(**options: Any) -> SnapshotWatcher:
    return SnapshotWatcher(DATABASE, partial(read_snapshot, keyring=keyring()), **options)
