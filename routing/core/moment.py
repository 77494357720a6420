"""One reading of the clocks: taken at the edge, passed in everywhere else."""

from __future__ import annotations

import datetime as dt

import msgspec


class Moment(msgspec.Struct, frozen=True):
    """`monotonic_s` is for durations and timers, `utc` for prices and rows."""

    monotonic_s: float
    utc: dt.datetime
