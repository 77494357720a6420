from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pytest_django import Settings

from routing.models import Endpoint, Price
from routing.services import prices
from routing.services.prices import Outcome, PriceRefused, Proposal
from tests.routing.edge import documents
from tests.routing.edge.documents import quote

JUNE, JULY, AUGUST = (dt.datetime(2026, month, 1, tzinfo=dt.UTC) for month in (6, 7, 8))


@pytest.fixture
def endpoint(db: None) -> Endpoint:
    """Its input price is 0.20, its output price 0.80."""
    documents.load()
    return documents.alpha_endpoint()


def propose(endpoint: Endpoint, usd: str, **more: Any) -> Proposal:
    return prices.propose_price(endpoint=endpoint, quote=quote(usd, **more))


def test_an_unchanged_price_adds_nothing(endpoint: Endpoint) -> None:
    assert propose(endpoint, "0.2").outcome is Outcome.UNCHANGED
    assert propose(endpoint, "0.200000").outcome is Outcome.UNCHANGED
    assert endpoint.prices.count() == 2


@pytest.mark.parametrize("usd", ["0.24", "0.16", "0.21"])
def test_a_small_change_is_a_new_dated_row_in_force(endpoint: Endpoint, usd: str) -> None:
    proposal = propose(endpoint, usd)
    assert proposal.outcome is Outcome.ADDED
    assert proposal.row.state == Price.State.APPROVED
    assert proposal.row.effective_from == JUNE


@pytest.mark.parametrize(
    ("usd", "reason"),
    [
        ("0.25", "25 %"),
        ("0.15", "25 %"),
        ("0", "would become free"),
        ("2.00", "a factor of 10"),
        ("0.02", "a factor of 10"),
    ],
)
def test_a_large_jump_waits_for_approval(endpoint: Endpoint, usd: str, reason: str) -> None:
    proposal = propose(endpoint, usd)
    assert proposal.outcome is Outcome.HELD
    assert reason in proposal.reason
    assert (proposal.row.state, proposal.row.note) == (Price.State.PENDING, proposal.reason)


def test_the_allowed_jump_is_a_setting(endpoint: Endpoint, settings: Settings) -> None:
    settings.PANELBOARD_PRICE_JUMP_PERCENT = 50
    assert propose(endpoint, "0.29").outcome is Outcome.ADDED


def test_the_same_proposal_is_asked_once(endpoint: Endpoint) -> None:
    assert propose(endpoint, "0.40").outcome is Outcome.HELD
    assert propose(endpoint, "0.40", effective_from=JULY).outcome is Outcome.UNCHANGED


def test_a_rejected_amount_is_not_proposed_again(endpoint: Endpoint) -> None:
    prices.reject_price(propose(endpoint, "0.40").row, decided_by="ada")
    assert propose(endpoint, "0.40", effective_from=JULY).outcome is Outcome.UNCHANGED


def test_a_newer_proposal_retires_the_older_one(endpoint: Endpoint) -> None:
    older = propose(endpoint, "0.40").row
    newer = propose(endpoint, "0.50", effective_from=JULY).row
    older.refresh_from_db()
    assert (older.state, newer.state) == (Price.State.REJECTED, Price.State.PENDING)
    assert older.decided_by == prices.SUPERSEDED


def test_approval_puts_the_row_in_force_and_says_who(endpoint: Endpoint) -> None:
    row = prices.approve_price(propose(endpoint, "0.40").row, decided_by="ada")
    assert (row.state, row.decided_by) == (Price.State.APPROVED, "ada")
    assert row.decided_at is not None
    assert propose(endpoint, "0.40", effective_from=JULY).outcome is Outcome.UNCHANGED


def test_the_second_of_two_decisions_is_told(endpoint: Endpoint) -> None:
    row = propose(endpoint, "0.40").row
    stale = Price.objects.get(pk=row.pk)
    prices.approve_price(row, decided_by="ada")
    with pytest.raises(PriceRefused, match="already approved by ada"):
        prices.reject_price(stale, decided_by="bob")


def test_a_listing_that_disagrees_with_a_price_by_hand_is_held(endpoint: Endpoint) -> None:
    propose(endpoint, "0.21", source=prices.BY_HAND)
    proposal = propose(endpoint, "0.22", effective_from=JULY)
    assert proposal.outcome is Outcome.HELD
    assert "by hand" in proposal.reason
    assert propose(endpoint, "0.23", effective_from=AUGUST, source=prices.BY_HAND).outcome is (
        Outcome.ADDED
    )


def test_a_first_price_of_zero_is_held_unless_the_endpoint_is_free(endpoint: Endpoint) -> None:
    assert propose(endpoint, "0", meter="cache_read").outcome is Outcome.HELD
    endpoint.is_free = True
    endpoint.save()
    assert propose(endpoint, "0", meter="request").outcome is Outcome.ADDED


def test_rows_of_other_conditions_are_not_compared(endpoint: Endpoint) -> None:
    assert propose(endpoint, "0.40", min_input_tokens=200_000).outcome is Outcome.ADDED
    assert propose(endpoint, "0.10", service_tier="flex").outcome is Outcome.ADDED
    night = {"utc_from_minute": 60, "utc_until_minute": 240}
    assert propose(endpoint, "0.05", **night).outcome is Outcome.ADDED


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"meter": "tokens"}, "unknown meter"),
        ({"usd": "-1"}, "not a price"),
        ({"usd": "NaN"}, "not a price"),
        ({"usd": "0.0000001"}, "decimals"),
        ({"effective_from": dt.datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
        ({"utc_from_minute": 60}, "beginning and its end"),
        ({"utc_from_minute": 60, "utc_until_minute": 1500}, "00:00 and 23:59"),
        ({"utc_from_minute": 60, "utc_until_minute": 60}, "differs"),
        ({"weekdays": 128}, "Monday"),
    ],
)
def test_what_is_no_price_is_refused(
    endpoint: Endpoint, change: dict[str, Any], expected: str
) -> None:
    with pytest.raises(PriceRefused, match=expected):
        propose(endpoint, **{"usd": "0.2", **change})
    assert endpoint.prices.count() == 2
