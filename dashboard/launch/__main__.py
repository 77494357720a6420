"""`python -m dashboard.launch up | manage | serve | worker | beat | recorder | simulator`."""

from __future__ import annotations

import os
import sys

from dashboard.launch.commands import PROGRAMS


def main(arguments: list[str]) -> int:
    command, *rest = arguments or ["up"]
    if command == "up" and not rest:
        from dashboard.launch.up import up

        return up()
    if command == "serve":
        from dashboard.launch.serve import serve

        serve(rest)
        return 0
    if command == "recorder":
        from dashboard.launch.recorder import recorder

        recorder(rest)
        return 0
    if command == "manage":
        from dashboard.launch.manage import manage

        return manage(rest)
    if command in PROGRAMS:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
        program = PROGRAMS[command].arguments
        os.execv(program[0], [*program, *rest])  # noqa: S606 - one of our own programs
    sys.stderr.write(f"panelboard: unknown command {' '.join(arguments)!r}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
