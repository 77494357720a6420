from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from routing.catalog.document import CatalogInvalid
from routing.models import Credential, Endpoint, Model, Price, Provider
from routing.services import catalog, credentials
from tests.routing.edge import documents
from tests.routing.edge.documents import BIG, document, price

pytestmark = pytest.mark.django_db

Change = Callable[[dict[str, Any]], object]


def loaded(change: Change) -> catalog.LoadReport:
    changed = document()
    change(changed)
    return catalog.load(changed)


def counts() -> tuple[int, ...]:
    return tuple(kind.objects.count() for kind in (Provider, Model, Endpoint, Price))


def test_it_loads_providers_models_endpoints_and_prices() -> None:
    report = catalog.load(document())
    assert counts() == (2, 2, 3, 6)
    assert (report.added["providers"], report.added["prices"]) == (2, 6)
    assert Model.objects.get(name=BIG).slug == "openai-gpt-oss-120b"


def test_loading_the_same_again_changes_nothing() -> None:
    catalog.load(document())
    before = list(Price.objects.values())
    report = catalog.load(document())
    assert report.is_unchanged
    assert list(Price.objects.values()) == before


def test_a_changed_record_is_updated() -> None:
    catalog.load(document())
    report = loaded(lambda d: d["endpoints"][0].update(context_window=1000))
    assert report.updated["endpoints"] == 1
    assert documents.alpha_endpoint().context_window == 1000


def test_a_new_price_is_a_new_dated_row() -> None:
    catalog.load(document())
    later = price("input", "0.25", effective_from="2026-05-01T00:00:00Z")
    report = loaded(lambda d: d["endpoints"][0]["prices"].append(later))
    assert report.added["prices"] == 1
    rows = documents.alpha_endpoint().prices.filter(meter="input").order_by("effective_from")
    assert [str(row.unit_price_usd.normalize()) for row in rows] == ["0.2", "0.25"]


def test_a_later_date_with_the_price_in_force_adds_nothing() -> None:
    catalog.load(document())
    again = price("input", "0.20", effective_from="2026-05-01T00:00:00Z")
    assert loaded(lambda d: d["endpoints"][0]["prices"].append(again)).added["prices"] == 0


def test_a_price_that_was_loaded_cannot_be_rewritten() -> None:
    catalog.load(document())
    with pytest.raises(CatalogInvalid, match=r"endpoints\[0\].*effective_from of its own"):
        loaded(lambda d: d["endpoints"][0]["prices"][0].update(usd="0.25"))


def test_a_large_jump_in_a_file_is_loaded_and_noted() -> None:
    catalog.load(document())
    jump = price("input", "9.00", effective_from="2026-05-01T00:00:00Z")
    report = loaded(lambda d: d["endpoints"][0]["prices"].append(jump))
    assert any("0.2 -> 9" in warning for warning in report.warnings)


