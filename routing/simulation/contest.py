"""Every way to choose through the same hour."""

from __future__ import annotations

import msgspec

from routing.simulation.choosers import all_choosers
from routing.simulation.figures import Figures, figures_of
from routing.simulation.run import Log, run
from routing.simulation.script import Script
from routing.simulation.traffic import requests_of
from routing.simulation.world import World


class Result(msgspec.Struct, frozen=True):
    name: str
    log: Log
    figures: Figures


def contest(script: Script, seed: int, names: tuple[str, ...] = ()) -> list[Result]:
    """All, or those named. The same seed gives the same figures."""
    requests = requests_of(script, seed)
    results: list[Result] = []
    for name, make in all_choosers(script).items():
        if names and name not in names:
            continue
        world = World(script)
        log = run(world, requests, make(world, seed), seed)
        results.append(Result(name, log, figures_of(log, script)))
    return results
