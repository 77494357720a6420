"""DATABASE_URL in the words of psycopg. Django's settings are made from the same."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

from dashboard.env import BadSetting

SCHEMES = frozenset({"postgresql", "postgres"})
CONNECT_TIMEOUT_S = 3
OPTIONS = "-c statement_timeout=10000 -c lock_timeout=5000"


def connection_parameters(url: str) -> dict[str, str | int]:
    """Keywords of `psycopg.connect`. What the URL says in its query goes before what we say."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        raise BadSetting("DATABASE_URL", "has a port that is no number up to 65535") from None
    found: dict[str, str | int | None] = {
        "dbname": unquote(parts.path.lstrip("/")),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "host": parts.hostname,
        "port": port,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "options": OPTIONS,
        **dict(parse_qsl(parts.query)),
    }
    return {name: value for name, value in found.items() if value}


def checked(url: str) -> str:
    """Raises BadSetting where it is no Postgres. The scheme alone: the rest may hold a password."""
    if urlsplit(url).scheme not in SCHEMES:
        raise BadSetting("DATABASE_URL", "must begin with postgresql://")
    return url
