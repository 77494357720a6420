"""Models that are not chat: their own prices, figures, addresses and meters on every page."""

from __future__ import annotations

import html
import re
from decimal import Decimal
from uuid import UUID

import pytest
from django.test import Client

from analytics import queries
from analytics.queries.types import Scope
from dashboard import formatting, list_prices, model_kinds, snippets, words
from dashboard.model_kinds import Used
from routing.core.kinds import KINDS
from routing.core.usage import Meter
from tests.dashboard.conftest import MODELS, NOW, Enter
from tests.dashboard.kinds_world import RefusedTraffic, add_kinds
from tests.dashboard.world import Traffic, World

ROWS = re.compile(r'<th scope="row" class="who"><a href="/models/([^/]+)/"')
PRICES = {
    "acme-embed-1": ("$0.02\N{EN DASH}$0.05", "per 1M tokens in"),
    "acme-rank-1": ("$0.002", "per search"),
    "acme-paint-1": ("$0.003", "per image"),
    "acme-hear-1": ("$0.0006667", "per minute of audio"),
    "acme-speak-1": ("$15.00", "per 1M characters"),
}


@pytest.fixture
def requests(world: World) -> dict[str, UUID]:
    return add_kinds(world)


@pytest.fixture
def page(requests: dict[str, UUID], owner: Client) -> Client:
    """A browser of the owner, on a hub that serves every kind."""
    return owner


def text_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return html.unescape(answer.content.decode())


def row_of(text: str, slug: str) -> str:
    start = text.index(f'<a href="/models/{slug}/">')
    return text[start : text.index("</tr>", start)]


# --- the list of models ---------------------------------------------------------------------------


@pytest.mark.parametrize("slug", PRICES)
def test_a_model_is_priced_by_what_its_kind_is_sold_by(page: Client, slug: str) -> None:
    row = row_of(text_of(page, "/models/"), slug)
    for wanted in PRICES[slug]:
        assert wanted in row
    assert "unpriced" not in row


def test_prices_of_two_units_are_never_one_range(page: Client) -> None:
    row = row_of(text_of(page, "/models/"), "acme-paint-1")
    assert "per image" in row
    assert "$0.0013" in row
    assert "per 1M pixels" in row


def test_a_kind_without_speed_says_why_rather_than_not_measured(page: Client) -> None:
    row = row_of(text_of(page, "/models/"), "acme-embed-1")
    assert "not measured" not in row
    assert "Vectors come all at once" in row
    assert "Embedding" in row


@pytest.mark.parametrize(
    ("slug", "is_probed"),
    [
        ("openai-gpt-oss-120b", True),
        ("acme-embed-1", True),
        ("acme-rank-1", True),
        ("acme-paint-1", False),
        ("acme-hear-1", False),
        ("acme-speak-1", False),
    ],
)
def test_a_model_page_says_when_the_hub_does_not_probe(
    page: Client, slug: str, is_probed: bool
) -> None:
    assert ("does not probe such models" in text_of(page, f"/models/{slug}/")) is not is_probed


@pytest.mark.parametrize("sort", ["model", "price", "-price", "-speed", "-context"])
def test_models_are_listed_kind_by_kind(page: Client, sort: str) -> None:
    found = ROWS.findall(text_of(page, f"/models/?sort={sort}"))
    kinds = [slug.split("-")[1] if slug.startswith("acme") else "chat" for slug in found]
    order = ["chat", "embed", "rank", "paint", "hear", "speak"]
    assert list(dict.fromkeys(kinds)) == order
    assert kinds == sorted(kinds, key=order.index)


def test_models_are_narrowed_by_kind(page: Client) -> None:
    text = text_of(page, "/models/?kind=image&kind=speech")
    assert set(ROWS.findall(text)) == {"acme-paint-1", "acme-speak-1"}
    assert 'name="kind" value="image" checked' in text
    assert 'name="kind" value="embedding">' in text  # can still be added


# --- one model, one provider ----------------------------------------------------------------------


