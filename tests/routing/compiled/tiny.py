"""A package of three modules, two of them hot, that is really compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from routing.compiled.build import Order

PACKAGE = "tiny"
SOURCES = {
    "__init__.py": """\
import os
from pathlib import Path
from routing.compiled.importing import take_build

state = take_build(
    Path(__file__).parent.parent, "tiny", {"PANELBOARD_COMPILED": os.environ["TINY_MODE"]}
)
""",
    "rates.py": "from typing import Final\n\nFACTOR: Final = 3\n",
    "warm.py": """\
from tiny.rates import FACTOR

def times(number: int) -> int:
    return number * FACTOR
""",
    "hot.py": """\
from tiny.warm import times

def twice(number: int) -> int:
    return times(times(number))
""",
}
USE = """\
import json
from tiny import state
from tiny.hot import twice
from tiny.warm import times
print(json.dumps({
    "compiled": [not hasattr(function, "__code__") for function in (times, twice)],
    "says": state.describe(),
    "has_misfit": state.has_misfit,
    "answer": twice(5),
}))
"""
REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Used:
    """What a new process made of the package."""

    compiled: list[bool]
    says: str
    has_misfit: bool
    answer: int


def write_package(root: Path) -> None:
    (root / PACKAGE).mkdir()
    for name, source in SOURCES.items():
        (root / PACKAGE / name).write_text(source)


def order_for(root: Path, **changes: object) -> Order:
    settings = {
        "root": root,
        "package": PACKAGE,
        "modules": ("tiny.warm", "tiny.hot"),
        "group": "tiny_hot",
    }
    return Order(**{**settings, **changes})  # type: ignore[arg-type] # of tests


def run(root: Path, mode: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PANELBOARD_COMPILED": "off",
        "TINY_MODE": mode,
        "PYTHONPATH": os.pathsep.join((str(root), str(REPOSITORY))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, "-P", "-c", USE], env=environment, capture_output=True, text=True
    )


def use(root: Path, mode: str = "auto") -> Used:
    done = run(root, mode)
    assert done.returncode == 0, done.stderr
    return Used(**json.loads(done.stdout))
