"""Lines of several processes on one terminal, each with its time and its name."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TextIO

COLOURS = (36, 33, 32, 35, 34, 96)
RED = 31
OUR_NAME = "hub"


class Console:
    def __init__(self, out: TextIO = sys.stdout, name_width: int = 9) -> None:
        self._out = out
        self._width = name_width
        self._lock = threading.Lock()
        self._coloured = out.isatty() and not os.environ.get("NO_COLOR")
        self._colour_of: dict[str, int] = {}

    def line(self, name: str, text: str) -> None:
        self._write(name, text, self._colour(name))

    def say(self, text: str) -> None:
        self._write(OUR_NAME, text, 0)

    def warn(self, text: str) -> None:
        self._write(OUR_NAME, text, RED)

    def block(self, text: str) -> None:
        """Unprefixed, so that it can be copied."""
        with self._lock:
            self._out.write(text + "\n")
            self._out.flush()

    def _write(self, name: str, text: str, colour: int) -> None:
        prefix = f"{time.strftime('%H:%M:%S')} {name:<{self._width}} |"
        if self._coloured:
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        with self._lock:
            self._out.write(f"{prefix} {text}\n")
            self._out.flush()

    def _colour(self, name: str) -> int:
        return self._colour_of.setdefault(name, COLOURS[len(self._colour_of) % len(COLOURS)])
