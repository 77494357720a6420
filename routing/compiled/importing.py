"""Takes a fitting build into use, whole or not at all, before the hot path is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

from routing.compiled.builds import Build, NotBuilt, Unfit, find_build

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "routing"
SETTING = "PANELBOARD_COMPILED"
AUTO, OFF, REQUIRE = MODES = ("auto", "off", "require")


@dataclass(frozen=True, slots=True)
class State:
    """What this process runs."""

    build: Build | None
    why_not: str = ""
    has_misfit: bool = False  # compiled once, and something has to be done to use it

    @property
    def is_compiled(self) -> bool:
        return self.build is not None

    def describe(self) -> str:
        if self.build is None:
            return f"interpreted ({self.why_not})"
        return f"compiled ({len(self.build.modules)} modules)"


class BuildFinder:
    """Serves the modules of one build, and no others."""

    def __init__(self, build: Build) -> None:
        self._files = build.files

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self._files.get(name)
        if file is None:
            return None
        return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))


def use_build() -> None:
    """Called once by the package itself. Ends the process on a wrong or unmet setting."""
    global _state  # noqa: PLW0603 - decided once for the process
    _state = take_build(ROOT, PACKAGE, os.environ)


def state() -> State:
    return _state


def take_build(root: Path, package: str, environment: Mapping[str, str]) -> State:
    """Raises SystemExit with one line on a wrong or unmet setting."""
    mode = _mode_of(environment)
    if mode == OFF:
        return State(None, f"{SETTING}={OFF}")
    try:
        build = find_build(root, package)
        _serve(build)
    except Unfit as problem:
        if mode == REQUIRE:
            raise SystemExit(f"panelboard: {SETTING} is {REQUIRE}, but: {problem}") from None
        return State(None, str(problem), has_misfit=not isinstance(problem, NotBuilt))
    return State(build)


def _mode_of(environment: Mapping[str, str]) -> str:
    mode = environment.get(SETTING, "").strip() or AUTO
    if mode not in MODES:
        raise SystemExit(f"panelboard: {SETTING} must be one of {', '.join(MODES)}, not {mode!r}")
    return mode


def _serve(build: Build) -> None:
    """Loads the library at once: one that this machine cannot load must not be met half-way."""
    finder = BuildFinder(build)
    sys.meta_path.insert(0, finder)
    try:
        import_module(build.library)
    except ImportError as exc:
        sys.meta_path.remove(finder)
        raise Unfit(f"the build cannot be loaded ({exc}), run ./panelboard compile") from None


_state = State(None, "not looked for yet")
