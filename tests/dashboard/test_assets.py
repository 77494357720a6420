"""What a browser loads: small, vendored unchanged, and nothing from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.http import HttpResponse
from django.test import AsyncClient

from tests.support.running_hub import ROOT

STATIC, TEMPLATES = ROOT / "static", ROOT / "templates"
MOST_CSS_BYTES, MOST_JS_BYTES = 20_000, 25_000  # gzipped, htmx included
VENDORED = {
    STATIC / "vendor/plotly-basic-4.1.1.min.js": (
        "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
    ),
    ROOT / "tests/vendor/axe-4.14.1.min.js": (
        "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
    ),
}


def gzipped(*files: Path) -> int:
    return sum(len(gzip.compress(file.read_bytes())) for file in files)


def test_the_style_sheet_is_small() -> None:
    assert gzipped(*STATIC.glob("css/*.css")) <= MOST_CSS_BYTES


def test_the_scripts_are_small() -> None:
    htmx = finders.find("django_htmx/htmx-2.min.js")
    assert isinstance(htmx, str)
    assert gzipped(*STATIC.glob("js/*.js"), Path(htmx)) <= MOST_JS_BYTES


@pytest.mark.parametrize("file", VENDORED, ids=lambda file: file.name)
def test_vendored_files_are_unchanged_and_documented(file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert digest == VENDORED[file]
    assert digest in (file.parent / "README.md").read_text()


@pytest.mark.parametrize("template", sorted(TEMPLATES.rglob("*.html")), ids=lambda file: file.name)
def test_templates_need_no_exception_to_the_policy(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\son\w+=", text), "event handlers belong into scripts"
    assert not re.search(r"\sstyle=", text), "style attributes are not allowed"
    assert not re.search(r"<script>", text), "inline scripts are not allowed"
    assert "https://" not in text, "nothing is loaded from elsewhere"


def test_the_chart_library_is_loaded_only_where_charts_are() -> None:
    users = {
        file.name for file in TEMPLATES.rglob("*.html") if "parts/plotly.html" in file.read_text()
    }
    assert users == {"model.html", "spend.html"}


async def test_a_static_file_leaves_whole(async_client: AsyncClient) -> None:
    answer = await async_client.get("/static/css/hub.css")
    assert isinstance(answer, HttpResponse)
    assert answer.content == (STATIC / "css/hub.css").read_bytes()
    assert answer["content-type"] == 'text/css; charset="utf-8"'
    again = await async_client.get(
        "/static/css/hub.css", headers={"if-modified-since": answer["last-modified"]}
    )
    assert (again.status_code, again.content) == (304, b"")


async def test_a_part_of_a_static_file_can_be_asked_for(async_client: AsyncClient) -> None:
    answer = await async_client.get("/static/css/hub.css", headers={"range": "bytes=3-9"})
    assert answer.status_code == 206
    assert answer.content == (STATIC / "css/hub.css").read_bytes()[3:10]
