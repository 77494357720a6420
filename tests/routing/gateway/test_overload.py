from __future__ import annotations

import pytest

from routing.gateway.overload import Overload, memory_limit_bytes, resource_shares
from tests.routing.gateway.scripted import Bench, plain


class Machine:
    """A processor clock and shares that a test sets."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.shares = (0.0, 0.0)

    def overload(self) -> Overload:
        return Overload(lambda: self.cpu_s, lambda: self.shares)

    def late(self, overload: Overload, *moments: float, busy_s: float = 0.5) -> None:
        for now in moments:
            self.cpu_s += busy_s
            overload.look(now, 0.5, 0.25)


def test_three_late_looks_within_three_seconds_are_an_overload() -> None:
    machine = Machine()
    overload = machine.overload()
    machine.late(overload, 1.0, 1.5)
    assert not overload.reason
    machine.late(overload, 2.0)
    assert overload.reason == "processor"


def test_it_is_over_a_second_after_the_last_late_look() -> None:
    machine = Machine()
    overload = machine.overload()
    machine.late(overload, 1.0, 1.5, 2.0)
    overload.look(2.9, 0.25, 0.0)
    assert overload.reason
    overload.look(3.1, 0.25, 0.0)
    assert not overload.reason


def test_single_late_looks_are_none() -> None:
    machine = Machine()
    overload = machine.overload()
    machine.late(overload, 1.0, 6.0, 11.0, 16.0)
    assert not overload.reason


def test_a_process_that_is_kept_waiting_by_others_sheds_nothing() -> None:
    machine = Machine()
    overload = machine.overload()
    machine.late(overload, 1.0, 1.5, 2.0, 2.5, busy_s=0.01)
    assert not overload.reason


@pytest.mark.parametrize(
    ("shares", "reason"),
    [((0.81, 0.0), "memory"), ((0.0, 0.9), "file descriptors"), ((0.8, 0.8), "")],
)
def test_scarce_memory_and_descriptors_are_one(shares: tuple[float, float], reason: str) -> None:
    machine = Machine()
    machine.shares = shares
    overload = machine.overload()
    overload.look(1.0, 0.25, 0.0)
    assert overload.reason == reason
    machine.shares = (0.1, 0.1)
    overload.look(3.5, 0.25, 0.0)
    assert not overload.reason


def test_what_this_process_really_uses_is_some_and_not_all() -> None:
    memory, descriptors = resource_shares()
    assert 0 <= memory < 1
    assert 0 < descriptors < 1
    assert memory_limit_bytes() >= 0


async def test_an_overloaded_gateway_refuses_at_once_and_says_when_to_come_back() -> None:
    bench = Bench(plain())
    bench.gateway.overload.reason = "memory"
    client = await bench.send()
    assert (client.status, client.error["code"]) == (503, "gateway_overloaded")
    assert client.headers[b"retry-after"] == b"1"
    assert client.headers[b"x-should-retry"] == b"true"
    assert not bench.upstream.requests
