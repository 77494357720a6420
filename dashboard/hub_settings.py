"""What every process of the hub has to know of the installation, read without Django.

Gateways and recorders of their own start from this alone, which spares them the memory of a whole
Django. `dashboard.settings` takes the same values from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

from dashboard import secrets_file
from dashboard.database_url import checked, connection_parameters
from dashboard.env import env_choice, env_int, env_list, env_secret, env_str
from dashboard.logs import LEVELS
from dashboard.secrets_file import Secrets

BASE_DIR = Path(__file__).resolve().parent.parent
MIB = 2**20

Serve = Literal["all", "gateway", "web"]
Durability = Literal["process", "host"]


@dataclass(frozen=True)
class HubSettings:
    data_dir: Path
    secrets: Secrets
    database_url: str = field(repr=False)  # may hold a password
    serve: Serve
    upstream: str
    durability: Durability
    private_upstreams: list[str]
    spool_dir: Path
    spool_max_bytes: int
    max_body_bytes: int
    max_file_bytes: int
    max_streams: int
    log_level: str

    @classmethod
    def from_environment(cls) -> HubSettings:
        """Raises SystemExit with one line on a wrong value. Makes the secrets on the first start."""
        data_dir = Path(env_str("PANELBOARD_DATA", str(BASE_DIR / ".panelboard"))).absolute()
        return cls(
            data_dir=data_dir,
            secrets=secrets_file.load_or_create(data_dir / "secrets.json"),
            database_url=_database_url(data_dir),
            serve=serve_of_environment(),
            upstream=env_choice("PANELBOARD_UPSTREAM", "fast", ("fast", "httpx")),
            durability=cast(
                Durability, env_choice("PANELBOARD_DURABILITY", "process", ("process", "host"))
            ),
            private_upstreams=env_list("PANELBOARD_PRIVATE_UPSTREAMS"),
            spool_dir=Path(env_str("PANELBOARD_SPOOL_DIR", str(data_dir / "spool"))),
            spool_max_bytes=env_int("PANELBOARD_SPOOL_MAX_MIB", 1024, least=32) * MIB,
            max_body_bytes=env_int("PANELBOARD_MAX_BODY_MIB", 20, least=1, most=512) * MIB,
            max_file_bytes=env_int("PANELBOARD_MAX_FILE_MIB", 200, least=1, most=4096) * MIB,
            max_streams=env_int("PANELBOARD_MAX_STREAMS", 2000, least=1),
            log_level=env_choice("PANELBOARD_LOG_LEVEL", "info", LEVELS),
        )

    @cached_property
    def connection_parameters(self) -> dict[str, str | int]:
        """Raises SystemExit where DATABASE_URL names no Postgres."""
        return connection_parameters(checked(self.database_url))


def serve_of_environment() -> Serve:
    return cast(Serve, env_choice("PANELBOARD_SERVE", "all", ("all", "gateway", "web")))


def _database_url(data_dir: Path) -> str:
    own = env_secret("DATABASE_URL") or _running_embedded_postgres(data_dir)
    return own or "postgresql:///panelboard"


def _running_embedded_postgres(data_dir: Path) -> str:
    """So that `manage.py` finds the hub's own database without being told."""
    note = data_dir / "pg" / "url"
    return note.read_text().strip() if note.exists() else ""
