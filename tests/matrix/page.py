"""The matrix as a page."""

from __future__ import annotations

from collections.abc import Sequence

from tests.matrix.cells import DIALECTS, NOT_OFFERED, REFUSED, WORKS, Observed
from tests.matrix.features import FEATURES
from tests.matrix.surfaces import SURFACES, Surface

MARKS = {WORKS: "works", REFUSED: "refused clearly", NOT_OFFERED: "not offered by provider"}
LEFT_OUT = "left out"
HEAD = """# What works with what

Each table is a client's dialect, each column the dialect in which the hub asks the provider. Every
cell was observed: `python -m tests.matrix` starts a hub with simulated providers, asks, looks at the
answer and at what the provider received, and writes this page. A test fails when the page says
something else than what happens.

- **works**: the answer is right, and where it matters the provider received what was asked.
- **refused clearly**: an error of the client's own dialect names the field, and nothing was billed.
- **not offered by provider**: the same, because the provider has no such thing.
- **\\***: refused so only where `provider.require_parameters` is set. Without it the rest is answered,
  and the header `x-panelboard-dropped-params` names what was left out.

"""


def page(observed: Sequence[Observed]) -> str:
    return HEAD + "\n".join(_table(surface, observed) for surface in SURFACES) + _models()


def _table(surface: Surface, observed: Sequence[Observed]) -> str:
    cells = {
        (seen.cell.feature.title, seen.cell.dialect.title): _word(seen)
        for seen in observed
        if seen.cell.surface is surface
    }
    titles = [dialect.title for dialect in DIALECTS]
    lines = [
        f"## {surface.title}: `POST {surface.path}`",
        "",
        f"| feature | {' | '.join(titles)} |",
        f"|---|{'---|' * len(titles)}",
    ]
    lines += [
        f"| {feature.title} | {' | '.join(cells[feature.title, title] for title in titles)} |"
        for feature in FEATURES
    ]
    return "\n".join(lines) + "\n"


def _word(seen: Observed) -> str:
    """A broken cell is named so, for whoever looks for the cause; a test refuses such a page."""
    star = " \\*" if seen.why.startswith(LEFT_OUT) else ""
    return MARKS.get(seen.state, seen.state) + star


def _models() -> str:
    lines = ["", "## Who was asked", "", "| dialect | model | for reasoning |", "|---|---|---|"]
    lines += [
        f"| {dialect.title} | `{dialect.plain.model}` at {dialect.plain.provider} "
        f"| `{dialect.thinking.model}` at {dialect.thinking.provider} |"
        for dialect in DIALECTS
    ]
    return "\n".join(lines) + "\n"
