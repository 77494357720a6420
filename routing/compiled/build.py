"""`./panelboard compile`: the hot path as C extensions, beside the sources and never among them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from routing.compiled import compiling
from routing.compiled.builds import (
    BUILDS,
    MANIFEST,
    SUFFIX,
    Build,
    Unfit,
    is_of_this_python,
    name_of,
    read_build,
    sources_in,
    write_manifest,
)
from routing.compiled.importing import PACKAGE, ROOT
from routing.compiled.modules import HOT_MODULES

GROUP = "panelboard_hot"
COMPILERS = ("cc", "gcc", "clang")
BEING_MADE = ".making-"
GIVEN_UP_AFTER_S = 3600.0
MIB = 2**20


class CannotBuild(Exception):
    """The text says what to do."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is compiled, and by what."""

    root: Path = ROOT
    package: str = PACKAGE
    modules: Sequence[str] = HOT_MODULES
    group: str = GROUP
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    python: Mapping[str, Any] = field(default_factory=sysconfig.get_config_vars)
    include: str = field(default_factory=lambda: sysconfig.get_path("include"))

    @property
    def builds(self) -> Path:
        return self.root / BUILDS

    @property
    def library(self) -> str:
        return f"{self.group}__mypyc"


def main(arguments: Sequence[str]) -> int:
    if list(arguments) == ["--check"]:
        return check(Order())
    if arguments:
        say("usage: ./panelboard compile [--check]")
        return 2
    return carry_out(Order())


def check(order: Order) -> int:
    """Whether this machine can compile: the exit status, and a line."""
    try:
        compiler = find_compiler(order)
    except CannotBuild as problem:
        say(str(problem))
        return 1
    say(f"{len(order.modules)} modules can be compiled here, by {compiler}")
    return 0


def carry_out(order: Order) -> int:
    """The exit status. What it has to say goes to standard error."""
    began = time.monotonic()
    try:
        build = _built_already(order)
        if build is not None:
            say(f"compiled already: {len(build.modules)} modules in {_shown(order, build)}")
            return 0
        build = make_build(order)
    except CannotBuild as problem:
        say(str(problem))
        return 1
    except KeyboardInterrupt:
        say("stopped; nothing was changed")
        return 130
    size = sum(os.path.getsize(path) for path in build.files.values())
    say(
        f"compiled {len(build.modules)} modules in {time.monotonic() - began:.0f} s: "
        f"{_shown(order, build)} ({size / MIB:.1f} MiB)"
    )
    say("processes that start from now on use it: restart the hub")
    return 0


def make_build(order: Order) -> Build:
    """Raises CannotBuild, and leaves things as they were."""
    compiler = find_compiler(order)
    with tempfile.TemporaryDirectory(prefix="panelboard-compile-") as scratch:
        sources = Path(scratch) / "sources"
        # A copy, so that what is compiled is what the build's name says, whoever is editing.
        _copy_sources(order.root / order.package, sources / order.package)
        files = [_file_of(module, sources) for module in order.modules]
        compiled = Path(scratch) / "compiled"
        say(f"compiling {len(files)} modules; this takes a minute or two")
        status, output = compiling.run(
            sources, files, order.group, compiled, {**order.environment, "CC": compiler}, say
        )
        if status:
            raise CannotBuild(
                f"{output}\npanelboard: the lines above say why it could not be compiled; "
                "nothing was changed"
            )
        return _keep(order, compiled, name_of(sources / order.package))


# --- what is needed ------------------------------------------------------------------------------


def find_compiler(order: Order) -> str:
    """The command of the C compiler. Raises CannotBuild when that or Python's headers are missing."""
    wanted = [order.environment.get("CC", ""), str(order.python.get("CC") or ""), *COMPILERS]
    path = order.environment.get("PATH", os.defpath)
    found = next((name for name in wanted if _is_program(name, path)), None)
    if found is None:
        raise CannotBuild(
            "compiling needs a C compiler, and neither CC nor cc, gcc or clang is one: "
            "install one, for example with `apt-get install gcc libc6-dev`"
        )
    if not (Path(order.include) / "Python.h").is_file():
        version = "{}.{}".format(*sys.version_info[:2])
        raise CannotBuild(
            f"compiling needs the header Python.h, which is not in {order.include}: install the "
            f"development files of this Python, for example with "
            f"`apt-get install python{version}-dev`"
        )
    return found


def _is_program(command: str, path: str) -> bool:
    words = shlex.split(command)
    return bool(words) and shutil.which(words[0], path=path) is not None


# --- from sources to a build ---------------------------------------------------------------------


def _copy_sources(package: Path, target: Path) -> None:
    for source in sources_in(str(package)):
        copy = target / Path(source).relative_to(package)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


def _file_of(module: str, sources: Path) -> str:
    file = Path(*module.split(".")).with_suffix(".py")
    if not (sources / file).is_file():
        raise CannotBuild(f"{module} is to be compiled, and there is no {file}")
    return str(file)


def _keep(order: Order, compiled: Path, name: str) -> Build:
    """Moves what was compiled to its place by one rename, the manifest inside."""
    target = order.builds / name
    making = order.builds / f"{BEING_MADE}{os.getpid()}"
    try:
        making.mkdir(parents=True)
        modules = [order.library, *order.modules]
        paths = [(module, _place(module, compiled, making)) for module in modules]
        write_manifest(making, order.library, paths)
        shutil.rmtree(target, ignore_errors=True)  # one that is damaged
        making.rename(target)
    except OSError as exc:
        raise CannotBuild(f"the build could not be kept: {exc}") from None
    finally:
        shutil.rmtree(making, ignore_errors=True)
    _tidy(order, keep=target)
    return read_build(target)


def _place(module: str, compiled: Path, making: Path) -> Path:
    file = Path(*module.split("."))
    target = making / file.parent / f"{file.name}{SUFFIX}"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(compiled / target.relative_to(making), target)
    return target


def _tidy(order: Order, keep: Path) -> None:
    """Leaves one build besides the newest: a running hub may import from it yet."""
    others = [
        path
        for path in order.builds.iterdir()
        if path != keep and is_of_this_python(path.name) and (path / MANIFEST).is_file()
    ]
    others.sort(key=lambda path: (path / MANIFEST).stat().st_mtime)
    now = time.time()
    abandoned = [
        path
        for path in order.builds.glob(f"{BEING_MADE}*")
        if now - path.stat().st_mtime > GIVEN_UP_AFTER_S
    ]
    for path in [*others[:-1], *abandoned]:
        shutil.rmtree(path, ignore_errors=True)


def _built_already(order: Order) -> Build | None:
    folder = order.builds / name_of(order.root / order.package)
    try:
        build = read_build(folder)
    except Unfit:
        return None
    return build if set(build.modules) == set(order.modules) else None


# --- words ---------------------------------------------------------------------------------------


def _shown(order: Order, build: Build) -> Path:
    return build.folder.relative_to(order.root)


def say(text: str) -> None:
    sys.stderr.write(f"panelboard: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