@pytest.mark.parametrize("slug", PRICES)
def test_a_model_page_has_the_columns_of_its_kind_alone(page: Client, slug: str) -> None:
    text = text_of(page, f"/models/{slug}/")
    for absent in ("TTFT", "Speed p50", "Cache read", "Blended"):
        assert absent not in text, absent
    assert "End to end p50" in text
    for wanted in PRICES[slug]:
        assert wanted in text


@pytest.mark.parametrize(
    ("slug", "path"),
    [
        ("openai-gpt-oss-120b", "/v1/chat/completions"),
        ("acme-embed-1", "/v1/embeddings"),
        ("acme-rank-1", "/v1/rerank"),
        ("acme-paint-1", "/v1/images/generations"),
        ("acme-hear-1", "/v1/audio/transcriptions"),
        ("acme-speak-1", "/v1/audio/speech"),
    ],
)
def test_a_model_page_shows_calls_to_the_address_that_serves_it(
    page: Client, slug: str, path: str
) -> None:
    text = text_of(page, f"/models/{slug}/")
    assert f"curl http://testserver{path} " in text
    assert ("/v1/chat/completions" in text) == (path == "/v1/chat/completions")


@pytest.mark.parametrize("kind", KINDS)
def test_the_python_example_of_each_kind_is_python(kind: str) -> None:
    code = snippets.python("http://hub/v1", "acme/model-1", kind)
    compile(code, "example", "exec")
    assert "acme/model-1" in code


def test_a_provider_has_a_table_for_each_kind_that_it_serves(page: Client) -> None:
    text = text_of(page, "/providers/groq/")
    heads = re.findall(r'<h2 id="serves-(\w+)">', text)
    assert heads == ["chat", "embedding", "rerank", "transcription", "speech"]


def test_the_cheapest_badge_is_given_within_one_unit_alone(page: Client) -> None:
    assert ">cheapest<" in text_of(page, "/models/acme-embed-1/")
    assert ">cheapest" not in text_of(page, "/models/acme-paint-1/")


def test_every_meter_that_can_be_priced_has_a_unit() -> None:
    assert set(list_prices.UNITS) == {*map(str, Meter), list_prices.BLENDED}
    assert set(words.METERS) == {str(meter) for meter in Meter}


def test_every_kind_and_surface_of_the_hub_has_words() -> None:
    assert set(model_kinds.KINDS) == set(KINDS)
    served = {kind.surface: kind.path for kind in KINDS.values()}
    assert served.items() <= {n: s.path for n, s in model_kinds.SURFACES.items()}.items()


def test_a_price_per_second_is_shown_by_the_minute_without_its_rounding() -> None:
    assert list_prices.amount_words(Meter.AUDIO_SECOND, Decimal("0.000011111111")) == "$0.0006667"
    assert list_prices.amount_words(Meter.AUDIO_SECOND, Decimal("0.0001")) == "$0.006"


# --- comparing ------------------------------------------------------------------------------------


def test_two_embedding_endpoints_are_compared_by_what_applies(page: Client) -> None:
    text = text_of(page, "/compare/groq~acme-embed-1-vs-novita~acme-embed-1/")
    assert "Groq is cheapest ($0.02 per 1M tokens in, 60% below Novita)" in text
    assert "End to end p50" in text
    for absent in ("TTFT", "Output speed", "blended", "Blended"):
        assert absent not in text, absent


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("acme-embed-1", "openai-gpt-oss-120b", "a chat model and an embedding model"),
        ("groq~acme-hear-1", "groq~acme-speak-1", "a transcription model and a speech model"),
    ],
)
def test_models_of_different_kinds_are_not_compared(
    page: Client, one: str, other: str, told: str
) -> None:
    asked = page.get("/compare/", {"s": [one, other]})
    assert asked.status_code == 400
    assert told in asked.content.decode()
    assert page.get(f"/compare/{one}-vs-{other}/").status_code == 404


def test_prices_by_different_units_are_not_ranked(page: Client) -> None:
    text = text_of(page, "/compare/novita~acme-paint-1-vs-together~acme-paint-1/")
    assert "They are priced by different units" in text
    assert "lowest" not in text


