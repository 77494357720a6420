"""Builds the C programs and installs the peers, each in a folder of its own under `.bench/`.

A peer that cannot be installed is named as missing with the reason; its row stays empty.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from bench.paths import HERE, LOAD, LOGS, ROOT, UPSTREAM, WORK, BenchError
from bench.processes import need_program

LITELLM = "litellm[proxy]>=1.106"
LITELLM_FOLDER = WORK / "litellm"
PORTKEY_FOLDER = WORK / "portkey"
# Portkey answers 500 with later releases of these two.
PORTKEY_PACKAGE = {
    "name": "bench-portkey",
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    "overrides": {"hono": "4.9.7", "@hono/node-server": "1.13.8"},
}
INSTALL_TIMEOUT_S = 1800


def build_programs() -> None:
    WORK.mkdir(exist_ok=True)
    compiler = need_program("cc")
    for source, program in ((HERE / "upstream.c", UPSTREAM), (HERE / "load.c", LOAD)):
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            flags = ("-O2", "-Wall", "-Wextra", "-std=gnu11")
            subprocess.run([compiler, *flags, "-o", str(program), str(source)], check=True)


def litellm_program() -> Path:
    """Installs it on the first call. Raises BenchError with the reason if that is not possible."""
    program = LITELLM_FOLDER / "bin" / "litellm"
    if not program.exists():
        print("installing litellm ...", flush=True)
        _install("litellm", [sys.executable, "-m", "venv", "--clear", str(LITELLM_FOLDER)])
        pip = [str(LITELLM_FOLDER / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _install("litellm", [*pip, LITELLM])
    return program


def portkey_command() -> list[str]:
    """As for litellm_program."""
    node, npm = need_program("node"), need_program("npm")
    start = PORTKEY_FOLDER / "node_modules/@portkey-ai/gateway/build/start-server.js"
    if not start.exists():
        PORTKEY_FOLDER.mkdir(parents=True, exist_ok=True)
        (PORTKEY_FOLDER / "package.json").write_text(json.dumps(PORTKEY_PACKAGE, indent=2))
        print("installing portkey ...", flush=True)
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        _install("portkey", [npm, "install", *quiet], folder=PORTKEY_FOLDER)
    return [node, str(start)]


def _install(name: str, command: Sequence[str], folder: Path | None = None) -> None:
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"install-{name}.log"
    with log.open("ab") as output:
        status = subprocess.run(
            command,
            cwd=folder,
            stdout=output,
            stderr=output,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        ).returncode
    if status:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise BenchError(f"could not be installed: {lines[-1] if lines else 'no message'}")


# --- versions, for the head of the report ----------------------------------------------------------


def versions(servers: Collection[str]) -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    if "nginx" in servers:
        found["nginx"] = _said("nginx", "-v").rpartition("/")[2]
    if "litellm" in servers:
        found["litellm"] = _litellm_version()
    if "portkey" in servers:
        found["portkey"] = _portkey_version()
        found["node"] = _said("node", "--version").removeprefix("v")
    if "panelboard" in servers:
        found["panelboard"] = _said("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    return {name: version for name, version in found.items() if version}


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else ""


def _litellm_version() -> str:
    python = LITELLM_FOLDER / "bin" / "python"
    code = "import importlib.metadata as m; print(m.version('litellm'))"
    return _said(str(python), "-c", code) if python.exists() else ""


def _portkey_version() -> str:
    package = PORTKEY_FOLDER / "node_modules/@portkey-ai/gateway/package.json"
    return str(json.loads(package.read_text())["version"]) if package.exists() else ""


def machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    kernel = os.uname().release
    return f"{model}, {os.cpu_count()} cores, {memory_kib / 2**20:.0f} GiB, Linux {kernel}"