WRONG: dict[str, tuple[Change, str]] = {
    "format": (lambda d: d.update(format="other/9"), "format"),
    "unknown part": (lambda d: d.update(provider=[]), "provider: is not a part"),
    "not a list": (lambda d: d.update(models={}), "models: must be a list"),
    "unknown field": (lambda d: d["providers"][0].update(url="x"), r"providers\[0\] alpha.*url"),
    "wrong type": (lambda d: d["models"][1].update(name=3), r"models\[1\].*name.*str"),
    "dialect": (
        lambda d: d["providers"][0].update(dialect="openai-compat"),
        "dialect: unknown dialect.*openai_compat",
    ),
    "quirk": (lambda d: d["providers"][0].update(quirks={"stop_mx": 1}), "quirks.*stop_mx"),
    "listing": (lambda d: d["providers"][0]["listing"].update(kind="togeter"), "together"),
    "listing path": (lambda d: d["providers"][0]["listing"].update(path="models"), "begin with /"),
    "promise": (
        lambda d: d["providers"][0].update(data_policy={"trains_on_prompts": "no"}),
        "data_policy.*trains_on_prompts",
    ),
    "promised days": (
        lambda d: d["providers"][0].update(data_policy={"retention_days": -1}),
        "data_policy.*retention_days",
    ),
    "private": (lambda d: d["providers"][0].update(base_url="http://127.0.0.1/v1"), "base_url"),
    "provider": (lambda d: d["endpoints"][2].update(provider="alpa"), "provider.*alpha"),
    "model": (lambda d: d["endpoints"][2].update(model="Qwen/Qwen3-32"), "model.*Qwen/Qwen3-32B"),
    "capability": (lambda d: d["endpoints"][0].update(capabilities=["tool"]), "tools"),
    "meter": (lambda d: d["endpoints"][0]["prices"][0].update(meter="inpt"), r"prices\[0\].*inpt"),
    "float price": (lambda d: d["endpoints"][0]["prices"][0].update(usd=0.2), r"prices\[0\]\.usd"),
    "decimals": (lambda d: d["endpoints"][0]["prices"][0].update(usd="0.0000001"), "usd"),
    "no time zone": (
        lambda d: d["endpoints"][0]["prices"][0].update(effective_from="2026-01-01T00:00:00"),
        "effective_from",
    ),
    "half a window": (
        lambda d: d["endpoints"][0]["prices"][0].update(utc_from="01:00"),
        "both its beginning and its end",
    ),
    "twice": (lambda d: d["endpoints"].append(d["endpoints"][0]), r"the same as in.*\[0\]"),
    "same slug": (
        lambda d: d["models"].append({"name": "openai/gpt.oss.120b"}),
        r"models\[2\].*the same",
    ),
    "same alias": (lambda d: d["models"][1].update(aliases=["OSS-BIG"]), "aliases: the same"),
    "credential": (
        lambda d: d.update(credentials=[{"provider": "alpha", "name": "main"}]),
        "environment variable",
    ),
    "NUL": (lambda d: d["providers"][0].update(name="a\0b"), "NUL"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_says_where_and_changes_nothing(name: str) -> None:
    change, expected = WRONG[name]
    with pytest.raises(CatalogInvalid, match=expected):
        loaded(change)
    assert counts() == (0, 0, 0, 0)


def test_all_problems_are_told_at_once() -> None:
    def change(wrong: dict[str, Any]) -> None:
        wrong["providers"][0]["dialect"] = "x"
        wrong["endpoints"][1]["capabilities"] = ["y"]

    with pytest.raises(CatalogInvalid) as caught:
        loaded(change)
    assert [problem.field for problem in caught.value.problems] == ["dialect", "capabilities"]


def test_a_preview_tells_and_writes_nothing() -> None:
    report = catalog.preview([("x.json", document())])
    assert report.added["endpoints"] == 3
    assert counts() == (0, 0, 0, 0)


def test_what_an_admin_paused_stays_paused() -> None:
    catalog.load(document())
    Provider.objects.filter(slug="alpha").update(lifecycle="paused")
    Endpoint.objects.filter(region="eu").update(status="paused")
    report = loaded(lambda d: d["endpoints"][1].update(status="active"))
    assert Provider.objects.get(slug="alpha").lifecycle == "paused"
    assert Endpoint.objects.get(region="eu").status == "paused"
    assert len([warning for warning in report.warnings if "stays paused" in warning]) == 2


def test_what_was_edited_in_the_admin_is_left_alone() -> None:
    catalog.load(document())
    Endpoint.objects.filter(provider__slug="alpha").update(source="admin", context_window=7)
    report = catalog.load(document())
    assert documents.alpha_endpoint().context_window == 7
    assert any("edited in the admin" in warning for warning in report.warnings)


def test_a_promise_about_data_is_taken_over_and_withdrawn_with_the_file() -> None:
    promised = {"trains_on_prompts": False, "retention_days": 0, "source_url": "https://a.example"}
    loaded(lambda d: d["providers"][0].update(data_policy=promised))
    assert Provider.objects.get(slug="alpha").data_policy == promised
    catalog.load(document())
    assert Provider.objects.get(slug="alpha").data_policy == {}


def test_an_endpoint_without_a_price_is_noted() -> None:
    report = loaded(lambda d: d["endpoints"][0].update(prices=[]))
    assert any("has no price yet" in warning for warning in report.warnings)


def test_credentials_come_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("sk-from-file\n")
    monkeypatch.setenv("MY_KEY", "sk-from-environment")
    wanted = [
        {"provider": "alpha", "name": "main", "env": "MY_KEY"},
        {"provider": "beta", "name": "main", "file": str(tmp_path / "key")},
        {"provider": "beta", "name": "spare", "env": "NOT_SET"},
    ]
    report = loaded(lambda d: d.update(credentials=wanted))
    stored = {
        row.provider.slug: credentials.reveal(row)
        for row in Credential.objects.select_related("provider")
    }
    assert stored == {"alpha": "sk-from-environment", "beta": "sk-from-file"}
    assert any("NOT_SET is not set" in warning for warning in report.warnings)
    assert loaded(lambda d: d.update(credentials=wanted)).is_unchanged


def test_an_unreadable_credential_file_changes_nothing() -> None:
    wanted = [{"provider": "alpha", "name": "main", "file": "/does/not/exist"}]
    with pytest.raises(CatalogInvalid, match=r"credentials\[0\].*No such file"):
        loaded(lambda d: d.update(credentials=wanted))
    assert counts() == (0, 0, 0, 0)


def test_the_command_loads_a_folder_whose_files_refer_to_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = document()
    endpoints = {"format": whole["format"], "endpoints": whole.pop("endpoints")}
    (tmp_path / "a.json").write_text(json.dumps(endpoints))
    (tmp_path / "b.json").write_text(json.dumps(whole))
    call_command("load_catalog", str(tmp_path), "--dry-run")
    assert counts() == (0, 0, 0, 0)
    call_command("load_catalog", str(tmp_path))
    assert counts() == (2, 2, 3, 6)
    assert "nothing was written: --dry-run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "expected"),
    [("{", "is not JSON"), ("[]", "one JSON object"), (None, "No such file")],
)
def test_the_command_says_what_is_wrong_with_a_file(
    tmp_path: Path, content: str | None, expected: str
) -> None:
    file = tmp_path / "catalog.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CommandError, match=expected):
        call_command("load_catalog", str(file))


def test_the_command_refuses_a_folder_without_files(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"no \.json file"):
        call_command("load_catalog", str(tmp_path))


def test_a_provider_of_ones_own_on_a_private_address_needs_the_setting(
    settings: Settings,
) -> None:
    settings.PANELBOARD_PRIVATE_UPSTREAMS = ["10.0.0.0/8"]
    loaded(lambda d: d["providers"][0].update(base_url="http://10.1.2.3:8000/v1"))
    assert Provider.objects.get(slug="alpha").base_url == "http://10.1.2.3:8000/v1"


def test_the_shipped_catalog_loads_and_loads_again(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("load_catalog")
    capsys.readouterr()
    call_command("load_catalog")
    assert " 0 added, 0 updated" in capsys.readouterr().out
    assert counts()[0] >= 16
    assert counts()[2] >= 130
