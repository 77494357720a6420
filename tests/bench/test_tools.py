"""How the Python was built is told as its configuration tells it, and no more."""

from __future__ import annotations

import pytest

from bench.run import names_in
from bench.tools import loop_ms, python_build

PLAIN = {"CONFIG_ARGS": "'--enable-shared' '--prefix=/usr'", "PY_CORE_CFLAGS": "-Wall -O3 -fPIC"}
OPTIMISED = {
    "CONFIG_ARGS": "'--enable-optimizations' '--with-lto'",
    "PY_CORE_CFLAGS": "-g -O2 -flto -O3",
}


def test_an_optimised_python_is_called_so() -> None:
    assert python_build("3.11.9 (main, ...)", OPTIMISED, has_libpython=False) == (
        "3.11.9 (built with --enable-optimizations and --with-lto, -O3, "
        "interpreter in the executable)"
    )


def test_a_python_without_optimisations_is_not_called_optimised() -> None:
    assert python_build("3.11.7", PLAIN, has_libpython=True) == (
        "3.11.7 (its build names no optimisations, -O3, interpreter in libpython.so)"
    )
    assert python_build("3.11.7", {}, has_libpython=True).startswith("3.11.7 (its build names no")


def test_the_fixed_loop_takes_time() -> None:
    assert loop_ms() > 0


def test_names_come_back_in_the_order_of_measuring() -> None:
    known = {"throughput": 1, "latency": 2, "claude": 3}
    assert names_in("claude, throughput,claude", known) == ["throughput", "claude"]


@pytest.mark.parametrize("text", ["", ",", "latency,speed"])
def test_an_unknown_name_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(Exception, match="there are throughput, latency"):
        names_in(text, {"throughput": 1, "latency": 2})
