from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from routing.management.commands.simulate_routing import BEGIN, END
from routing.simulation.choosers import all_choosers
from routing.simulation.script import hour
from routing.simulation.table import COLUMNS

SVG = "{http://www.w3.org/2000/svg}"
PAGE = Path(__file__).parents[3] / "docs" / "routing.md"


def printed(*arguments: str) -> str:
    out = io.StringIO()
    call_command("simulate_routing", "--minutes", "5", *arguments, stdout=out)
    return out.getvalue()


def test_it_prints_a_row_for_every_way_to_choose() -> None:
    rows = printed("--seed", "4").splitlines()
    assert [row.split("  ")[0] for row in rows] == ["way to choose", *all_choosers(hour())]


def test_it_draws_the_hour_and_puts_the_table_into_a_page(tmp_path: Path) -> None:
    picture, page = tmp_path / "hour.svg", tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    printed("--plot", str(picture), "--page", str(page))
    drawing = ET.fromstring(picture.read_text())
    words = {text.text for text in drawing.iter(f"{SVG}text")}
    assert set(all_choosers(hour())) <= words
    assert {one.slug for one in hour().personas} <= words
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert text.count("\n| ") == len(all_choosers(hour())) + 1


def test_a_page_without_a_place_for_the_table_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("mine")
    with pytest.raises(CommandError, match="no place for the table"):
        printed("--page", str(page))
    assert page.read_text() == "mine"


@pytest.mark.parametrize("wrong", [("--minutes", "0"), ("--rate", "0")])
def test_nonsense_is_refused(wrong: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="must be"):
        printed(*wrong)


def test_the_page_shows_the_columns_that_the_command_prints() -> None:
    heading = "| way to choose | " + " | ".join(name for name, _ in COLUMNS) + " |"
    assert heading in PAGE.read_text()
