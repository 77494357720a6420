"""Builds the C programs and installs the peers, each in a folder of its own under `.bench/`.

A peer that cannot be installed is named as missing with the reason; its row stays empty.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import timeit
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from bench.forms import FORMS, OURS
from bench.paths import HERE, LOAD, LOGS, ROOT, UPSTREAM, WORK, BenchError
from bench.processes import need_program

# The second is needed by Python 3.11.2 and before, whichever Python installs them.
LITELLM = ("litellm[proxy]>=1.106", "async-timeout")
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


SOURCES = {
    UPSTREAM: (HERE / "upstream.c", HERE / "answers.c"),
    LOAD: (HERE / "load.c",),
}
CC_FLAGS = ("-O2", "-Wall", "-Wextra", "-std=gnu11")


def build_programs() -> None:
    WORK.mkdir(exist_ok=True)
    compiler = need_program("cc")
    newest = max(path.stat().st_mtime for path in HERE.glob("*.[ch]"))
    for program, sources in SOURCES.items():
        if not program.exists() or program.stat().st_mtime < newest:
            compile_program(compiler, program, sources)


def compile_program(compiler: str, program: Path, sources: Sequence[Path]) -> None:
    command = [compiler, *CC_FLAGS, "-o", str(program), *map(str, sources)]
    subprocess.run(command, check=True)


def base_python() -> str:
    """The interpreter that also runs the hub here, without its virtualenv's packages."""
    return str(Path(sys.executable).resolve())


def litellm_packages() -> Path:
    """Where it is installed, for `base_python`, so that both run on the same build of Python.

    Installs it on the first call. Raises BenchError with the reason if that is not possible.
    """
    folder = "python{}.{}".format(*sys.version_info)
    packages = LITELLM_FOLDER / "lib" / folder / "site-packages"
    if all((packages / name).exists() for name in ("litellm/proxy", "async_timeout")):
        return packages
    print("installing litellm ...", flush=True)
    if not packages.exists():
        _install("litellm", [sys.executable, "-m", "venv", "--clear", str(LITELLM_FOLDER)])
    pip = [str(LITELLM_FOLDER / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    _install("litellm", [*pip, *LITELLM])
    return packages


def portkey_command() -> list[str]:
    """As for litellm_packages."""
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
    found = {"python": python_build(sys.version, sysconfig.get_config_vars(), _has_libpython())}
    if "nginx" in servers:
        found["nginx"] = _said("nginx", "-v").rpartition("/")[2]
    if "litellm" in servers:
        found["litellm"] = _litellm_version()
    if "portkey" in servers:
        found["portkey"] = _portkey_version()
        found["node"] = _said("node", "--version").removeprefix("v")
    if not set(FORMS).isdisjoint(servers):
        found[OURS] = _said("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    return {name: version for name, version in found.items() if version}


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else ""


def _litellm_version() -> str:
    names = [path.name for path in litellm_packages().glob("litellm-*.dist-info")]
    return names[0].removeprefix("litellm-").removesuffix(".dist-info") if names else ""


def _portkey_version() -> str:
    package = PORTKEY_FOLDER / "node_modules/@portkey-ai/gateway/package.json"
    return str(json.loads(package.read_text())["version"]) if package.exists() else ""


def python_build(version: str, built: Mapping[str, object], has_libpython: bool) -> str:
    """Optimisation and where the interpreter lies move the figures of Python programs by a quarter.

    Distributions may optimise without an option of that name, so the absence is told as what it is.
    """
    options = str(built.get("CONFIG_ARGS") or "")
    named = [name for name in ("--enable-optimizations", "--with-lto") if name in options]
    level = re.findall(r"-O[\w]+", str(built.get("PY_CORE_CFLAGS") or ""))
    parts = [
        f"built with {' and '.join(named)}" if named else "its build names no optimisations",
        *([level[-1]] if level else []),
        f"interpreter in {'libpython.so' if has_libpython else 'the executable'}",
    ]
    return f"{version.split()[0]} ({', '.join(parts)})"


def _has_libpython() -> bool:
    return "/libpython" in Path("/proc/self/maps").read_text()


def loop_ms() -> float:
    """The best time of a fixed loop: compares the speed of Pythons and machines between reports."""
    return min(timeit.repeat(_LOOP, number=1, repeat=7)) * 1e3


_LOOP = """
seen = {}
for i in range(200_000):
    word = f"{i % 977}"
    seen[word] = seen.get(word, 0) + len(word)
"""


def machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    kernel = os.uname().release
    return f"{model}, {os.cpu_count()} cores, {memory_kib / 2**20:.0f} GiB, Linux {kernel}"
