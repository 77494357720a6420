"""Places for the tasks that work on batches: a few in the whole hub, so that other tasks get theirs.

A place is taken for a while and kept by renewal. The place of a worker that died is free again when
its time is over, whatever the broker does with the message of the dead task.
"""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from routing.core.cursor import Cursor

QUEUED_S = 30.0  # a message may wait so long for a worker
HELD_S = 6.0  # by a task that runs; it renews in time

_OFFER = """
INSERT INTO routing_batchrunner AS runner (slot, token, taken_until)
SELECT slot, gen_random_uuid(), now() + %s FROM generate_series(1, %s) AS slot
WHERE EXISTS (SELECT 1 FROM routing_batch
  WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling'))
ON CONFLICT (slot) DO UPDATE SET token = EXCLUDED.token, taken_until = EXCLUDED.taken_until
  WHERE runner.taken_until < now()
RETURNING slot, token
"""
_HOLD = """
UPDATE routing_batchrunner SET taken_until = now() + %s WHERE slot = %s AND token = %s
RETURNING EXISTS (SELECT 1 FROM routing_batch
  WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling'))
"""
_LEAVE = "UPDATE routing_batchrunner SET taken_until = now() WHERE slot = %s AND token = %s"


def offer(cursor: Cursor, most: int) -> list[tuple[int, UUID]]:
    """The free places, while there is work: a task is to be sent for each of them."""
    cursor.execute(_OFFER, [dt.timedelta(seconds=QUEUED_S), most])
    return [(slot, token) for slot, token in cursor.fetchall()]


def hold(cursor: Cursor, slot: int, token: UUID, seconds: float = HELD_S) -> bool | None:
    """Whether there is work; None when the place has become somebody else's."""
    cursor.execute(_HOLD, [dt.timedelta(seconds=seconds), slot, token])
    found = cursor.fetchall()
    return bool(found[0][0]) if found else None


def leave(cursor: Cursor, slot: int, token: UUID) -> None:
    cursor.execute(_LEAVE, [slot, token])
