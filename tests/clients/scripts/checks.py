"""What the clients' scripts share: each check prints one JSON line, and none stops the next.

Standard library alone, since every script runs in the environment of its client.
"""

from __future__ import annotations

import asyncio
import json
import os
import traceback
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

URL = os.environ["HUB_URL"]
KEY = os.environ["HUB_KEY"]
WRONG_KEY = "pb_live_" + "x" * 46
MODELS: dict[str, str] = json.loads(os.environ["HUB_MODELS"])  # by the dialect of its provider
EMBEDDING_MODEL = os.environ["HUB_EMBEDDING_MODEL"]
UNKNOWN_MODEL = "nobody/nothing"
HELLO = "Describe a panelboard in two sentences."
WEATHER_QUESTION = "What is the weather in Oslo?"
WEATHER = "4 C and rain"
CITY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Name of the city"}},
    "required": ["city"],
    "additionalProperties": False,
}
PANEL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "circuits": {"type": "integer"}},
    "required": ["name", "circuits"],
    "additionalProperties": False,
}

_checks: dict[str, Callable[[], None]] = {}
_loop = asyncio.new_event_loop()


def once(function: Callable[[], None]) -> Callable[[], None]:
    """A check that has nothing to do with the provider's dialect."""
    _checks[function.__name__] = function
    return function


def per_dialect(function: Callable[[str], None]) -> Callable[[str], None]:
    """A check with a model of each dialect."""
    for dialect, model in MODELS.items():
        _checks[f"{function.__name__} {dialect}"] = lambda model=model: function(model)
    return function


def raised(expected: type[Exception], call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The exception, which has to be of this class."""
    try:
        answer = call(*args, **kwargs)
    except expected as exc:
        return exc
    raise AssertionError(f"no {expected.__name__}, but {answer!r}")


def finished(task: Coroutine[Any, Any, Any]) -> Any:
    """All on one loop, since some clients keep their connections for later ones."""
    return _loop.run_until_complete(task)


def is_panel(value: Any) -> bool:
    return isinstance(value["name"], str) and isinstance(value["circuits"], int)


def run() -> None:
    warnings.simplefilter("ignore")
    for name, check in _checks.items():
        try:
            check()
            outcome: dict[str, Any] = {"check": name, "ok": True}
        except Exception:
            outcome = {"check": name, "ok": False, "why": traceback.format_exc()[-3000:]}
        print(json.dumps(outcome), flush=True)
    print(json.dumps({"checks": len(_checks)}), flush=True)
    os._exit(0)  # LiteLLM's threads at times crash the interpreter while it shuts down
