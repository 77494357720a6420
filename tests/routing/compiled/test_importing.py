"""A build is used whole where it fits the sources, and otherwise not at all, with the reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from routing.compiled.builds import ABI, BUILDS, MANIFEST, SUFFIX
from tests.routing.compiled.tiny import run, use

BOTH, NEITHER = [True, True], [False, False]


def build_in(root: Path) -> Path:
    (folder,) = (root / BUILDS).iterdir()
    return folder


def library_of(root: Path) -> Path:
    return build_in(root) / f"tiny_hot__mypyc{SUFFIX}"


@pytest.mark.parametrize("mode", ["auto", "", "require"])
def test_a_fitting_build_is_used(compiled: Path, mode: str) -> None:
    used = use(compiled, mode)
    assert (used.compiled, used.answer) == (BOTH, 45)
    assert (used.says, used.has_misfit) == ("compiled (2 modules)", False)


def test_off_means_the_sources(compiled: Path) -> None:
    used = use(compiled, "off")
    assert (used.compiled, used.answer) == (NEITHER, 45)
    assert used.says == "interpreted (PANELBOARD_COMPILED=off)"


def test_where_nothing_was_compiled_the_sources_run_and_nothing_is_amiss(sources: Path) -> None:
    used = use(sources)
    assert (used.compiled, used.answer, used.has_misfit) == (NEITHER, 45, False)
    assert used.says == "interpreted (not compiled, run ./panelboard compile)"


def test_a_changed_constant_of_a_module_that_is_not_compiled_counts(compiled: Path) -> None:
    (compiled / "tiny" / "rates.py").write_text("FACTOR = 4\n")
    used = use(compiled)
    assert (used.compiled, used.answer, used.has_misfit) == (NEITHER, 80, True)
    assert "the sources have changed since they were compiled" in used.says


def test_a_new_source_file_counts(compiled: Path) -> None:
    (compiled / "tiny" / "more.py").write_text("")
    assert use(compiled).compiled == NEITHER


def test_what_is_no_source_does_not_count(compiled: Path) -> None:
    (compiled / "tiny" / "__pycache__").mkdir()
    (compiled / "tiny" / "__pycache__" / "old.py").write_text("")
    (compiled / "tiny" / "notes.txt").write_text("")
    assert use(compiled).compiled == BOTH


def test_a_build_for_another_python_is_not_used(compiled: Path) -> None:
    folder = build_in(compiled)
    folder.rename(folder.with_name(folder.name.replace(ABI, "cpython-399-elsewhere")))
    used = use(compiled)
    assert (used.compiled, used.has_misfit) == (NEITHER, True)
    assert f"compiled for another Python than {ABI}" in used.says


def lose_a_module(root: Path) -> None:
    (build_in(root) / "tiny" / f"hot{SUFFIX}").unlink()


def lose_the_library(root: Path) -> None:
    library_of(root).unlink()


def cut_a_module(root: Path) -> None:
    module = build_in(root) / "tiny" / f"warm{SUFFIX}"
    module.write_bytes(module.read_bytes()[:-1])


def spoil_the_library(root: Path) -> None:
    library_of(root).write_bytes(bytes(library_of(root).stat().st_size))


def spoil_the_manifest(root: Path) -> None:
    (build_in(root) / MANIFEST).write_text("{")


def empty_the_manifest(root: Path) -> None:
    (build_in(root) / MANIFEST).write_text("[]")


def lose_the_manifest(root: Path) -> None:
    (build_in(root) / MANIFEST).unlink()


def make_it_of_another_release(root: Path) -> None:
    manifest = build_in(root) / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": "other/9"}))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lose_a_module, f"the build is damaged at hot{SUFFIX}"),
        (lose_the_library, f"the build is damaged at tiny_hot__mypyc{SUFFIX}"),
        (cut_a_module, f"the build is damaged at warm{SUFFIX}"),
        (spoil_the_library, "the build cannot be loaded"),
        (spoil_the_manifest, f"the build is damaged at {MANIFEST}"),
        (empty_the_manifest, f"the build is damaged at {MANIFEST}"),
        (lose_the_manifest, f"the build is damaged at {MANIFEST}"),
        (make_it_of_another_release, "compiled by another release"),
    ],
)
def test_of_a_damaged_build_no_part_is_used(
    compiled: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(compiled)
    used = use(compiled)
    assert (used.compiled, used.answer, used.has_misfit) == (NEITHER, 45, True)
    assert reason in used.says
    assert "run ./panelboard compile" in used.says


def test_where_a_build_is_required_and_missing_nothing_starts(sources: Path) -> None:
    done = run(sources, "require")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "panelboard: PANELBOARD_COMPILED is require, but: not compiled, run ./panelboard compile\n"
    )


def test_a_required_build_that_does_not_fit_is_told_with_the_reason(compiled: Path) -> None:
    shutil.rmtree(build_in(compiled) / "tiny")
    done = run(compiled, "require")
    assert done.returncode == 1
    assert "but: the build is damaged at" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_setting_is_told_with_the_known_ones(compiled: Path) -> None:
    done = run(compiled, "yes")
    assert done.returncode == 1
    assert done.stderr == (
        "panelboard: PANELBOARD_COMPILED must be one of auto, off, require, not 'yes'\n"
    )
