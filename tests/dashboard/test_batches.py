"""The pages of batches: what is shown, to whom, and how one is stopped."""

from __future__ import annotations

import pytest
from django.test import Client

from routing.models import Batch, BatchFile, BatchLine
from tests.dashboard.batches_world import add_batches, batch
from tests.dashboard.conftest import Enter
from tests.dashboard.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def shown(empty_hub: World) -> dict[str, str]:
    return add_batches(empty_hub)


@pytest.fixture
def owner(empty_hub: World, enter: Enter) -> Client:
    return enter(empty_hub.owner)


def text_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_the_list_tells_how_far_each_is_and_what_it_costs(
    owner: Client, shown: dict[str, str]
) -> None:
    page = text_of(owner, "/batches/")
    assert "12,000 of 12,000" in page
    assert "$3.22" in page
    assert "121 of 200" in page, "a line here and 120 at the provider"
    assert "Groq" in page
    assert "as a whole" in page
    assert "Being read" in page


def test_a_cost_by_the_simulator_says_so_and_no_other_does(
    owner: Client, shown: dict[str, str]
) -> None:
    simulated = text_of(owner, f"/batches/{shown['running']}/")
    assert "Simulated data" in simulated
    assert '$0.2500 <span class="mark"' in simulated
    assert "Simulated data" in text_of(owner, "/batches/")
    real = text_of(owner, f"/batches/{shown['completed']}/")
    assert "Simulated data" not in real
    assert 'class="mark"' not in real


def test_a_cost_that_was_not_kept_is_not_shown_as_none(
    owner: Client, shown: dict[str, str]
) -> None:
    page = text_of(owner, f"/batches/{shown['old']}/")
    assert ">not known</span>" in page
    assert "its requests say what each cost" in page
    assert text_of(owner, "/batches/").count(">not known</span>") == 1
    line = BatchLine.objects.get()
    line.pk, line.number, line.status_code, line.cost_usd = None, 2, 200, None
    line.save()
    assert ">not known</span>" in text_of(owner, f"/batches/{shown['running']}/")


def test_nobody_is_named_who_does_not_work_on_it(owner: Client, shown: dict[str, str]) -> None:
    page = text_of(owner, "/batches/")
    assert page.count("not decided yet") == 1, "the one that is being read"
    assert page.count(">nobody</span>") == 1, "the one that failed"
    assert page.count("line by line") == 2
    assert "its way is not decided yet" in text_of(owner, f"/batches/{shown['fresh']}/")
    failed = text_of(owner, f"/batches/{shown['failed']}/")
    assert "line by line" not in failed
    Batch.objects.update(native="off")
    assert "not decided yet" not in text_of(owner, "/batches/")


def test_an_address_is_broken_behind_its_slashes_alone(
    owner: Client, shown: dict[str, str]
) -> None:
    page = text_of(owner, f"/batches/{shown['completed']}/")
    assert "<code>/<wbr>v1/<wbr>chat/<wbr>completions</code>" in page


def test_other_organizations_batches_are_absent(
    empty_hub: World, owner: Client, enter: Enter, shown: dict[str, str]
) -> None:
    assert "secret/model" not in text_of(owner, "/batches/")
    assert owner.get(f"/batches/{shown['others']}/").status_code == 404
    assert owner.post(f"/batches/{shown['others']}/cancel/").status_code == 404
    stranger = enter(empty_hub.stranger)
    assert "secret/model" in text_of(stranger, "/batches/")
    assert stranger.get(f"/batches/{shown['completed']}/").status_code == 404


def test_one_that_failed_tells_what_to_mend(owner: Client, shown: dict[str, str]) -> None:
    page = text_of(owner, f"/batches/{shown['failed']}/")
    assert "1,204" in page
    assert "The line is not valid JSON" in page
    assert "Cancel the batch" not in page


def test_its_files_are_named_until_they_are_gone(owner: Client, shown: dict[str, str]) -> None:
    address = f"/batches/{shown['completed']}/"
    page = text_of(owner, address)
    assert "batch_error.jsonl" in page
    assert "<dt>Input tokens</dt>" in page
    BatchFile.objects.all().delete()
    assert "Its files are gone" in text_of(owner, address)


def test_its_requests_are_a_click_away(owner: Client, shown: dict[str, str]) -> None:
    page = text_of(owner, f"/batches/{shown['completed']}/")
    link = page.partition('<a class="button" href="/requests/')[2].partition('"')[0]
    assert "kind=batch" in link
    assert owner.get(f"/requests/{link.replace('&amp;', '&')}").status_code == 200


def test_a_batch_that_runs_can_be_cancelled_once(owner: Client, shown: dict[str, str]) -> None:
    address = f"/batches/{shown['fresh']}/"
    assert "Cancel the batch" in text_of(owner, address)
    answer = owner.post(f"{address}cancel/", follow=True)
    assert "The batch is being cancelled" in answer.content.decode()
    assert Batch.objects.get(pk=shown["fresh"].removeprefix("batch_")).status == "cancelling"
    again = owner.post(f"{address}cancel/", follow=True)
    assert "nothing to cancel" in again.content.decode()
    assert owner.get(f"{address}cancel/").status_code == 405


def test_what_is_no_id_of_a_batch_is_not_found(owner: Client, shown: dict[str, str]) -> None:
    for address in ("/batches/batch_7/", "/batches/x/", "/batches/?after=x"):
        assert owner.get(address).status_code == 404


def test_pages_follow_one_another(
    owner: Client, shown: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.views.batches.PAGE_SIZE", 3)
    first = text_of(owner, "/batches/")
    assert f"after={shown['failed']}" in first
    second = text_of(owner, f"/batches/?after={shown['failed']}")
    assert shown["completed"] in second
    assert "That is all." in second


def test_an_empty_list_says_how_to_begin(empty_hub: World, enter: Enter) -> None:
    assert "No batch yet" in text_of(enter(empty_hub.owner), "/batches/")


@pytest.mark.parametrize(("number", "most"), [(0, 8), (30, 8)])
def test_a_longer_list_needs_no_more_queries(
    empty_hub: World, owner: Client, django_assert_max_num_queries: object, number: int, most: int
) -> None:
    for _ in range(number):
        add_one(empty_hub)
    with django_assert_max_num_queries(most):  # type: ignore[operator]
        text_of(owner, "/batches/")


def add_one(world: World) -> None:
    batch(world.batch_key, world.now, 10 + Batch.objects.count())
