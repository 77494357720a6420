"""The `llm` command, with the hub's models in its `extra-openai-models.yaml`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from checks import (
    HELLO,
    KEY,
    MODELS,
    PANEL_SCHEMA,
    UNKNOWN_MODEL,
    URL,
    WEATHER_QUESTION,
    WRONG_KEY,
    is_panel,
    once,
    per_dialect,
    run,
)

TOOL = '''
def get_weather(city: str) -> str:
    """The weather in a city"""
    return "4 C and rain"
'''
folder = Path(tempfile.mkdtemp(prefix="llm-command-"))
can: dict[str, Any] = {"api_base": f"{URL}/v1", "supports_tools": True, "supports_schema": True}
entries = [
    {"model_id": f"hub-{number}", "model_name": model, "api_key_name": "hub", **can}
    for number, model in enumerate([*MODELS.values(), UNKNOWN_MODEL])
]
own_name = {str(entry["model_name"]): str(entry["model_id"]) for entry in entries}
# JSON is YAML.
(folder / "extra-openai-models.yaml").write_text(json.dumps(entries))


def said(model: str, *arguments: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "llm"), "-m", own_name[model], "--key", key]
    return subprocess.run(
        [*command, *arguments],
        env={**os.environ, "LLM_USER_PATH": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answer(model: str, *arguments: str) -> str:
    done = said(model, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@per_dialect
def chat(model: str) -> None:
    assert answer(model, "--no-stream", HELLO)


@per_dialect
def streaming(model: str) -> None:
    assert answer(model, HELLO) == answer(model, "--no-stream", HELLO)


@per_dialect
def tools(model: str) -> None:
    done = said(model, "--functions", TOOL, "--tools-debug", WEATHER_QUESTION)
    assert done.returncode == 0, done.stderr
    assert "get_weather" in done.stderr
    assert done.stdout.strip()


@per_dialect
def structured_output(model: str) -> None:
    assert is_panel(json.loads(answer(model, "--schema", json.dumps(PANEL_SCHEMA), HELLO)))


@once
def wrong_key() -> None:
    done = said("openai/gpt-oss-120b:groq", HELLO, key=WRONG_KEY)
    assert done.returncode != 0
    assert "401" in done.stderr


@once
def unknown_model() -> None:
    done = said(UNKNOWN_MODEL, HELLO)
    assert done.returncode != 0
    assert "does not exist on this hub" in done.stderr


@once
def bad_request() -> None:
    done = said("openai/gpt-oss-120b:groq", "-o", "max_tokens", "0", HELLO)
    assert done.returncode != 0
    assert "400" in done.stderr


if __name__ == "__main__":
    run()
