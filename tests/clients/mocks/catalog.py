"""A catalog whose providers are those mocks. Every case gets a model of its own, so that what the
hub has learnt from one fault decides nothing about the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.running_hub import ROOT

DIALECTS = ("openai_compat", "anthropic", "gemini")
# How the dialect is spoken, as the shipped catalog says of the provider that made it.
MAKERS = {"openai_compat": "openai", "anthropic": "anthropic", "gemini": "gemini"}
_LLMOCK = {"openai_compat": "/v1", "anthropic": "/anthropic", "gemini": "/gemini/v1beta"}
PATHS = {
    "llmock": _LLMOCK,
    "locked": _LLMOCK,  # the same, under a key of its own
    "narrow": _LLMOCK,  # a second one, with quotas
    "aimock": {"openai_compat": "/v1", "anthropic": "", "gemini": "/v1beta"},
}
CAPABILITIES = ["tools", "tool_choice_required", "parallel_tools", "json_mode"]
BOTH, SHARING = "both", ("llmock", "aimock")
MODELS_EACH = 40
SINCE = "2026-01-01T00:00:00Z"


def slug(mock: str, dialect: str) -> str:
    return f"{mock}-{dialect.replace('_', '-')}"


def model(hosts: str, dialect: str, number: int) -> str:
    """`hosts` is a mock, or `both`: aimock and llmock."""
    return f"mock/{hosts}-{dialect}-{number}".replace("_", "-")


def document(urls: dict[str, str], key_file: Path) -> dict[str, Any]:
    offered = [(mock, dialect) for mock in urls for dialect in DIALECTS]
    return {
        "format": "panelboard-catalog/1",
        "checked_on": "2026-11-23",
        "source": "mocks",
        "providers": [_provider(mock, dialect, urls[mock]) for mock, dialect in offered],
        "models": [
            {"name": model(hosts, dialect, number), "title": "Mock", "maker": "mock"}
            for hosts in (*urls, BOTH)
            for dialect in DIALECTS
            for number in range(MODELS_EACH)
        ],
        "endpoints": [
            _endpoint(mock, dialect, model(hosts, dialect, number))
            for mock, dialect in offered
            for hosts in ((mock, BOTH) if mock in SHARING else (mock,))
            for number in range(MODELS_EACH)
        ],
        "credentials": [
            {"provider": slug(mock, dialect), "name": "main", "file": str(key_file)}
            for mock, dialect in offered
        ],
    }


def _provider(mock: str, dialect: str, url: str) -> dict[str, Any]:
    return {
        "slug": slug(mock, dialect),
        "name": f"{mock} as {dialect}",
        "dialect": dialect,
        "base_url": url + PATHS[mock][dialect],
        "quirks": _quirks()[MAKERS[dialect]],
        "lifecycle": "active",
        "source": "mocks",
        "checked_on": "2026-11-23",
    }


def _quirks() -> dict[str, Any]:
    shipped = ROOT / "routing" / "catalog" / "data" / "providers.json"
    rows = json.loads(shipped.read_text())["providers"]
    return {row["slug"]: row.get("quirks", {}) for row in rows}


def _endpoint(mock: str, dialect: str, name: str) -> dict[str, Any]:
    return {
        "provider": slug(mock, dialect),
        "model": name,
        "upstream_model": name.removeprefix("mock/"),
        "context_window": 100_000,
        "capabilities": CAPABILITIES,
        "source": "mocks",
        "checked_on": "2026-11-23",
        "prices": [
            {"meter": meter, "usd": "1", "effective_from": SINCE, "source": "mocks"}
            for meter in ("input", "output")
        ],
    }