def test_models_in_common_are_priced_whatever_their_kind(page: Client) -> None:
    text = text_of(page, "/compare/groq-vs-novita/")
    row = row_of(text, "acme-embed-1")
    assert "$0.02" in row
    assert "per 1M tokens in" in row
    assert "lowest" not in row_of(text, "acme-rank-1")  # by search here, by tokens there


# --- the log and its receipts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "used", "unit"),
    [
        ("embedding", "1,200 tokens in", "per 1M tokens in"),
        ("image", "2 images, 2.10M pixels", "per "),
        ("transcription", "14 seconds of audio", "per second of audio"),
        ("speech", "1 character", "per 1M characters"),
    ],
)
def test_a_receipt_tells_surface_and_quantities(
    page: Client, requests: dict[str, UUID], kind: str, used: str, unit: str
) -> None:
    text = text_of(page, f"/requests/{requests[kind]}/")
    assert KINDS[kind].path in text
    assert used in text
    assert unit in text
    assert "First token" not in text
    assert "TTFT" not in text


def test_the_list_tells_surface_and_quantities(page: Client) -> None:
    text = text_of(page, "/requests/?surface=transcriptions")
    assert text.count("14 seconds of audio") == 3
    assert "Transcriptions" in text
    assert "Embeddings</span>" not in text


def test_the_list_is_narrowed_by_surface_and_the_chip_says_so(page: Client) -> None:
    text = text_of(page, "/requests/?surface=embeddings")
    assert len(re.findall(r'<th scope="row" class="nowrap">', text)) == 6
    assert "<b>Embeddings</b>" in text


def test_a_receipt_without_a_decision_names_no_policy(world: World, owner: Client) -> None:
    traffic = RefusedTraffic(world, MODELS)
    refused = traffic.one(NOW, key=world.key)
    traffic.record()
    text = text_of(owner, f"/requests/{refused}/")
    assert "Ended before any policy was asked" in text
    assert not re.search(r"Policy\s*</div>", text)
    row = text_of(owner, "/requests/")
    assert ">nothing<" in row


def test_the_list_can_show_every_kind_of_traffic(world: World, owner: Client) -> None:
    traffic = Traffic(world, MODELS)
    shadow = traffic.one(NOW, key=world.key, kind="shadow")
    traffic.record()
    assert f"/requests/{shadow}/" not in text_of(owner, "/requests/")
    assert f"/requests/{shadow}/" in text_of(owner, "/requests/?kind=shadow")
    assert f"/requests/{shadow}/" in text_of(owner, "/requests/?kind=all")


@pytest.mark.parametrize(
    ("used", "told"),
    [
        (Used(1, 0), ["1 token in"]),
        (Used(12_500, 7), ["12.5k tokens in, 7 out"]),
        (Used(0, 5), ["5 tokens out"]),
        (Used(0, 0, images=1, searches=2), ["1 image", "2 searches"]),
        (Used(0, 0, audio_seconds=1), ["1 second of audio"]),
        (Used(None, None), []),
        (Used(0, 0), []),
    ],
)
def test_quantities_are_told_in_words(used: Used, told: list[str]) -> None:
    assert list(model_kinds.words(used)) == told


# --- money ----------------------------------------------------------------------------------------


def test_the_bill_counts_every_kind(page: Client, world: World) -> None:
    bill = queries.monthly_bill(Scope(frozenset({world.project.pk})), NOW.date())
    by_model = {row.label: row for row in bill.by_model}
    heard = by_model["acme/hear-1"]
    assert heard.cost_usd == heard.ok * 14 * Decimal("0.000011111111")
    assert by_model["acme/embed-2"].input_tokens == by_model["acme/embed-2"].ok * 1200
    text = text_of(page, "/spend/")
    assert "Not sold by the token" in row_of(text, "acme-hear-1")
    assert formatting.tokens(by_model["acme/embed-2"].input_tokens) in row_of(text, "acme-embed-2")


def test_the_playground_offers_chat_models_alone(page: Client, enter: Enter) -> None:
    assert "acme-embed-1" not in text_of(page, "/playground/")
