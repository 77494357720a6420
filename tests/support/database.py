"""The tests' own database, for processes that are started beside the tests."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from django.db import connection


def database_url() -> str:
    database = connection.settings_dict
    who = ":".join(
        quote(database[name], safe="") for name in ("USER", "PASSWORD") if database[name]
    )
    query = urlencode({name.lower(): database[name] for name in ("HOST", "PORT") if database[name]})
    return f"postgresql://{who}{'@' if who else ''}/{database['NAME']}?{query}"
