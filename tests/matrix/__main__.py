"""python -m tests.matrix: observes every cell on a hub of its own and writes docs/matrix.md."""

from __future__ import annotations

import sys
from collections import Counter

from tests.matrix.cells import BROKEN, cells
from tests.matrix.live import KEPT, observed_on
from tests.matrix.page import page
from tests.support.fast_hub import fast_hub


def main() -> int:
    with fast_hub() as hub:
        observed = observed_on(hub, cells())
    for seen in observed:
        if seen.state == BROKEN:
            cell = seen.cell
            print(f"{cell.surface.name} x {cell.dialect.title} x {cell.feature.title}: {seen.why}")
    print(dict(Counter(seen.state for seen in observed)))
    KEPT.write_text(page(observed))
    return 1 if any(seen.state == BROKEN for seen in observed) else 0


if __name__ == "__main__":
    sys.exit(main())
