"""What the start says at its end: everything for the first request, ready to be copied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def curl(url: str, api_key: str, model: str) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Say hello."}]})
    return (
        f"curl {url}/v1/chat/completions \\\n"
        f"  -H 'Authorization: Bearer {api_key}' \\\n"
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d '{body}'"
    )


def ready(first_run: Mapping[str, Any], took_s: float) -> str:
    """READY at the beginning of a line tells programs that wait for the start."""
    url = first_run["url"]
    lines = [
        "",
        f"READY {url} after {took_s:.1f} s (Ctrl-C stops everything)",
        "",
        f"  Pages      {url}/",
        f"  Log in as  {first_run['admin_username']}  password  {first_run['admin_password']}",
        f"  API        {url}/v1         key    {first_run['api_key']}",
        f"  REST       {url}/api/v1/    token  {first_run['rest_token']}",
        f"  Providers  {_providers(first_run)}",
        f"  Kept in    {first_run['path']}",
        "",
        "  The first request:",
        "",
        *(f"  {line}" for line in str(first_run["curl"]).splitlines()),
        "",
    ]
    return "\n".join(lines)


def _providers(first_run: Mapping[str, Any]) -> str:
    real = ", ".join(first_run["real_providers"])
    if not first_run["simulator_url"]:
        return f"with your keys: {real}" if real else "none has a key yet: store one in the admin"
    simulated = "answered by the simulator; set a key such as TOGETHER_API_KEY to use the real one"
    return f"with your keys: {real}; the others {simulated}" if real else simulated
