"""`manage.py seed_demo`: a simulated history, so that the pages have something to show."""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone
from typing_extensions import override

from analytics.demo.shape import outage_before, price_cut_before
from analytics.demo.stage import NothingToShow, Stage, build
from analytics.demo.story import Outage, day_of_requests
from analytics.recorder.open_requests import OpenRequests, Rows
from analytics.recorder.shipper import BATCH_ROWS
from analytics.recorder.store import BadRows, DatabaseAway, Store
from analytics.rollups.fill import mark_dirty, roll_up
from routing.core.record import Record

LEAST_DAYS, MOST_DAYS = 14, 90  # the planted facts lie one to two weeks back


class Command(BaseCommand):
    help = "Fills the days up to yesterday with simulated traffic, an outage and a price change."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=21)
        parser.add_argument("--per-day", type=int, default=600, help="requests of an ordinary day")
        parser.add_argument("--seed", type=int, default=1)

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        days, per_day = options["days"], options["per_day"]
        if not LEAST_DAYS <= days <= MOST_DAYS or per_day < 1:
            raise CommandError(f"--days takes {LEAST_DAYS} to {MOST_DAYS}, --per-day at least 1")
        last_day = timezone.now().date() - dt.timedelta(days=1)
        first_day = last_day - dt.timedelta(days=days - 1)
        price_cut = price_cut_before(last_day)
        try:
            stage = build(first_day, price_cut)
            shipped = self._ship(stage, first_day, last_day, per_day, options["seed"])
        except (NothingToShow, BadRows, DatabaseAway) as exc:
            raise CommandError(str(exc)) from exc
        self._fill_rollups(first_day)
        self._tell(stage, shipped, last_day)

    def _ship(
        self, stage: Stage, first_day: dt.date, last_day: dt.date, per_day: int, seed: int
    ) -> int:
        outage = Outage(stage.failing.provider_id, *outage_before(last_day))
        store, shipped = Store(connection.get_connection_params()), 0
        try:
            for number in range((last_day - first_day).days + 1):
                day = first_day + dt.timedelta(days=number)
                records = day_of_requests(stage, day, last_day, per_day, seed, outage)
                shipped += _ship_records(store, records)
        finally:
            store.close()
        return shipped

    def _fill_rollups(self, first_day: dt.date) -> None:
        """Also of a time before the rollups began."""
        now = timezone.now()
        roll_up(now)
        start = dt.datetime.combine(first_day, dt.time(), dt.UTC)
        quarters = range(int((now - start) / dt.timedelta(minutes=15)))
        mark_dirty(start + n * dt.timedelta(minutes=15) for n in quarters)
        roll_up(now)

    def _tell(self, stage: Stage, shipped: int, last_day: dt.date) -> None:
        start, end = outage_before(last_day)
        self.stdout.write(
            f"Shipped {shipped:,} simulated requests for the organization"
            f" {stage.organization.name}.\n"
            f"Planted: an outage of {stage.failing.provider.name}, {start:%a %Y-%m-%d %H:%M} to"
            f" {end:%H:%M} UTC; a price cut of {stage.cheaper} on"
            f" {price_cut_before(last_day):%a %Y-%m-%d}; growth; quiet weekends."
        )


def _ship_records(store: Store, records: Iterable[Record]) -> int:
    requests, rows, shipped = OpenRequests(), Rows(), 0
    for record in records:
        requests.take(record, rows)
        if len(rows) >= BATCH_ROWS:
            shipped += len(rows.requests)
            store.ship(rows)
            rows = Rows()
    store.ship(rows)
    return shipped + len(rows.requests)
