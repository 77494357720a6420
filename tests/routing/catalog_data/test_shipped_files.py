"""The catalog that ships with the hub: well-formed, complete, and nothing in it by accident."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import pytest

from routing.adapters.quirks import Quirks, quirks_from
from routing.adapters.registry import kinds_in
from routing.catalog.document import (
    Catalog,
    CatalogInvalid,
    EndpointRecord,
    PriceRecord,
    ProviderRecord,
    parse,
)
from routing.catalog.files import SHIPPED, read
from routing.core.catalog import CAPABILITIES
from routing.core.kinds import KIND_NAMES
from routing.core.usage import Meter
from routing.services.listings import KINDS

CHECKED_ON = dt.date(2026, 11, 23)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return parse(read(SHIPPED))


def endpoints_of(catalog: Catalog) -> list[EndpointRecord]:
    return [record for _, record in catalog.endpoints]


def providers_of(catalog: Catalog) -> dict[str, ProviderRecord]:
    return {record.slug: record for _, record in catalog.providers}


def prices_of(catalog: Catalog) -> Iterator[tuple[str, PriceRecord]]:
    for where, endpoint in catalog.endpoints:
        for price in endpoint.prices:
            yield where, price


def test_it_holds_at_least_the_promised_numbers(catalog: Catalog) -> None:
    active = [e for e in endpoints_of(catalog) if e.status != "retired"]
    assert len(catalog.providers) >= 16
    assert len(catalog.models) >= 24
    assert len(active) >= 130


def test_every_provider_and_model_has_an_endpoint(catalog: Catalog) -> None:
    endpoints = endpoints_of(catalog)
    assert {e.provider for e in endpoints} == set(providers_of(catalog))
    assert {e.model for e in endpoints} == {record.name for _, record in catalog.models}


def test_every_quirk_record_is_understood(catalog: Catalog) -> None:
    for provider in providers_of(catalog).values():
        assert isinstance(quirks_from(provider.quirks), Quirks)


def test_quirks_say_only_what_differs_from_the_plain_dialect(catalog: Catalog) -> None:
    plain = Quirks()
    for provider in providers_of(catalog).values():
        quirks = quirks_from(provider.quirks)
        repeated = [
            name for name in provider.quirks if getattr(quirks, name) == getattr(plain, name)
        ]
        assert not repeated, f"{provider.slug} repeats the default of {repeated}"


def test_every_listing_is_of_a_kind_that_can_be_read(catalog: Catalog) -> None:
    kinds = {p.listing["kind"] for p in providers_of(catalog).values() if p.listing}
    assert kinds
    assert kinds <= set(KINDS)


def test_every_provider_says_where_its_key_is_looked_for(catalog: Catalog) -> None:
    names = Counter(name for p in providers_of(catalog).values() for name in p.key_env)
    assert all(p.key_env for p in providers_of(catalog).values())
    assert max(names.values()) == 1, "one environment variable must not switch two providers on"


def test_every_provider_is_reached_over_tls(catalog: Catalog) -> None:
    assert all(p.base_url.startswith("https://") for p in providers_of(catalog).values())


def test_no_endpoint_is_there_twice(catalog: Catalog) -> None:
    endpoints = endpoints_of(catalog)
    by_model = Counter((e.provider, e.model, e.region) for e in endpoints)
    by_upstream = Counter((e.provider, e.upstream_model, e.region) for e in endpoints)
    assert [key for key, n in by_model.items() if n > 1] == []
    assert [key for key, n in by_upstream.items() if n > 1] == []


def test_no_two_models_answer_to_the_same_name(catalog: Catalog) -> None:
    names = Counter(
        name.lower()
        for _, m in catalog.models
        for name in {m.name.lower(), *map(str.lower, m.aliases)}
    )
    assert [name for name, n in names.items() if n > 1] == []


def test_capabilities_are_known_and_written_once(catalog: Catalog) -> None:
    for endpoint in endpoints_of(catalog):
        assert set(endpoint.capabilities) <= CAPABILITIES
        assert len(set(endpoint.capabilities)) == len(endpoint.capabilities)


def test_only_models_that_see_have_endpoints_that_see(catalog: Catalog) -> None:
    seeing = {m.name for _, m in catalog.models if "image" in m.input_modalities}
    assert {e.model for e in endpoints_of(catalog) if "vision" in e.capabilities} == seeing


# What an answer of a kind is billed by: one of these sets, whole.
BILLED_BY: dict[str, list[set[str]]] = {
    "chat": [{"input", "output"}],
    "embedding": [{"input"}],
    "rerank": [{"input"}, {"search"}],
    "image": [{"image"}, {"pixel"}, {"input", "output"}],
    "transcription": [{"audio_second"}, {"input", "output"}],
    "speech": [{"character"}, {"input", "output"}],
}


def test_every_paid_endpoint_has_unconditional_prices_for_what_it_is_billed_by(
    catalog: Catalog,
) -> None:
    kinds = {record.name: record.kind for _, record in catalog.models}
    for where, endpoint in catalog.endpoints:
        always = {
            p.meter
            for p in endpoint.prices
            if not (p.min_input_tokens or p.service_tier or p.utc_from or p.weekdays)
            and p.effective_from.date() <= CHECKED_ON
        }
        billed_by = BILLED_BY[kinds[endpoint.model]]
        assert endpoint.free or any(meters <= always for meters in billed_by), where


def test_enough_of_every_kind_is_offered(catalog: Catalog) -> None:
    kinds = {record.name: record.kind for _, record in catalog.models}
    offered = Counter(kinds[e.model] for e in endpoints_of(catalog) if e.status != "retired")
    least = {"embedding": 8, "rerank": 3, "image": 3, "transcription": 3, "speech": 2}
    assert {kind for kind, n in least.items() if offered[kind] < n} == set()
    assert set(kinds.values()) == KIND_NAMES


def test_every_model_can_be_asked_in_its_providers_dialects(catalog: Catalog) -> None:
    kinds = {record.name: record.kind for _, record in catalog.models}
    for where, endpoint in catalog.endpoints:
        dialect = providers_of(catalog)[endpoint.provider].dialect
        assert kinds[endpoint.model] in kinds_in(dialect), where


def test_some_models_of_other_kinds_can_fail_over(catalog: Catalog) -> None:
    kinds = {record.name: record.kind for _, record in catalog.models}
    hosts = Counter(e.model for e in endpoints_of(catalog))
    shared = {kinds[model] for model, n in hosts.items() if n > 1}
    assert {"chat", "embedding", "rerank"} <= shared


def test_no_price_is_zero_and_every_meter_is_known(catalog: Catalog) -> None:
    for where, price in prices_of(catalog):
        assert Decimal(price.usd) > 0, where
        assert Meter(price.meter), where


def test_every_price_names_its_source(catalog: Catalog) -> None:
    assert all(price.source and price.source_url for _, price in prices_of(catalog))


def test_every_record_says_when_it_was_checked(catalog: Catalog) -> None:
    records = [
        r for part in (catalog.providers, catalog.models, catalog.endpoints) for _, r in part
    ]
    assert {record.checked_on for record in records} == {CHECKED_ON}
    assert all(record.source for record in records)


def test_no_two_prices_of_an_endpoint_claim_the_same_moment(catalog: Catalog) -> None:
    for where, endpoint in catalog.endpoints:
        conditions = Counter(
            (p.meter, p.min_input_tokens, p.service_tier, p.utc_from, p.weekdays, p.effective_from)
            for p in endpoint.prices
        )
        assert [key for key, n in conditions.items() if n > 1] == [], where


def test_a_cached_token_never_costs_more_than_a_fresh_one(catalog: Catalog) -> None:
    for where, endpoint in catalog.endpoints:
        fresh = {_condition(p): Decimal(p.usd) for p in endpoint.prices if p.meter == "input"}
        for price in endpoint.prices:
            if price.meter == "cache_read":
                assert Decimal(price.usd) <= fresh[_condition(price)], where


def _condition(price: PriceRecord) -> tuple[object, ...]:
    return (price.min_input_tokens, price.service_tier, price.utc_from, price.weekdays)


def test_an_endpoint_whose_day_has_passed_is_not_called_active(catalog: Catalog) -> None:
    for where, endpoint in catalog.endpoints:
        if endpoint.retires_on and endpoint.retires_on <= CHECKED_ON:
            assert endpoint.status in {"deprecated", "retired"}, where


def test_an_answer_is_not_longer_than_the_window(catalog: Catalog) -> None:
    for where, e in catalog.endpoints:
        if e.context_window and e.max_output_tokens:
            assert e.max_output_tokens <= e.context_window, where


def test_deepseek_is_dearer_in_its_peak_hours_only(catalog: Catalog) -> None:
    endpoint = next(e for e in endpoints_of(catalog) if e.upstream_model == "deepseek-v4-pro")
    inputs = [p for p in endpoint.prices if p.meter == "input"]
    assert {(p.utc_from, p.utc_until) for p in inputs} == {
        (None, None),
        ("01:00", "04:00"),
        ("06:00", "10:00"),
    }
    assert {p.weekdays for p in inputs if p.utc_from} == {("mon", "tue", "wed", "thu", "fri")}
    off_peak = next(Decimal(p.usd) for p in inputs if p.utc_from is None)
    assert all(Decimal(p.usd) == 2 * off_peak for p in inputs if p.utc_from)


def test_a_misspelt_field_is_refused() -> None:
    documents = {name: document for name, document in read(SHIPPED) if isinstance(document, dict)}
    document = documents["endpoints-groq.json"]
    endpoint = {**document["endpoints"][0], "contextwindow": 1}
    with pytest.raises(CatalogInvalid, match="contextwindow"):
        parse([("groq", {**document, "endpoints": [endpoint]})])
