"""The log's list: filters and place live in the address."""

from __future__ import annotations

import datetime as dt
import re
from random import Random
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from django.http import QueryDict
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from analytics.models import RequestLog
from dashboard.forms import FilterChoices, FilterForm
from dashboard.words import KINDS, OUTCOMES
from routing.core import replay
from routing.core.decision import Candidate, Decision
from routing.core.ids import uuid7
from routing.models import Endpoint
from tests.dashboard.conftest import NOW, Enter
from tests.dashboard.world import World

ROW = re.compile(r'<th scope="row" class="nowrap"><a href="/requests/([0-9a-f-]{36})/"')


def rows(client: Client, address: str) -> list[str]:
    answer = client.get(address)
    assert answer.status_code == 200
    return ROW.findall(answer.content.decode())


def older(client: Client, address: str) -> str:
    page = client.get(address).content.decode()
    found = re.search(r'rel="next" href="([^"]+)"', page)
    return "/requests/" + found[1].replace("&amp;", "&") if found else ""


def test_pages_by_key_show_each_request_once(world: World, owner: Client) -> None:
    seen: list[str] = []
    address = "/requests/?period=30d"
    while address:
        seen += rows(owner, address)
        address = older(owner, address)
    theirs = {str(one) for one in world.requests}
    assert len(seen) == len(set(seen))
    assert set(seen) <= theirs
    assert seen == sorted(seen, reverse=True)


def test_the_filter_survives_on_the_next_page(owner: Client) -> None:
    address = older(owner, "/requests/?period=30d&kind=traffic")
    asked = parse_qs(urlsplit(address).query)
    assert asked["kind"] == ["traffic"]
    assert asked["period"] == ["30d"]


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        ("provider=groq", "/providers/groq/"),
        ("outcome=ok", "Delivered"),
        ("model=openai/gpt-oss-120b", "openai/gpt-oss-120b"),
    ],
)
def test_a_filter_narrows_the_rows_and_shows_as_a_chip(
    owner: Client, asked: str, holds: str
) -> None:
    page = owner.get(f"/requests/?period=30d&{asked}").content.decode()
    table = page[page.index("<tbody>") :]
    assert table.count(holds) >= len(ROW.findall(page)) > 0
    assert "Remove filter" in page


def test_a_damaged_page_marker_is_not_found(owner: Client) -> None:
    assert owner.get("/requests/?after=nonsense").status_code == 404


def test_new_rows_are_counted_without_moving_any(world: World, owner: Client) -> None:
    shown = rows(owner, "/requests/?period=30d")
    page = owner.get(f"/requests/new/?period=30d&since={shown[3]}").content.decode()
    assert "3 new" in page
    assert 'href="/requests/?period=30d"' in page
    assert owner.get(f"/requests/new/?period=30d&since={shown[0]}").content.strip() == b""
    assert owner.get("/requests/new/?since=soon").status_code == 404


def test_a_wrong_value_is_named_and_left_out(owner: Client) -> None:
    page = owner.get("/requests/?provider=nobody&period=forever").content.decode()
    assert "nobody is not one of the available choices" in page
    assert "That filter was left out" in page
    assert ROW.search(page)


CHOICES = FilterChoices(
    providers=[("groq", "Groq"), ("x/y:z", "Odd // one")],
    models=[("a/b:c", "a/b:c"), ("ünï cødé", "ünï")],
    projects=[("7", "Seven")],
    keys=[("9", "Nine")],
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "period": st.sampled_from(["1h", "24h", "7d", "month", "30d", "90d"]),
            "provider": st.sampled_from(["groq", "x/y:z"]),
            "model": st.sampled_from(["a/b:c", "ünï cødé"]),
            "project": st.just("7"),
            "key": st.just("9"),
            "outcome": st.sampled_from(sorted(OUTCOMES)),
            "kind": st.sampled_from(sorted(KINDS)),
            "until": st.sampled_from(["2026-11-01T10:00Z", "2026-10-05"]),
        },
    )
)
def test_each_state_can_be_written_into_an_address_and_read_back(state: dict[str, str]) -> None:
    asked = QueryDict(mutable=True)
    asked.update(state)
    form = FilterForm(asked, CHOICES, NOW)
    assert not form.errors
    again = FilterForm(QueryDict(asked.urlencode()), CHOICES, NOW)
    from analytics.queries.types import EVERYTHING

    assert again.filters(EVERYTHING) == form.filters(EVERYTHING)
    narrowing = set(state) - {"period", "until"}
    assert len(form.chips) == len(narrowing)
    for chip in form.chips:
        left = FilterForm(QueryDict(chip.remove_url[1:]), CHOICES, NOW)
        assert len(left.chips) == len(form.chips) - 1
        assert left.span == form.span


