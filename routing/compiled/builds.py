"""Builds of the hot path: where one lies, and whether it can be used.

A build's folder is named after this Python and all sources of the package, not only the compiled
ones: constants and types of the others are compiled in.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

BUILDS = ".compiled"
MANIFEST = "build.json"  # written last: a folder without it is no build
FORMAT = "panelboard-compiled/1"
SUFFIX = EXTENSION_SUFFIXES[0]
ABI = SUFFIX.strip(".").partition(".")[0]
WHAT_TO_DO = "run ./panelboard compile"


class Unfit(Exception):
    """There is no build to be used; the text says why and what to do."""


class NotBuilt(Unfit):
    """Nothing was ever compiled here for this Python."""


@dataclass(frozen=True, slots=True)
class Build:
    folder: Path
    library: str  # the module that holds the code of all others
    files: dict[str, str]  # extension by module, the library's among them

    @property
    def modules(self) -> list[str]:
        return [name for name in self.files if name != self.library]


def find_build(root: Path, package: str) -> Build:
    """The build of these very sources. Raises Unfit."""
    builds = root / BUILDS
    if not builds.is_dir():
        raise NotBuilt(f"not compiled, {WHAT_TO_DO}")
    folder = builds / name_of(root / package)
    if folder.is_dir():
        return read_build(folder)
    names = [path.name for path in builds.iterdir() if (path / MANIFEST).is_file()]
    if not names:
        raise NotBuilt(f"not compiled, {WHAT_TO_DO}")
    if any(is_of_this_python(name) for name in names):
        raise Unfit(f"the sources have changed since they were compiled, {WHAT_TO_DO}")
    raise Unfit(f"compiled for another Python than {ABI}, {WHAT_TO_DO}")


def read_build(folder: Path) -> Build:
    """Raises Unfit where anything is missing, so that no part of it is used."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise Unfit(f"compiled by another release, {WHAT_TO_DO}")
        files = manifest["files"]
        for file in files.values():
            path = folder / file["path"]
            if path.stat().st_size != file["bytes"]:
                raise Unfit(f"the build is damaged at {path.name}, {WHAT_TO_DO}")
        found = {name: str(folder / file["path"]) for name, file in files.items()}
        return Build(folder, manifest["library"], found)
    except OSError as exc:
        missing = Path(exc.filename or folder).name
        raise Unfit(f"the build is damaged at {missing}, {WHAT_TO_DO}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unfit(f"the build is damaged at {MANIFEST}, {WHAT_TO_DO}") from None


def write_manifest(folder: Path, library: str, paths: Iterable[tuple[str, Path]]) -> None:
    """The last step of a build. Paths are inside the folder."""
    files = {
        name: {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size}
        for name, path in paths
    }
    manifest = {"format": FORMAT, "library": library, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def name_of(package: Path) -> str:
    return f"{ABI}-{digest_of(package)}"


def is_of_this_python(name: str) -> bool:
    return name.rpartition("-")[0] == ABI


def digest_of(package: Path) -> str:
    """Over every source of the package, with its place, and the machine it is compiled for."""
    machine = f"{sys.implementation.cache_tag} {SUFFIX} {sys.platform} {os.uname().machine}"
    seen = hashlib.sha256(machine.encode())
    for path in sources_in(str(package)):
        with open(path, "rb") as file:
            text = file.read()
        seen.update(b"\0%b\0%d\0" % (os.path.relpath(path, package).encode(), len(text)))
        seen.update(text)
    return seen.hexdigest()[:32]


def sources_in(package: str) -> Iterator[str]:
    """Always in the same order."""
    for folder, folders, names in os.walk(package):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            if name.endswith(".py"):
                yield os.path.join(folder, name)
