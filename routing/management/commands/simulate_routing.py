from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from typing_extensions import override

from routing.simulation.contest import Result, contest
from routing.simulation.plot import picture
from routing.simulation.script import Script, hour
from routing.simulation.table import markdown, plain, rows_of

BEGIN, END = "<!-- simulated hour: begin -->", "<!-- simulated hour: end -->"


class Command(BaseCommand):
    help = (
        "Play an hour of traffic on a virtual clock, with an outage, a slow-down, a price change "
        "and a hidden rate limit, and compare the hub's policies with simple rules."
    )
    requires_system_checks: list[str] = []  # needs neither a database nor settings

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="same seed, same figures")
        parser.add_argument("--minutes", type=float, default=60.0)
        parser.add_argument("--rate", type=float, default=4.0, help="requests per second")
        parser.add_argument("--plot", type=Path, help="write the picture to this SVG file")
        parser.add_argument("--page", type=Path, help="put the table into this Markdown page")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        minutes, rate = options["minutes"], options["rate"]
        if not (1 <= minutes <= 24 * 60 and 0 < rate <= 100):
            raise CommandError("--minutes must be 1 to 1440, and --rate more than 0, at most 100")
        script = hour(minutes * 60.0, rate)
        results = contest(script, options["seed"])
        self.stdout.write(plain(rows_of(results)))
        try:
            _write(script, results, options["plot"], options["page"])
        except OSError as error:
            raise CommandError(f"cannot write {error.filename}: {error.strerror}") from None


def _write(script: Script, results: list[Result], plot: Path | None, page: Path | None) -> None:
    if plot is not None:
        plot.write_text(picture(script, results), encoding="utf-8")
    if page is not None:
        text = page.read_text(encoding="utf-8")
        page.write_text(_with_table(text, markdown(rows_of(results))), encoding="utf-8")


def _with_table(text: str, table: str) -> str:
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CommandError(f"the page has no place for the table: add {BEGIN} and {END}")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"
