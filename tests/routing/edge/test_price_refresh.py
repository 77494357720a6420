from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from routing import tasks
from routing.models import Endpoint, Model, Price, Provider
from routing.services import price_refresh
from routing.services.price_refresh import RefreshFailed, RefreshReport
from routing.simulator.server import ThreadedSimulator
from tests.routing.edge import documents

Listing = Callable[[Any], None]


@pytest.fixture
def alpha(simulated: ThreadedSimulator) -> Provider:
    return Provider.objects.get(slug="alpha")


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch, alpha: Provider) -> Listing:
    """What the provider's listing answers, as text or as a document."""

    def answer(document: Any) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()

        async def read(url: str, headers: object) -> bytes:
            return body

        monkeypatch.setattr(price_refresh, "_read", read)

    return answer


def priced(input_usd: float, output_usd: float = 0.8) -> list[dict[str, Any]]:
    name = documents.BIG.lower()
    return [{"id": name, "pricing": {"input": input_usd, "output": output_usd}}]


def states() -> list[str]:
    rows = Price.objects.filter(endpoint=documents.alpha_endpoint(), source__contains="listing")
    return list(rows.values_list("state", flat=True))


def test_the_simulators_listing_agrees_with_the_catalog(alpha: Provider) -> None:
    assert price_refresh.refresh(alpha) == RefreshReport(unchanged=2)


def test_a_small_change_is_a_dated_row_with_its_source(alpha: Provider, listing: Listing) -> None:
    listing(priced(0.22))
    assert price_refresh.refresh(alpha) == RefreshReport(added=1, unchanged=1)
    assert price_refresh.refresh(alpha) == RefreshReport(unchanged=2)
    row = Price.objects.latest("pk")
    assert row.source == "simulated listing of together"
    assert row.source_url.endswith("/v1/models")


def test_a_large_jump_is_held(alpha: Provider, listing: Listing) -> None:
    listing(priced(2.0, 0))
    assert price_refresh.refresh(alpha) == RefreshReport(held=2)
    assert states() == ["pending", "pending"]


def test_models_that_the_catalog_does_not_have_are_passed_over(
    alpha: Provider, listing: Listing
) -> None:
    listing([{"id": "unknown/model", "pricing": {"input": 1, "output": 1}}])
    assert price_refresh.refresh(alpha) == RefreshReport()


def test_the_hf_router_names_models_canonically(alpha: Provider, listing: Listing) -> None:
    alpha.listing = {"path": "/models", "kind": "hf_router", "needs_key": False}
    offer = {"provider": "alpha-ai", "pricing": {"input": 0.21, "output": 0.8}}
    listing({"data": [{"id": documents.BIG, "providers": [offer]}]})
    assert price_refresh.refresh(alpha) == RefreshReport(added=1, unchanged=1)


@pytest.mark.parametrize(
    ("body", "expected"), [(b"<html>", "not JSON"), (b'{"error": 1}', "not a together listing")]
)
def test_an_unreadable_listing_changes_nothing(
    alpha: Provider, listing: Listing, body: bytes, expected: str
) -> None:
    listing(body)
    with pytest.raises(RefreshFailed, match=expected):
        price_refresh.refresh(alpha)
    assert "stay" not in tasks.refresh_prices_of(alpha.pk)
    assert states() == []


def test_a_provider_that_does_not_answer_is_told_by_the_task(alpha: Provider) -> None:
    alpha.simulated_base_url = "http://127.0.0.1:9/v1"
    alpha.save()
    assert "alpha" in tasks.refresh_prices_of(alpha.pk)


def test_an_error_status_is_told(alpha: Provider) -> None:
    alpha.listing = {"path": "/no-such-path", "kind": "together", "needs_key": False}
    with pytest.raises(RefreshFailed, match="status 404"):
        price_refresh.refresh(alpha)


@pytest.mark.django_db
def test_a_listing_that_needs_a_key_is_asked_with_one_only() -> None:
    documents.load()
    Provider.objects.filter(slug="alpha").update(listing={"path": "/models", "kind": "together"})
    assert price_refresh.refreshable() == []
    documents.load_with_keys()
    Provider.objects.filter(slug="alpha").update(listing={"path": "/models", "kind": "together"})
    assert [row.slug for row in price_refresh.refreshable()] == ["alpha"]


@pytest.mark.django_db
def test_the_schedule_fans_out_to_providers_whose_listing_tells_prices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents.load()
    sent: list[int] = []
    monkeypatch.setattr(tasks.refresh_prices_of, "delay", sent.append)
    assert tasks.refresh_prices() == 1
    assert sent == [Provider.objects.get(slug="alpha").pk]


def test_an_endpoint_of_another_region_shares_the_listed_price(
    alpha: Provider, listing: Listing
) -> None:
    Endpoint.objects.create(
        provider=alpha,
        model=Model.objects.get(name=documents.BIG),
        upstream_model=documents.alpha_endpoint().upstream_model,
        region="us",
    )
    listing(priced(0.2))
    assert price_refresh.refresh(alpha) == RefreshReport(added=2, unchanged=2)
