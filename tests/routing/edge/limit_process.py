"""A gateway process as far as limits go, for tests that kill it: `python -m ... LIMITS SECONDS`.

Takes as often as it can and prints one line per grant: the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import msgspec

from dashboard.hub_settings import HubSettings
from routing.core.limits import Limits, RateLimited
from routing.lease_keeper import LeaseKeeper
from routing.snapshots import Database


async def take_for(limits: Limits, seconds: float) -> None:
    database = Database(HubSettings.from_environment().connection_parameters)
    keeper = LeaseKeeper(database, process=f"child-{os.getpid()}")
    await keeper.start()
    print("ready", keeper.trouble, flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # all begin together
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            grant = keeper.take(limits, 0, 0) or await keeper.wait(limits, 0, 0)
        except RateLimited:
            await asyncio.sleep(0.01)
        else:
            sys.stdout.write(f"{time.monotonic()}\n")
            sys.stdout.flush()
            if limits.parts[0].concurrent_requests is None:
                keeper.settle(grant, 0)
            await asyncio.sleep(0.001)
    await keeper.stop()


if __name__ == "__main__":
    asyncio.run(take_for(msgspec.json.decode(sys.argv[1], type=Limits), float(sys.argv[2])))
