"""What Django's and psycopg's cursors have in common, for SQL that runs on either."""

from __future__ import annotations

from typing import Any, Protocol


class Cursor(Protocol):
    def execute(self, query: Any, params: Any = None, /) -> Any: ...

    def fetchall(self) -> list[tuple[Any, ...]]: ...
