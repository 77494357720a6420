"""Translates modules with mypyc and compiles the C. Run by path, in the folder of the sources.

`python -P mypyc_run.py '{"files": [...], "group": ..., "target": ..., "jobs": ...}'`
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from typing import Any


def main(order: dict[str, Any]) -> None:
    try:
        import setuptools  # first: it brings distutils, which Python 3.12 left out
        from mypyc.build import mypycify
    except ImportError as exc:
        sys.exit(f"{exc}: `./panelboard compile` installs what is needed")
    options = ["--config-file=mypy.ini", "--cache-dir=/dev/null"]
    extensions = mypycify(
        [*options, *order["files"]],
        opt_level="2",
        debug_level="0",
        multi_file=True,
        group_name=order["group"],
        target_dir="c",
    )
    for extension in extensions:  # another compiler's warnings are no reason to fail
        extension.extra_compile_args.append("-Wno-error")
    sources = sum(len(extension.sources) for extension in extensions)
    compile_side_by_side(order["jobs"], sources)
    setuptools.setup(
        name=order["group"],
        packages=[],
        py_modules=[],
        ext_modules=extensions,
        script_args=[
            "--quiet",
            "build_ext",
            f"--build-lib={order['target']}",
            "--build-temp=objects",
            f"--parallel={order['jobs']}",
        ],
    )


def compile_side_by_side(jobs: int, sources: int) -> None:
    """The files of one extension too: nearly all C is in one, which setuptools takes one by one."""
    from distutils import ccompiler

    compiler: Any = ccompiler.CCompiler
    compile_in_turn = compiler.compile
    done = count(1)

    def compile_all(self: Any, files: list[str], *args: Any, **options: Any) -> list[str]:
        def compile_one(file: str) -> list[str]:
            objects: list[str] = compile_in_turn(self, [file], *args, **options)
            print(f"@progress {next(done)} of {sources} C files", flush=True)  # noqa: T201
            return objects

        with ThreadPoolExecutor(jobs) as pool:
            return list(chain.from_iterable(pool.map(compile_one, files)))

    compiler.compile = compile_all


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
