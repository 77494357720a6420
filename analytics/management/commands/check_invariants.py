"""`manage.py check_invariants`: looks for what must never be; fails when it finds some."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import defaultdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone
from typing_extensions import override

from analytics.invariants import CHECKS, check_all, window_of

SHOWN = 10


class Command(BaseCommand):
    help = "Checks the log, its sums and the spool of this host against what must always hold."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=7, help="of the log to look at")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '300s'")
        breaches: dict[str, list[str]] = defaultdict(list)
        for breach in check_all(window_of(max(options["days"], 1), timezone.now())):
            breaches[breach.invariant].append(breach.detail)
        for name in CHECKS:
            self._tell(name, breaches.get(name, []))
        if breaches:
            raise CommandError(f"{len(breaches)} of {len(CHECKS)} invariants do not hold")

    def _tell(self, name: str, details: list[str]) -> None:
        self.stdout.write(f"{'BROKEN' if details else 'holds '}  {name}")
        for detail in details[:SHOWN]:
            self.stdout.write(f"        {detail}")
        if len(details) > SHOWN:
            self.stdout.write(f"        and {len(details) - SHOWN} more")
