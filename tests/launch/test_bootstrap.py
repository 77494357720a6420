"""The bootstrap script, without installing anything: what it decides and says."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "panelboard"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with a `.venv` of its own that is never really made."""
    loader = importlib.machinery.SourceFileLoader("panelboard_bootstrap", str(SCRIPT))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    return module


def install_nothing(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for the installation; returns the names of the locks that were asked for."""
    asked: list[str] = []

    def make_environment(lock: Path) -> None:
        asked.append(lock.name)
        bootstrap.PYTHON.parent.mkdir(parents=True, exist_ok=True)
        bootstrap.PYTHON.touch()

    monkeypatch.setattr(bootstrap, "make_environment", make_environment)
    return asked


def test_it_needs_the_standard_library_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), "help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "./panelboard COMMAND" in done.stdout


def test_an_unknown_command_is_said_with_those_that_exist() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), "start"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no command 'start'" in done.stderr
    assert "up             start the hub" in done.stderr


def test_it_installs_once(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = install_nothing(bootstrap, monkeypatch)
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1")
    bootstrap.install(lock)
    bootstrap.install(lock)
    assert asked == ["requirements.lock"]


def test_it_installs_again_when_the_lock_changed(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = install_nothing(bootstrap, monkeypatch)
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1")
    bootstrap.install(lock)
    lock.write_text("a==2")
    bootstrap.install(lock)
    assert len(asked) == 2


def test_the_lock_for_development_replaces_the_other(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_nothing(bootstrap, monkeypatch)
    for name in ("requirements.lock", "requirements-dev.lock"):
        (tmp_path / name).write_text(name)
        bootstrap.install(tmp_path / name)
    stamps = [path.name for path in bootstrap.VENV.glob(".installed-*")]
    assert stamps == [".installed-requirements-dev"]


def test_a_failed_installation_is_said_with_what_to_do(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(lock: Path) -> None:
        raise subprocess.CalledProcessError(1, ["pip"])

    monkeypatch.setattr(bootstrap, "make_environment", fail)
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1")
    with pytest.raises(SystemExit, match=r"remove \.venv and try again"):
        bootstrap.install(lock)


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_another_python_is_refused_with_those_that_will_do(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int]
) -> None:
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    monkeypatch.setattr(bootstrap.sys, "version_info", (*version, 0, "final", 0))
    with pytest.raises(SystemExit, match=r"Python 3\.11, 3\.12 or 3\.13 is needed"):
        bootstrap.use_supported_python()


def test_the_commands_keep_what_follows_them(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_nothing(bootstrap, monkeypatch)
    executed: list[list[str]] = []

    def execute(path: str, command: list[str], environment: dict[str, str]) -> None:
        executed.append(command[1:])
        raise SystemExit(0)

    monkeypatch.setattr(bootstrap.os, "execve", execute)
    monkeypatch.setattr(bootstrap.os, "chdir", lambda path: None)
    for arguments in (["test", "-k", "name"], ["manage", "check", "--deploy"]):
        with pytest.raises(SystemExit):
            bootstrap.main(arguments)
    assert executed == [
        ["-m", "pytest", "-k", "name"],
        ["-m", "dashboard.launch", "manage", "check", "--deploy"],
    ]


def test_check_runs_everything_and_fails_when_one_fails(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_nothing(bootstrap, monkeypatch)
    ran: list[tuple[str, ...]] = []

    def run(arguments: tuple[str, ...]) -> int:
        ran.append(tuple(arguments))
        return 1 if "mypy" in arguments else 0

    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setattr(bootstrap.os, "chdir", lambda path: None)
    assert bootstrap.main(["check"]) == 1
    assert len(ran) == len(bootstrap.CHECKS) + 1
    assert ran[-1] == ("-m", "pytest")
