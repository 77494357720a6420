"""How long each phase of a request may take, in seconds. Zero switches a limit off."""

from __future__ import annotations

import msgspec


class Deadlines(msgspec.Struct, frozen=True):
    connect_s: float = 5.0  # including TLS
    pool_s: float = 2.0  # waiting for a free connection
    write_s: float = 30.0
    first_content_s: float = 60.0  # also bounds how long the client's status is held back
    idle_s: float = 60.0  # no byte at all from upstream
    progress_s: float = 120.0  # bytes, but no content
    total_s: float = 600.0
    client_write_s: float = 30.0  # a client that does not read


DEFAULT_DEADLINES = Deadlines()