def test_a_window_moves_by_its_own_length_and_back() -> None:
    now = FilterForm(QueryDict("period=24h"), CHOICES, NOW)
    assert now.later_url == ""
    earlier = FilterForm(QueryDict(now.earlier_url[1:]), CHOICES, NOW)
    assert earlier.span.end == now.span.start
    assert earlier.later_url == "?period=24h"


def test_a_month_is_a_calendar_month_in_both_directions() -> None:
    now = FilterForm(QueryDict("period=month"), CHOICES, NOW)
    assert now.span.start == dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    october = FilterForm(QueryDict(now.earlier_url[1:]), CHOICES, NOW)
    assert october.span.start == dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
    assert october.span.end == dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    september = FilterForm(QueryDict(october.earlier_url[1:]), CHOICES, NOW)
    assert FilterForm(QueryDict(september.later_url[1:]), CHOICES, NOW).span == october.span
    assert october.later_url == "?period=month"


def test_a_billing_viewer_has_no_rows(world: World, enter: Enter) -> None:
    assert enter(world.biller).get(f"/requests/{world.rescued}/").status_code == 403


def test_a_replayed_answer_is_listed_and_its_receipt_leads_to_the_first(
    world: World, owner: Client
) -> None:
    first = RequestLog.objects.filter(project_id=world.project.pk).latest("received_at")
    fields = {
        field.name: getattr(first, field.name)
        for field in RequestLog._meta.get_fields()
        if field.name != "pk"
    }
    again = uuid7(int(first.received_at.timestamp() * 1000), Random(1).getrandbits)
    RequestLog.objects.create(
        **{
            **fields,
            "request_id": again,
            "kind": replay.KIND,
            "policy": "",
            "decision": {"replay_of": str(first.request_id)},
            "attempts": 0,
            "endpoint_id": None,
        }
    )
    assert str(again) in rows(owner, "/requests/?period=30d")
    assert rows(owner, "/requests/?period=30d&kind=replay") == [str(again)]
    assert "a kept answer" in owner.get("/requests/?period=30d&kind=replay").content.decode()
    page = owner.get(f"/requests/{again}/").content.decode()
    assert f'href="/requests/{first.request_id}/"' in page
    assert "replayed answer" in page
    assert "the answer was kept" in page
    assert "Ended before" not in page
    assert "Why it went" not in page


def test_a_receipt_names_the_runner_up_and_what_of_a_draw_is_there_to_measure(
    world: World, owner: Client
) -> None:
    groq, together = (
        Endpoint.objects.get(provider__slug=slug, model__name="openai/gpt-oss-120b")
        for slug in ("groq", "together")
    )
    candidates = (
        Candidate(groq.pk, 3_000_000_000, 100.0, 80.0, 1.0, 40, -0.9, 0.9),
        Candidate(together.pk, 5_000_000_000, 90.0, 70.0, 1.0, 9, -0.1, 0.1, explored=0.0125),
    )
    order = (groq.pk, together.pk)
    decision = Decision("balanced", 1, "balanced", "m", candidates, order, 1, 900, 70)
    RequestLog.objects.update(decision=msgspec.to_builtins(decision))
    page = owner.get(f"/requests/{world.rescued}/").content.decode()
    assert "900 tokens in and 70 out" in page
    assert "The runner-up, Together AI, was expected to cost $0.00500." in page
    assert page.count("1.25% to measure it") == 1


def test_a_decision_without_estimates_tells_of_no_tokens(world: World, owner: Client) -> None:
    decision = Decision("balanced", 1, "balanced", "m", (), (), 1)
    RequestLog.objects.update(decision=msgspec.to_builtins(decision))
    page = owner.get(f"/requests/{world.rescued}/").content.decode()
    assert "Costs are expected for" not in page
