"""What the process that runs a gateway decides about it."""

from __future__ import annotations

from typing import Literal

import msgspec

from routing.core.deadlines import DEFAULT_DEADLINES, Deadlines


class GatewaySettings(msgspec.Struct, frozen=True):
    pepper: bytes
    max_body_bytes: int = 20 * 2**20
    max_running: int = 2000
    durability: Literal["process", "host"] = "process"
    deadlines: Deadlines = DEFAULT_DEADLINES
    tick_s: float = 0.25
