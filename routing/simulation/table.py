"""The figures of the hour as a table, for terminals and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from routing.simulation.contest import Result
from routing.simulation.figures import Figures, Reaction

Row = tuple[str, ...]

COLUMNS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("USD per 1,000", lambda f: f"{f.cost_per_1000_usd:.3f}"),
    ("TTFT p50", lambda f: f"{f.ttft_p50_ms:.0f} ms"),
    ("TTFT p95", lambda f: f"{f.ttft_p95_ms:.0f} ms"),
    ("in time", lambda f: _percent(f.within_slo)),
    ("answered", lambda f: _percent(f.success)),
    ("tries", lambda f: f"{f.attempts:.3f}"),
    ("cached", lambda f: f"{100 * f.cached:.0f} %"),
    ("outage left, back", lambda f: _reaction(f.outage)),
    ("slow left, back", lambda f: _reaction(f.slow_down)),
    ("limit used", lambda f: _percent(f.limit_use)),
    ("429s there", lambda f: _percent(f.limit_refused)),
)


def rows_of(results: Sequence[Result]) -> list[Row]:
    heading = ("way to choose", *(name for name, _ in COLUMNS))
    return [heading, *((one.name, *(cell(one.figures) for _, cell in COLUMNS)) for one in results)]


def plain(rows: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown(rows: Sequence[Row]) -> str:
    heading, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([heading, "|---" + "|--:" * (len(rows[0]) - 1) + "|", *body])


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _reaction(found: Reaction) -> str:
    if found.left_after_s is None:
        return "–"
    back = "–" if found.back_after_s is None else f"{found.back_after_s:.0f} s"
    return f"{found.left_after_s:.0f} s, {back}"
