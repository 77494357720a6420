"""How much traffic there is when: growth, weekdays, hours of the day. Pure."""

from __future__ import annotations

import datetime as dt
import math
from random import Random

GROWTH_PER_DAY = 1.015
WEEKDAY = (1.0, 1.08, 1.1, 1.05, 0.9, 0.35, 0.3)  # Monday first
PEAK_HOUR = 14.0


def requests_on(day: dt.date, last_day: dt.date, per_day: int, rng: Random) -> int:
    """About `per_day` on an ordinary last day, fewer the longer ago."""
    growth = GROWTH_PER_DAY ** -(last_day - day).days
    return round(per_day * growth * WEEKDAY[day.weekday()] * rng.uniform(0.9, 1.1))


def moment_of(day: dt.date, rng: Random) -> dt.datetime:
    """A random instant of the day, likelier around the peak."""
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    while True:
        hour = rng.uniform(0, 24)
        if rng.random() < _weight(hour):
            return midnight + dt.timedelta(hours=hour)


def _weight(hour: float) -> float:
    return 0.12 + 0.88 * (0.5 + 0.5 * math.cos((hour - PEAK_HOUR) / 24 * 2 * math.pi)) ** 2


def outage_before(last_day: dt.date) -> tuple[dt.datetime, dt.datetime]:
    """Wednesday afternoon of the ISO week before the last day's."""
    monday = last_day - dt.timedelta(days=last_day.weekday() + 7)
    start = dt.datetime.combine(monday + dt.timedelta(days=2), dt.time(13), dt.UTC)
    return start, start + dt.timedelta(hours=3)


def price_cut_before(last_day: dt.date) -> dt.datetime:
    """Monday morning of the same week."""
    monday = last_day - dt.timedelta(days=last_day.weekday() + 7)
    return dt.datetime.combine(monday, dt.time(), dt.UTC)
