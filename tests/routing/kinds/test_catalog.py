"""Kinds in the catalog: loaded, refused where nobody could ask for them, and in the snapshot."""

from __future__ import annotations

from typing import Any

import pytest

from routing.catalog.document import CatalogInvalid
from routing.catalog.files import SHIPPED, read
from routing.core.kinds import KIND_NAMES
from routing.models import Provider
from routing.selectors import pages
from routing.services import catalog, price_refresh, probes
from routing.services.snapshots import load_snapshot
from tests.routing.factories import NOON

pytestmark = pytest.mark.django_db

START = "2026-01-01T00:00:00Z"


def document(
    kind: str, dialect: str = "openai_compat", meter: str = "input", usd: str = "1"
) -> Any:
    price = {"meter": meter, "usd": usd, "effective_from": START, "source": "test"}
    return {
        "format": "panelboard-catalog/1",
        "providers": [
            {
                "slug": "alpha",
                "name": "Alpha",
                "dialect": dialect,
                "base_url": "https://api.alpha.example/v1",
                "quirks": {"drop_params": ["logprobs"], "kind_drop_params": {"image": ["style"]}},
            }
        ],
        "models": [{"name": "maker/model", "kind": kind}],
        "endpoints": [
            {
                "provider": "alpha",
                "model": "maker/model",
                "upstream_model": "m",
                "prices": [price],
            }
        ],
    }


def test_a_models_kind_reaches_the_snapshot() -> None:
    catalog.load(document("image", meter="image", usd="0.02"))
    snapshot = load_snapshot()
    (endpoint,) = snapshot.endpoints.values()
    assert (snapshot.models["maker/model"].kind, endpoint.kind) == ("image", "image")
    assert endpoint.unsupported_parameters == {"style"}
    catalog.load(document("chat"))
    (endpoint,) = load_snapshot().endpoints.values()
    assert (endpoint.kind, endpoint.unsupported_parameters) == ("chat", {"logprobs"})


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(CatalogInvalid, match="unknown kind 'imagery'; did you mean image"):
        catalog.load(document("imagery"))


def test_a_kind_that_the_providers_dialect_cannot_say_is_refused() -> None:
    with pytest.raises(CatalogInvalid, match="the dialect anthropic has no words for"):
        catalog.load(document("embedding", "anthropic"))


def test_prices_per_piece_may_have_twelve_decimals_and_prices_per_million_six() -> None:
    catalog.load(document("transcription", meter="audio_second", usd="0.000011111111"))
    for meter in ("character", "pixel", "input"):
        with pytest.raises(CatalogInvalid, match="more than 6 decimals"):
            catalog.load(document("speech", meter=meter, usd="0.0000001"))


def test_the_shipped_catalog_loads_with_all_kinds() -> None:
    catalog.load_all(read(SHIPPED))
    snapshot = load_snapshot()
    assert {model.kind for model in snapshot.models.values()} == KIND_NAMES
    assert snapshot.models[pages.some_model()].kind == "chat"
    assert {row.model.kind for row in pages.endpoints(NOON)} == KIND_NAMES


def test_a_listing_that_says_zero_for_an_answer_in_tokens_proposes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_listing = document("embedding")
    listing = {"path": "/models", "kind": "novita", "needs_key": False}
    with_listing["providers"][0]["listing"] = listing
    catalog.load(with_listing)
    row = {"id": "m", "input_token_price_per_m": 10_000, "output_token_price_per_m": 0}
    monkeypatch.setattr(price_refresh, "_fetch", lambda _: {"data": [row]})
    report = price_refresh.refresh(Provider.objects.get(slug="alpha"))
    assert (report.added, report.held, report.unchanged) == (0, 0, 1)


@pytest.mark.parametrize(
    ("kind", "is_probed"), [("embedding", True), ("image", False), ("speech", False)]
)
def test_pictures_and_sound_are_not_probed(
    monkeypatch: pytest.MonkeyPatch, kind: str, is_probed: bool
) -> None:
    monkeypatch.setenv("ALPHA_KEY", "k")
    with_key = document(kind)
    with_key["credentials"] = [{"provider": "alpha", "name": "main", "env": "ALPHA_KEY"}]
    catalog.load(with_key)
    snapshot = load_snapshot()
    (endpoint,) = snapshot.endpoints.values()
    assert endpoint.credentials
    assert bool(probes.routable(snapshot, endpoint.provider.id)) is is_probed
    assert bool(probes.unmeasured(snapshot)) is is_probed
