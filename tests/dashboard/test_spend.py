"""The bill adds up, on the page and in its file."""

from __future__ import annotations

import csv
import datetime as dt
import html
import io
import json
import re
from collections import defaultdict
from decimal import Decimal

import pytest
from django.test import Client

from analytics import queries
from analytics.queries.types import Scope
from dashboard import formatting
from routing.models import Provider
from tests.dashboard.conftest import NOW, Enter
from tests.dashboard.world import Traffic, World


def bill_rows(client: Client) -> list[dict[str, str]]:
    answer = client.get("/spend/bill.csv")
    assert answer["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def test_each_part_of_the_file_adds_up_to_the_total(owner: Client) -> None:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    requests: dict[str, int] = defaultdict(int)
    for row in bill_rows(owner):
        sums[row["part"]] += Decimal(row["cost_usd"])
        requests[row["part"]] += int(row["requests"])
    assert set(sums) == {"provider", "model", "project", "key", "total"}
    assert len(set(sums.values())) == 1
    assert len(set(requests.values())) == 1
    assert sums["total"] > 0


def test_page_file_chart_and_metric_layer_agree(world: World, owner: Client) -> None:
    scope = Scope(frozenset({world.project.pk, world.batch_project.pk}))
    bill = queries.monthly_bill(scope, NOW.date())
    page = owner.get("/spend/").content.decode()
    assert formatting.money_exact(bill.total_usd) in page
    assert Decimal(bill_rows(owner)[-1]["cost_usd"]) == bill.total_usd
    source = re.search(r'<script type="application/json" id="spend-by-day">(.*?)</script>', page)
    assert source
    drawn = sum(sum(trace["y"]) for trace in json.loads(source[1])["data"])
    assert drawn == pytest.approx(float(bill.total_usd))


def test_a_spreadsheet_takes_no_name_for_a_formula(world: World, owner: Client) -> None:
    Provider.objects.filter(slug="groq").update(name="=HYPERLINK(evil)")
    names = [row["name"] for row in bill_rows(owner) if row["part"] == "provider"]
    assert "'=HYPERLINK(evil)" in names


def test_a_month_without_requests_says_so(owner: Client) -> None:
    page = owner.get("/spend/?month=2026-03").content.decode()
    assert "Nothing was spent in March 2026" in page
    assert "?month=2026-02" in page


def test_a_month_ahead_is_refused_in_words(owner: Client) -> None:
    page = owner.get("/spend/?month=2026-12").content.decode()
    assert "That month lies ahead" in page
    assert "Spend in November 2026" in page


def test_months_step_over_the_turn_of_the_year(owner: Client) -> None:
    page = owner.get("/spend/?month=2026-01").content.decode()
    assert "?month=2025-12" in page
    assert "?month=2026-02" in page


@pytest.mark.parametrize("by", ["provider", "model", "project", "key", "nonsense"])
def test_the_chart_can_be_split(owner: Client, by: str) -> None:
    assert 'id="spend-by-day"' in owner.get(f"/spend/?by={by}").content.decode()


def test_the_bill_says_how_sure_it_is(owner: Client) -> None:
    page = owner.get("/spend/").content.decode()
    assert "Metered" in page
    assert "Estimated" in page


def test_a_stranger_pays_for_their_own_alone(world: World, enter: Enter) -> None:
    mine = Decimal(bill_rows(enter(world.owner))[-1]["cost_usd"])
    theirs = Decimal(bill_rows(enter(world.stranger))[-1]["cost_usd"])
    everyone = Decimal(bill_rows(enter(world.admin))[-1]["cost_usd"])
    assert mine + theirs == everyone


def test_each_line_of_the_bill_leads_to_its_requests(world: World, owner: Client) -> None:
    """Those that the hub sent itself included: they are on the bill too."""
    probes = Traffic(world, ["openai/gpt-oss-120b"])
    probes.one(NOW - dt.timedelta(hours=2), key=world.key, kind="probe")
    probes.record()
    page = owner.get("/spend/").content.decode()
    links = re.findall(r'href="(/requests/\?[^"]+)">([\d,]+)</a>', page)
    assert len(links) >= 8
    for address, shown in links:
        rows = owner.get(html.unescape(address)).content.decode()
        if 'rel="next"' not in rows:
            assert rows.count('<th scope="row" class="nowrap">') == int(shown), address


def test_a_billing_viewer_gets_no_links_to_rows(world: World, enter: Enter) -> None:
    assert "/requests/?" not in enter(world.biller).get("/spend/").content.decode()
