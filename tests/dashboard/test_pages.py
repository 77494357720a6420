"""Each page says what it must, at a fixed number of queries."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from django.test import Client

from analytics import queries
from analytics.queries.types import Scope
from dashboard import formatting
from routing.models import Endpoint, FormCell, Price, Provider
from routing.services import policies
from tests.dashboard.conftest import NOW, Enter
from tests.dashboard.world import Traffic, World

CountQueries = Callable[[int], AbstractContextManager[object]]
MOST_HTML_BYTES = 30_000  # gzipped

# address -> queries, session and user included
COUNTS = {
    "/": 9,
    "/requests/": 10,
    "/models/": 7,
    "/models/openai-gpt-oss-120b/": 9,
    "/providers/": 10,
    "/providers/groq/": 10,
    "/policies/": 6,
    "/compare/": 8,
    "/compare/groq-vs-together/": 8,
    "/compare/groq~openai-gpt-oss-120b-vs-novita~openai-gpt-oss-120b/": 8,
    "/spend/": 8,
    "/spend/bill.csv": 5,
    "/playground/": 5,
    "/keys/": 5,
}
WHAT_CHANGED = 3  # more on the overview, once a minute
MOST_QUERIES = 12
PAGES = tuple(address for address in COUNTS if not address.endswith(".csv"))


def text_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.styled: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if "style" in found:
            self.styled.append(tag)


@pytest.mark.parametrize("address", COUNTS)
def test_a_page_costs_a_known_number_of_queries(
    owner: Client, address: str, django_assert_num_queries: CountQueries
) -> None:
    owner.get("/")
    with django_assert_num_queries(COUNTS[address]):
        assert owner.get(address).status_code == 200


@pytest.mark.parametrize("address", [*COUNTS, "/policies/balanced/", "a receipt"])
def test_no_page_costs_more_than_twelve_queries_whatever_has_to_be_worked_out(
    world: World, owner: Client, address: str, django_assert_max_num_queries: CountQueries
) -> None:
    policies.save_policy(name="balanced", document={"objective": "balanced"}, is_default=True)
    address = f"/requests/{world.rescued}/" if address == "a receipt" else address
    with django_assert_max_num_queries(MOST_QUERIES):
        assert owner.get(address).status_code == 200


def test_what_changed_is_worked_out_once_a_minute(
    owner: Client, django_assert_num_queries: CountQueries
) -> None:
    with django_assert_num_queries(COUNTS["/"] + WHAT_CHANGED):
        owner.get("/")


def test_the_number_of_queries_does_not_grow_with_the_rows(
    world: World, owner: Client, django_assert_max_num_queries: CountQueries
) -> None:
    novita = Provider.objects.get(slug="novita")
    for number in range(20):
        Endpoint.objects.create(
            provider=novita,
            model=Endpoint.objects.filter(provider__slug="groq")[0].model,
            upstream_model=f"copy-{number}",
        )
    for address in ("/models/", "/providers/novita/", "/compare/groq-vs-novita/"):
        with django_assert_max_num_queries(COUNTS.get(address, COUNTS["/providers/groq/"])):
            owner.get(address)


@pytest.mark.parametrize("address", PAGES)
def test_a_page_is_well_formed(owner: Client, address: str) -> None:
    page = text_of(owner, address)
    outline = _Outline()
    outline.feed(page)
    assert outline.tags.count("h1") == 1
    assert outline.tags.count("main") == 1
    assert len(outline.ids) == len(set(outline.ids)), "ids must be unique"
    assert outline.styled == [], "the content policy allows no style attributes"
    assert 'href="#main"' in page
    assert len(gzip.compress(page.encode())) <= MOST_HTML_BYTES


@pytest.mark.parametrize("address", ["/", "/requests/", "/models/", "/providers/", "/spend/"])
def test_simulated_figures_are_called_so(owner: Client, address: str) -> None:
    assert "Simulated data" in text_of(owner, address)


def test_nothing_is_called_simulated_when_nothing_is(world: World, owner: Client) -> None:
    Provider.objects.update(simulated_base_url="")
    for address in ("/models/", "/providers/", "/compare/groq-vs-novita/"):
        assert "imulated" not in text_of(owner, address), address


def test_the_overview_shows_the_headline_of_the_metric_layer(world: World, owner: Client) -> None:
    scope = Scope(frozenset({world.project.pk, world.batch_project.pk}))
    bill = queries.monthly_bill(scope, NOW.date())
    page = text_of(owner, "/")
    assert formatting.money(bill.total_usd) in page
    assert f">{bill.requests:,}</a>" in page
    assert "Why this number: Delivered success" in page


def test_success_without_failures_is_never_printed_bare(empty_hub: World, enter: Enter) -> None:
    from tests.dashboard.test_tags import share

    assert share(100, 100) in "0 of 100 failed (true rate could be up to 3.7%)"


def test_a_price_change_is_told_on_the_overview(world: World, owner: Client) -> None:
    endpoint = Endpoint.objects.get(provider__slug="groq", model__name="openai/gpt-oss-120b")
    Price.objects.create(
        endpoint=endpoint,
        meter="output",
        unit_price_usd=Decimal("0.45"),
        effective_from=NOW.replace(day=16),
        source="listing",
        checked_on=NOW.date(),
    )
    page = text_of(owner, "/")
    assert "Groq · openai/gpt-oss-120b: output price fell from $0.60 to $0.45" in page


def test_a_price_that_holds_under_a_condition_is_told_with_it(owner: Client) -> None:
    endpoint = Endpoint.objects.get(provider__slug="groq", model__name="openai/gpt-oss-120b")
    for day, usd in ((3, "0.40"), (16, "0.30")):
        Price.objects.create(
            endpoint=endpoint,
            meter="output",
            unit_price_usd=Decimal(usd),
            effective_from=NOW.replace(day=day),
            service_tier="flex",
            source="listing",
            checked_on=NOW.date(),
        )
    assert "output price (tier flex) fell from $0.40 to $0.30" in text_of(owner, "/")
    page = text_of(owner, "/models/openai-gpt-oss-120b/")
    assert "apart from 1 change of prices that hold under conditions only" in page


def test_a_changed_policy_leads_to_its_page(owner: Client) -> None:
    for objective in ("cheapest", "fastest"):
        policies.save_policy(name="thrifty", document={"objective": objective})
    assert '<a href="/policies/thrifty/">Policy thrifty is now at version 2' in text_of(owner, "/")


def test_a_pending_price_is_no_change_yet(world: World, owner: Client) -> None:
    endpoint = Endpoint.objects.get(provider__slug="groq", model__name="openai/gpt-oss-120b")
    Price.objects.create(
        endpoint=endpoint,
        meter="output",
        unit_price_usd=Decimal("0.01"),
        effective_from=NOW.replace(day=16),
        source="listing",
        checked_on=NOW.date(),
        state=Price.State.PENDING,
    )
    assert "$0.01" not in text_of(owner, "/")
    assert "$0.01" not in text_of(owner, "/models/openai-gpt-oss-120b/")


def test_the_first_run_leads_to_a_request(empty_hub: World, enter: Enter) -> None:
    page = text_of(enter(empty_hub.owner), "/")
    assert "Ready for the first request" in page
    assert "http://testserver/v1/chat/completions" in page
    assert "You have an API key" in page


def test_someone_without_an_organization_is_told_whom_to_ask(
    empty_hub: World, enter: Enter
) -> None:
    assert "Ask an owner" in text_of(enter(empty_hub.newcomer), "/")


def test_requests_of_an_empty_hub_say_what_to_do(empty_hub: World, enter: Enter) -> None:
    page = text_of(enter(empty_hub.owner), "/requests/")
    assert "No request fits" in page
    assert 'href="/playground/"' in page


def test_a_model_lists_each_endpoint_with_price_and_interval(owner: Client) -> None:
    page = text_of(owner, "/models/openai-gpt-oss-120b/")
    for provider in ("Groq", "Together AI", "Novita"):
        assert provider in page
    assert "$0.2625" in page  # blended 3:1 of 0.15 and 0.60
    assert 'class="whisker"' in page
    assert "fp8" in page
    assert "cheapest" in page


def test_a_model_s_button_says_which_endpoints_it_compares(owner: Client) -> None:
    served = Endpoint.objects.filter(model__name="openai/gpt-oss-120b")
    assert "Compare all 3</a>" in text_of(owner, "/models/openai-gpt-oss-120b/")
    served.filter(provider__slug="groq").update(status="retired")
    assert "Compare both</a>" in text_of(owner, "/models/openai-gpt-oss-120b/")
    served.filter(provider__slug="novita").update(status="retired")
    assert "Compare both" not in text_of(owner, "/models/openai-gpt-oss-120b/")


def test_the_order_of_a_table_is_in_the_address(owner: Client) -> None:
    dear = text_of(owner, "/models/openai-gpt-oss-120b/?sort=-price")
    cheap = text_of(owner, "/models/openai-gpt-oss-120b/?sort=price")
    assert cheap.index(">Novita</a>") < cheap.index(">Groq</a>")
    assert dear.index(">Groq</a>") < dear.index(">Novita</a>")
    assert 'aria-sort="descending"' in dear


def test_an_unmeasured_model_says_so(owner: Client) -> None:
    page = text_of(owner, "/models/quiet-silent-1/")
    assert "not measured" in page
    assert 'class="whisker"' not in page


def test_models_are_found_by_text_and_facets(owner: Client) -> None:
    page = text_of(owner, "/models/?q=llama")
    assert "1 of 3 models" in page
    page = text_of(owner, "/models/?capability=json_mode&maker=OpenAI")
    assert "1 of 3 models" in page
    page = text_of(owner, "/models/?q=nothing-like-it")
    assert "No model fits" in page


def test_facet_counts_say_what_one_would_see(owner: Client) -> None:
    page = text_of(owner, "/models/?maker=Meta")
    assert 'value="OpenAI"' in page  # another maker can still be added
    assert page.count('<span class="n">1</span>') >= 3


def test_an_unknown_name_is_not_found_in_plain_words(owner: Client) -> None:
    answer = owner.get("/models/no-such-model/")
    assert answer.status_code == 404
    assert "There is no model" in answer.content.decode()


def test_a_receipt_explains_every_cent(world: World, owner: Client) -> None:
    receipt = queries.receipt(Scope(None), world.rescued)  # type: ignore[arg-type]
    assert receipt is not None
    page = text_of(owner, f"/requests/{world.rescued}/")
    assert formatting.money_exact(receipt.request.cost_usd) in page
    for attempt in receipt.attempts:
        for line in attempt.lines:
            assert f"#{line.price_id}" in page
            assert formatting.money_exact(line.amount_usd) in page
    assert "Attempt 2 at" in page
    assert page.count('class="seg ') >= 3


def test_a_receipt_names_why_each_candidate_was_left_out(world: World, owner: Client) -> None:
    from dashboard.words import EXCLUSIONS

    receipt = next(
        found
        for request_id in world.requests
        if (found := queries.receipt(Scope(None), request_id))
        and found.request.project_id == world.project.pk
    )
    page = text_of(owner, f"/requests/{receipt.request.request_id}/")
    for candidate in receipt.candidates:
        assert candidate.provider_name in page
        if candidate.excluded:
            assert EXCLUSIONS[candidate.excluded] in page


@pytest.mark.parametrize(
    ("status", "day", "words"),
    [
        ("active", 30, "retires 2026-11-30"),
        ("deprecated", 7, "was to retire 2026-11-07"),
        ("active", 7, "retired 2026-11-07"),  # the gateway no longer asks it either
    ],
)
def test_a_day_of_retirement_is_told_as_what_it_is(
    owner: Client, status: str, day: int, words: str
) -> None:
    groq = Endpoint.objects.filter(provider__slug="groq", model__name="openai/gpt-oss-120b")
    groq.update(status=status, retires_on=NOW.date().replace(day=day))
    assert f">{words}<" in text_of(owner, "/models/openai-gpt-oss-120b/")


def test_a_model_measured_too_seldom_is_not_called_unmeasured(
    empty_hub: World, enter: Enter
) -> None:
    Traffic(empty_hub, ["openai/gpt-oss-120b"]).spread(days=0, per_day=4).record()
    page = text_of(enter(empty_hub.owner), "/models/?q=gpt-oss")
    assert ">too few<" in page


def test_sound_form_is_shown_with_its_n_once_answers_were_looked_at(owner: Client) -> None:
    address = "/models/openai-gpt-oss-120b/"
    assert "Sound form" not in text_of(owner, address)
    groq = Endpoint.objects.get(provider__slug="groq", model__slug="openai-gpt-oss-120b")
    FormCell.objects.create(
        bucket_start=NOW - dt.timedelta(hours=1), endpoint_id=groq.pk, answers=480, sound=360
    )
    for shown in (text_of(owner, address), text_of(owner, "/providers/groq/")):
        assert "Sound form" in shown
        assert "75" in shown
        assert "n 480" in shown
