"""Codes that the hub records are shown in plain words."""

from __future__ import annotations

from dashboard.words import EXCLUSIONS
from routing.core.decision import Exclusion


def test_every_reason_for_leaving_an_endpoint_out_has_words() -> None:
    assert set(EXCLUSIONS) == set(Exclusion)
