"""What the environment says about the start."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from dashboard.env import env_int, env_secret, env_str

ROOT = Path(__file__).resolve().parent.parent.parent
SIMULATOR_PORT_ABOVE = 1470  # 8000 -> 9470


@dataclass(frozen=True, slots=True)
class LaunchConfig:
    host: str
    port: int  # 0 lets the system choose
    data: Path
    web_processes: int
    drain_s: int
    database_url: str  # empty: the embedded Postgres
    simulator_port: int  # 0: beside the hub's own port
    simulator_speed: str
    environment: dict[str, str] = field(repr=False)

    @classmethod
    def from_environment(cls) -> LaunchConfig:
        """Raises SystemExit with one line on a wrong value."""
        return cls(
            host=env_str("HOST", "127.0.0.1").strip("[]"),
            port=env_int("PORT", 8000, most=65535),
            data=Path(env_str("PANELBOARD_DATA", str(ROOT / ".panelboard"))).absolute(),
            web_processes=env_int("PANELBOARD_WEB_WORKERS", 1, least=1, most=64),
            drain_s=env_int("PANELBOARD_DRAIN_S", 20, least=1, most=3600),
            database_url=env_secret("DATABASE_URL"),
            simulator_port=env_int("SIMULATOR_PORT", 0, most=65535),
            simulator_speed=env_str("SIMULATOR_SPEED", "1"),
            environment=dict(os.environ),
        )
