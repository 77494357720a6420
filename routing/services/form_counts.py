"""Adds what processes counted of answers' form to the rollup of it.

The table is added to, never read, here. What could not be written is kept and written later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from routing.core.cursor import Cursor
from routing.core.validity import FormCounts

Counts = Mapping[int, tuple[int, int]]  # (answers, sound) by endpoint

ADD = """
INSERT INTO routing_formcell AS cell (endpoint_id, bucket_start, answers, sound)
SELECT found.endpoint_id,
    date_bin('15 minutes', clock_timestamp(), timestamptz '2000-01-01 00:00+00'),
    found.answers, found.sound
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS found (endpoint_id, answers, sound)
ON CONFLICT (bucket_start, endpoint_id) DO UPDATE
    SET answers = cell.answers + excluded.answers, sound = cell.sound + excluded.sound
"""


class FormTeller:
    """Of one gateway process."""

    def __init__(self, counts: FormCounts) -> None:
        self._counts = counts

    async def tell(self, connection: psycopg.AsyncConnection[Any]) -> None:
        taken = self._counts.take()
        if not taken:
            return
        try:
            await connection.execute(ADD, _columns(taken))
        except BaseException:
            for endpoint_id, (answers, sound) in taken.items():
                self._counts.add(endpoint_id, answers, sound)
            raise


def add(cursor: Cursor, counts: Counts) -> None:
    """As FormTeller.tell, for a process that has a cursor."""
    if counts:
        cursor.execute(ADD, _columns(counts))


def _columns(counts: Counts) -> list[list[int]]:
    """In one order for all processes, so that none waits for another one that waits for it."""
    rows = sorted((endpoint_id, *found) for endpoint_id, found in counts.items())
    return [list(column) for column in zip(*rows, strict=True)]
