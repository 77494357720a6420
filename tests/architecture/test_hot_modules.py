"""What the compiler of the hot path takes, and yet makes something else of."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from routing.compiled.marks import laid_out_by_python
from routing.compiled.modules import HOT_MODULES

ROOT = Path(__file__).resolve().parent.parent.parent
MARK = laid_out_by_python.__name__
# Without fields of their own, or laid out by the compiler itself.
HARMLESS_BASES = {"ABC", "Protocol", "NamedTuple", "Exception", "asyncio.Protocol"}
WAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def file_of(module: str) -> Path:
    return ROOT / Path(*module.split(".")).with_suffix(".py")


TREES = {module: ast.parse(file_of(module).read_text()) for module in HOT_MODULES}
CLASSES = {
    node.name: module
    for module, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
}


@pytest.mark.parametrize("module", HOT_MODULES)
def test_a_hot_module_waits_for_nothing_while_it_handles_an_exception(module: str) -> None:
    """A compiled coroutine has no exception of its own: after the wait it may be another's."""
    assert waits_while_handling(TREES[module]) == []


@pytest.mark.parametrize("module", HOT_MODULES)
def test_a_class_of_a_hot_module_with_an_interpreted_base_says_so(module: str) -> None:
    """Compiled, its fields would lie where those of its base lie."""
    assert unmarked_heirs(TREES[module]) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("async def f():\n try:\n  g()\n except E:\n  await h()", [5]),
        ("async def f():\n try:\n  g()\n finally:\n  await h()", [5]),
        ("async def f():\n try:\n  g()\n except E:\n  async for x in h(): pass", [5]),
        ("async def f():\n async with h():\n  g()", [2]),
        ("async def f():\n with h():\n  await g()", []),
        ("async def f():\n try:\n  await g()\n except E:\n  h()", []),
        ("async def f():\n try:\n  g()\n except E:\n  async def k():\n   await h()", []),
    ],
)
def test_waits_while_an_exception_is_handled_are_found(source: str, lines: list[int]) -> None:
    assert waits_while_handling(ast.parse(source)) == lines


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("class A(Elsewhere): pass", ["A"]),
        (f"@{MARK}\nclass A(Elsewhere): pass", []),
        ("class A(Protocol): pass", []),
        ("class A(elsewhere.Trying): pass", ["A"]),  # the compiler follows names only
        ("class A: pass", []),
    ],
)
def test_heirs_of_interpreted_classes_are_found(source: str, names: list[str]) -> None:
    assert unmarked_heirs(ast.parse(source)) == names


def waits_while_handling(tree: ast.Module) -> list[int]:
    """Lines that wait in a handler or a `finally`, or in the hidden one of an `async with`."""
    handled = [
        statement
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        for part in (*(handler.body for handler in node.handlers), node.finalbody)
        for statement in part
    ]
    lines = {wait.lineno for statement in handled for wait in waits_in(statement)}
    lines |= {node.lineno for node in ast.walk(tree) if isinstance(node, ast.AsyncWith)}
    return sorted(lines)


def waits_in(node: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    """Those of this very function, not of those defined in it."""
    if isinstance(node, FUNCTIONS):
        return
    if isinstance(node, WAITS):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from waits_in(child)


def unmarked_heirs(tree: ast.Module) -> list[str]:
    known = HARMLESS_BASES | CLASSES.keys()
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base) not in known for base in node.bases)
        and MARK not in map(ast.unparse, node.decorator_list)
    ]
