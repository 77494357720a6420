"""House rules that no linter has: each failure names the place and what to write instead."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("dashboard", "analytics", "routing")
MONEY_MODULES = (
    "routing/core/pricing.py",
    "routing/core/usage.py",
    "routing/services/prices.py",
    "routing/services/listings.py",
    "routing/services/price_refresh.py",
    "analytics/prices.py",
    "analytics/settlement.py",
    "analytics/queries/totals.py",
    "analytics/queries/receipts.py",
    "analytics/rest/usage.py",
)
NO_MONEY = re.compile(r"_(s|ms|p\d\d)$", re.IGNORECASE)
ENVIRONMENT_READERS = {"env_str", "env_int", "env_bool", "env_list", "env_choice", "env_secret"}
# Of the tests, of other programs, or set by the start command for its own children.
NOT_FOR_USERS = {"CI", "NO_COLOR", "SUDO_UID", "PANELBOARD_API_KEY", "DJANGO_SETTINGS_MODULE"}
# In pieces, so that this file does not contain what it looks for.
REGISTRIES = ("pypi" + ".org", "python" + "hosted", "registry.npm" + "js", "deb.deb" + "ian.org")
MACHINE_PATHS = tuple("/" + name + "/" for name in ("root", "work", "home/[a-z]+", "Users/[a-z]+"))
TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".toml",
    ".lock",
    ".json",
    ".html",
    ".css",
    ".js",
    ".yml",
    ".txt",
    "",
}


@cache
def tracked() -> tuple[Path, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return tuple(Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file())


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), filename=str(path))


def modules(*, migrations: bool = False) -> Iterator[Path]:
    for path in tracked():
        ours = path.suffix == ".py" and path.parts[0] in PACKAGES
        if ours and ("migrations" in path.parts) is migrations:
            yield path


def places(rule: Callable[[ast.AST], bool], paths: Iterator[Path]) -> list[str]:
    return [
        f"{path}:{getattr(node, 'lineno', 1)}"
        for path in paths
        for node in ast.walk(tree(path))
        if rule(node)
    ]


def is_call_of(node: ast.AST, method: str) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
    )


def imports_an_app(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] in PACKAGES
    return isinstance(node, ast.Import) and any(
        alias.name.split(".")[0] in PACKAGES for alias in node.names
    )


def test_a_migration_imports_no_code_of_the_apps() -> None:
    """The code will change, the migration must not change its meaning with it."""
    assert places(imports_an_app, modules(migrations=True)) == []


def test_select_related_names_what_it_follows() -> None:
    def bare(node: ast.AST) -> bool:
        return (
            is_call_of(node, "select_related")
            and isinstance(node, ast.Call)
            and not node.args
            and not node.keywords
        )

    assert places(bare, modules()) == []


def test_existence_is_asked_by_exists() -> None:
    def counts_to_compare_with_zero(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Compare)
            and is_call_of(node.left, "count")
            and isinstance(node.left, ast.Call)
            and not node.left.args
            and isinstance(node.comparators[0], ast.Constant)
            and node.comparators[0].value == 0
        )

    assert places(counts_to_compare_with_zero, modules()) == []


def floats(node: ast.AST) -> Iterator[int]:
    """Lines with a float that is not named as a time or a quantile."""
    if isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield node.lineno
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "float":
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        if not NO_MONEY.search(name_given_to(child)):
            yield from floats(child)


def name_given_to(node: ast.AST) -> str:
    if isinstance(node, ast.keyword):
        return node.arg or ""
    return ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""


def test_money_code_has_no_float() -> None:
    paths = [Path(name) for name in MONEY_MODULES]
    assert [path for path in paths if path not in tracked()] == []
    assert [f"{path}:{line}" for path in paths for line in floats(tree(path))] == []


def command_classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    for path in modules():
        if path.parts[1:3] == ("management", "commands"):
            for node in tree(path).body:
                if isinstance(node, ast.ClassDef) and node.name == "Command":
                    yield path, node


def test_every_management_command_says_what_it_does() -> None:
    found = list(command_classes())
    assert found
    silent = [
        str(path)
        for path, command in found
        if not any(
            isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "help"
            for node in command.body
        )
    ]
    assert silent == []


def test_nothing_is_left_to_do_later() -> None:
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|NotImplemented" + r"Error)\b")
    left = [
        f"{path}:{number}"
        for path in tracked()
        if path.suffix in {".py", ".html", ".css"} and "vendor" not in path.parts
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if words.search(line)
    ]
    assert left == []


@pytest.mark.parametrize("pattern", [*map(re.escape, REGISTRIES), *MACHINE_PATHS])
def test_no_file_names_a_package_registry_or_a_path_of_one_machine(pattern: str) -> None:
    """What installs must work where packages come from elsewhere, and where folders differ."""
    wanted = re.compile(rf"(?<![\w.]){pattern}" if pattern.startswith("/") else pattern)
    named = [
        str(path)
        for path in tracked()
        if path.suffix in TEXT_SUFFIXES and wanted.search((ROOT / path).read_text(errors="ignore"))
    ]
    assert named == []


def environment_names(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.args[0]
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            continue
        called = ast.unparse(node.func)
        if called in ENVIRONMENT_READERS or called == "os.environ.get":
            yield name.value


def test_the_readme_names_every_setting() -> None:
    readme = (ROOT / "README.md").read_text()
    read = {name for path in modules() for name in environment_names(path)} - NOT_FOR_USERS
    assert "PANELBOARD_DATA" in read
    assert sorted(name for name in read if f"`{name}`" not in readme) == []


def test_the_readme_names_no_setting_that_is_gone() -> None:
    readme = (ROOT / "README.md").read_text()
    code = "".join((ROOT / path).read_text() for path in tracked() if path.suffix == ".py")
    named = set(re.findall(r"`(PANELBOARD_[A-Z_]+)`", readme))
    assert named
    assert sorted(name for name in named if name not in code) == []


def test_every_make_target_has_a_line_of_help() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    targets = [line for line in lines if re.match(r"[a-z-]+:", line)]
    assert {line.split(":")[0] for line in targets} >= {
        *("help", "run", "test", "check", "fix", "seed", "bench", "lint", "types", "arch"),
    }
    assert [line for line in targets if "## " not in line] == []


def test_every_test_says_a_sentence() -> None:
    """`test_dispatch_2` says nothing; three words are the least that can."""
    short = [
        f"{path}:{node.lineno} {node.name}"
        for path in tracked()
        if path.parts[0] == "tests" and path.name.startswith("test_")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name.split("_")) < 4
    ]
    assert short == []


def test_locks_hold_hashes_for_every_package() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        pinned = re.findall(r"^([a-z0-9][\w.-]*)==\S+", text, re.MULTILINE)
        entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
        assert len(pinned) > 50
        unhashed = [
            entry.split()[0] for entry in entries if "==" in entry and "sha256:" not in entry
        ]
        assert unhashed == []


def test_the_development_lock_agrees_with_the_other() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / name).read_text()
        return set(re.findall(r"^[a-z0-9][\w.-]*==[^\s;]+", text, re.MULTILINE))

    assert sorted(pins("requirements.lock") - pins("requirements-dev.lock")) == []
