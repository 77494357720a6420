from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from routing.compiled.build import CannotBuild, carry_out, find_compiler
from tests.routing.compiled.tiny import order_for, write_package


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with the package, not compiled."""
    root = tmp_path / "sources"
    root.mkdir()
    write_package(root)
    return root


@pytest.fixture(scope="session")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compiled")
    write_package(root)
    order = order_for(root)
    try:
        find_compiler(order)
    except CannotBuild as problem:
        pytest.skip(str(problem))
    assert carry_out(order) == 0
    return root


@pytest.fixture
def compiled(compiled_once: Path, tmp_path: Path) -> Path:
    """A folder with the package and its build, for one test to spoil."""
    return Path(shutil.copytree(compiled_once, tmp_path / "copy"))
