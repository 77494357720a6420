"""`./panelboard compile` makes a build whole or changes nothing, and says what to do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from routing.compiled.build import (
    BEING_MADE,
    GIVEN_UP_AFTER_S,
    CannotBuild,
    carry_out,
    check,
    find_compiler,
    main,
    make_build,
)
from routing.compiled.builds import BUILDS, MANIFEST
from tests.routing.compiled.tiny import order_for, use


def builds_in(root: Path) -> set[str]:
    return {path.name for path in (root / BUILDS).iterdir()}


def make_older(root: Path, by_s: float) -> None:
    for path in (root / BUILDS).iterdir():
        for file in (path, path / MANIFEST):
            if file.exists():
                os.utime(file, (time.time() - by_s,) * 2)


@pytest.fixture
def folder_with_headers(tmp_path: Path) -> str:
    (tmp_path / "Python.h").touch()
    return str(tmp_path)


@pytest.fixture
def folder_with_cc(tmp_path: Path) -> str:
    program = tmp_path / "bin" / "cc"
    program.parent.mkdir()
    program.touch(0o755)
    return str(program.parent)


def test_what_is_compiled_already_is_not_compiled_again(
    compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = builds_in(compiled)
    assert carry_out(order_for(compiled)) == 0
    assert "compiled already: 2 modules in .compiled/" in capsys.readouterr().err
    assert builds_in(compiled) == before


def test_changed_sources_get_a_build_of_their_own_and_the_last_one_stays(
    compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hub that runs from the last one may import from it yet."""
    (first,) = builds_in(compiled)
    make_older(compiled, by_s=100)
    (compiled / "tiny" / "rates.py").write_text("from typing import Final\nFACTOR: Final = 4\n")
    assert carry_out(order_for(compiled)) == 0
    told = capsys.readouterr().err
    assert "compiled 2 modules in" in told
    assert "restart the hub" in told
    assert use(compiled).says == "compiled (2 modules)"
    assert use(compiled).answer == 80
    second = builds_in(compiled) - {first}
    assert len(second) == 1

    make_older(compiled, by_s=50)
    os.utime(compiled / BUILDS / first / MANIFEST, (1.0, 1.0))
    left = compiled / BUILDS / f"{BEING_MADE}1"
    left.mkdir()
    os.utime(left, (time.time() - 2 * GIVEN_UP_AFTER_S,) * 2)
    (compiled / "tiny" / "rates.py").write_text("from typing import Final\nFACTOR: Final = 5\n")
    assert carry_out(order_for(compiled)) == 0
    third = builds_in(compiled) - second
    assert first not in third
    assert len(third) == 1


def test_a_damaged_build_is_made_again(compiled: Path) -> None:
    (name,) = builds_in(compiled)
    (compiled / BUILDS / name / MANIFEST).write_text("{")
    assert carry_out(order_for(compiled)) == 0
    assert use(compiled).says == "compiled (2 modules)"


def test_what_the_compiler_refuses_is_shown_and_changes_nothing(
    compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = builds_in(compiled)
    hot = compiled / "tiny" / "hot.py"
    hot.write_text(hot.read_text() + "\nwrong: int = 'text'\n")
    assert carry_out(order_for(compiled)) == 1
    told = capsys.readouterr().err
    assert "tiny/hot.py" in told
    assert "Incompatible types in assignment" in told
    assert "nothing was changed" in told
    assert builds_in(compiled) == before


def test_a_module_that_is_not_there_is_named(sources: Path) -> None:
    with pytest.raises(CannotBuild, match=r"tiny\.gone is to be compiled, and there is no tiny"):
        make_build(order_for(sources, modules=("tiny.gone",)))
    assert not (sources / BUILDS).exists()


def test_a_folder_that_cannot_be_written_is_told(
    compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (compiled / BUILDS).rglob("*"):
        if path.is_file():
            path.unlink()
    (compiled / BUILDS).rename(compiled / "away")
    (compiled / BUILDS).write_text("a file where the folder should be")
    assert carry_out(order_for(compiled)) == 1
    assert "the build could not be kept" in capsys.readouterr().err


def test_without_a_c_compiler_it_says_which_to_install(
    sources: Path, tmp_path: Path, folder_with_headers: str
) -> None:
    nothing = order_for(
        sources, environment={"PATH": str(tmp_path)}, python={}, include=folder_with_headers
    )
    with pytest.raises(CannotBuild, match=r"needs a C compiler.*apt-get install gcc"):
        find_compiler(nothing)


def test_without_pythons_headers_it_says_what_to_install(
    sources: Path, tmp_path: Path, folder_with_cc: str
) -> None:
    headless = order_for(
        sources, environment={"PATH": folder_with_cc}, python={}, include=str(tmp_path / "none")
    )
    with pytest.raises(CannotBuild, match=r"needs the header Python\.h.*apt-get install python3"):
        find_compiler(headless)


@pytest.mark.parametrize(
    ("asked_for", "of_python", "chosen"),
    [
        ("cc -pipe", "gone", "cc -pipe"),
        ("gone", "cc -pthread", "cc -pthread"),
        ("", "gone", "cc"),
    ],
)
def test_the_compiler_is_the_users_then_pythons_then_a_usual_one(
    sources: Path,
    folder_with_cc: str,
    folder_with_headers: str,
    asked_for: str,
    of_python: str,
    chosen: str,
) -> None:
    order = order_for(
        sources,
        environment={"PATH": folder_with_cc, "CC": asked_for},
        python={"CC": of_python},
        include=folder_with_headers,
    )
    assert find_compiler(order) == chosen


def test_a_check_tells_whether_this_machine_can_compile(
    sources: Path,
    tmp_path: Path,
    folder_with_cc: str,
    folder_with_headers: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    able = {"environment": {"PATH": folder_with_cc}, "python": {}, "include": folder_with_headers}
    assert check(order_for(sources, **able)) == 0
    assert "2 modules can be compiled here, by cc" in capsys.readouterr().err
    unable = {**able, "environment": {"PATH": str(tmp_path)}}
    assert check(order_for(sources, **unable)) == 1


def test_an_unknown_argument_gets_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--chekc"]) == 2
    assert capsys.readouterr().err == "panelboard: usage: ./panelboard compile [--check]\n"
