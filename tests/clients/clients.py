"""Which clients are run against the hub, where each is installed, and what it has to show."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.clients.environments import HERE, OWN, node_folder, python_of

SCRIPT_TIMEOUT_S = 300
CHAT = frozenset({"chat", "streaming", "tools", "structured_output"})
ERRORS = frozenset({"wrong_key", "unknown_model", "bad_request"})
EMBEDDINGS = frozenset({"embeddings"})
# Whatever a client asks for besides the hub ends at a closed port; some fetch news of their own.
NOWHERE = "http://127.0.0.1:9"
QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HTTPS_PROXY": NOWHERE,
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NO_PROXY": "127.0.0.1,localhost",
}


@dataclass(frozen=True)
class Client:
    environment: str  # a lock in locks/, "node", or the tests' own
    script: str
    shows: frozenset[str]  # besides these, each script has checks of its client's own ways


CLIENTS = {
    "openai": Client(OWN, "openai_client.py", CHAT | EMBEDDINGS | ERRORS),
    "openai-1": Client("openai-1", "openai_client.py", CHAT | EMBEDDINGS | ERRORS),
    "anthropic": Client(OWN, "anthropic_client.py", CHAT | ERRORS),
    # Its embeddings go to the address of another server, not to an OpenAI-compatible one.
    "huggingface_hub": Client(OWN, "hugging_face_client.py", CHAT | ERRORS),
    "langchain-openai": Client(
        "frameworks", "langchain_openai_client.py", CHAT | EMBEDDINGS | ERRORS
    ),
    "langchain-anthropic": Client("frameworks", "langchain_anthropic_client.py", CHAT | ERRORS),
    "pydantic-ai": Client("frameworks", "pydantic_ai_client.py", CHAT | EMBEDDINGS | ERRORS),
    # Made for structured output alone.
    "instructor": Client(
        "instructor", "instructor_client.py", ERRORS | {"streaming", "structured_output"}
    ),
    "litellm": Client("litellm", "litellm_client.py", CHAT | EMBEDDINGS | ERRORS),
    # The command streams unless told otherwise; embeddings come to it by plugins only.
    "llm": Client("frameworks", "llm_command.py", CHAT | ERRORS),
    "npm openai": Client("node", "openai_client.mjs", CHAT | EMBEDDINGS | ERRORS),
    "npm ai": Client("node", "ai_client.mjs", CHAT | EMBEDDINGS | ERRORS),
    "npm anthropic": Client("node", "anthropic_client.mjs", CHAT | ERRORS),
}


@dataclass(frozen=True)
class Outcome:
    passed: frozenset[str]
    failed: Mapping[str, str]  # why, by check
    broke: str  # "" when the script came to its end, else what it said last

    def shows(self) -> frozenset[str]:
        """The checks that passed, whatever the dialect."""
        return frozenset(name.partition(" ")[0] for name in self.passed)


def run_client(client: Client, hub: Mapping[str, str]) -> Outcome:
    """Installs the client if need be. Raises NotInstallable."""
    with tempfile.TemporaryDirectory(prefix="panelboard-client-") as home:
        done = subprocess.run(
            _command(client),
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": home, **QUIET, **hub},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SCRIPT_TIMEOUT_S,
            check=False,
        )
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    came_to_its_end = bool(rows) and rows[-1] == {"checks": len(rows) - 1}
    checks = [row for row in rows if "check" in row]
    return Outcome(
        passed=frozenset(row["check"] for row in checks if row["ok"]),
        failed={row["check"]: row["why"] for row in checks if not row["ok"]},
        broke="" if came_to_its_end else f"exit code {done.returncode}: {done.stderr[-2000:]}",
    )


def _command(client: Client) -> list[str]:
    if client.environment != "node":
        return [str(python_of(client.environment)), str(HERE / "scripts" / client.script)]
    folder = node_folder()
    # A script finds its packages by its own place in the tree.
    return ["node", str(_copied_beside_packages(folder) / client.script)]


def _copied_beside_packages(folder: Path) -> Path:
    for script in (HERE / "node").glob("*.mjs"):
        shutil.copy(script, folder)
    return folder
