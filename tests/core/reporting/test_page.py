"""The leaderboard as a page of its own."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from activeuf_core.reporting.page import render_html
from tests.core.reporting.conftest import MakeBoard, all_scores, scores_of


class Balance(HTMLParser):
    """Notes every tag that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture
def page(make_board: MakeBoard) -> str:
    """Two experiments; a name that would be markup."""
    experiments = {
        "<b>": ("random", 1, all_scores(0.25)),
        "second": ("drts", 1, scores_of({"gsm8k": 0.5})),
    }
    return render_html(make_board(experiments, baseline="<b>"))


def test_the_page_is_well_formed(page: str) -> None:
    balance = Balance()
    balance.feed(page)
    assert (balance.open, balance.wrong) == ([], [])


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    assert not re.search(r"https?://|src=|<link|@import|url\(", page)


def test_names_are_text(page: str) -> None:
    assert "&lt;b&gt; (baseline)" in page
    assert "<b>" not in page


def test_cells_carry_what_they_are_sorted_by(page: str) -> None:
    values = re.findall(r'<td data-value="([^"]*)"', page)
    assert values.count("0.25") == 7
    assert "" in values  # a missing score goes last, whichever way


def test_every_column_has_a_button(page: str) -> None:
    assert page.count("<button>") == 8


def test_what_is_below_a_name_says_what_the_row_is(make_board: MakeBoard) -> None:
    runs = {"a": ("drts", 1, all_scores(0.25)), "base": ("", 0, all_scores(0.5))}
    facts = {"a": {"loss": "ipo"}, "base": {"baseline": "untrained", "dataset": ""}}
    found = render_html(make_board(runs, bought={"a": 1200}, **facts))
    assert "demo, ipo, seed 1, 1,200 annotations" in found
    assert "base (untrained)<small>a base model as it is" in found


def test_light_and_dark_are_both_meant(page: str) -> None:
    assert "color-scheme: light dark" in page
    assert "prefers-color-scheme: dark" in page
