"""The kept page says what happens now, and nothing is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.matrix.cells import BROKEN, Observed, cells
from tests.matrix.live import KEPT, observed_on
from tests.matrix.page import page
from tests.support.fast_hub import fast_hub

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def observed() -> Iterator[Sequence[Observed]]:
    """On a hub of its own: the shared one keeps the providers' real pace."""
    with fast_hub() as hub:
        yield observed_on(hub, cells())


def test_every_cell_works_or_is_refused_clearly(observed: Sequence[Observed]) -> None:
    broken = [seen for seen in observed if seen.state == BROKEN]
    assert not broken, "\n\n".join(
        f"{seen.cell.surface.name} x {seen.cell.dialect.title} x {seen.cell.feature.title}:\n"
        f"{seen.why}"
        for seen in broken
    )


def test_the_kept_matrix_is_what_is_observed(observed: Sequence[Observed]) -> None:
    assert KEPT.read_text() == page(observed), "write it anew with: make matrix"
