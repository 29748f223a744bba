"""Numbers as people and models write them."""

from __future__ import annotations

import random
import time
from fractions import Fraction

import pytest

from activeuf_core.rewards.number_parsing import last_number, numbers_in, parse_number

WHOLE = [
    ("42", "42"),
    (" 42 ", "42"),
    ("42.", "42"),
    ("42.0", "42"),
    ("-5", "-5"),
    ("+5", "5"),
    ("\u22125", "-5"),
    ("\uff14\uff12", "42"),
    ("1,234", "1234"),
    ("-1,234,567.50", "-2469135/2"),
    ("$42", "42"),
    ("-$5", "-5"),
    ("$-5", "-5"),
    (r"\$42", "42"),
    ("€ 3.50", "7/2"),
    ("50%", "50"),
    (r"50\%", "50"),
    (".5", "1/2"),
    ("1e3", "1000"),
    ("1.5E-2", "3/200"),
    ("3/4", "3/4"),
    ("-3/4", "-3/4"),
    ("1,000/3", "1000/3"),
    ("1 1/2", "3/2"),
    (r"\frac{3}{4}", "3/4"),
    (r"-\dfrac{3}{4}", "-3/4"),
    ("3\u20444", "3/4"),
]


@pytest.mark.parametrize(("text", "value"), WHOLE)
def test_number_is_read_exactly(text: str, value: str) -> None:
    assert parse_number(text) == Fraction(value)


NO_NUMBER = ["", "-", "x", "1,23", "3,5", "12,34,567", "1.2.3", "--5", "-$-5", "1/0", "3 4/2"]


@pytest.mark.parametrize("text", [*NO_NUMBER, "forty", "nan", "inf", "1_000", "0x10", "1e9999"])
def test_what_is_no_number_is_not_guessed(text: str) -> None:
    assert parse_number(text) is None


IN_TEXT = [
    ("10 - 7 = 3", "10 7 3"),
    ("10-7=3", "10 7 3"),
    ("x=-5", "-5"),
    ("3\u20134 apples", "3 4"),
    ("it costs $1,234.50.", "2469/2"),
    ("so 5km in v1.5 of H2O", "5"),
    ("Rs.5", "5"),
    ("step 3\n1/2", "3 1/2"),
    ("1 1/2 cups", "3/2"),
    ("16/2=8", "8 8"),
    ("1,23 or 1.2.3", ""),
    ("**42**", "42"),
    ("(5)", "5"),
    ("1e9999", ""),
    ("no digits", ""),
]


@pytest.mark.parametrize(("text", "values"), IN_TEXT)
def test_numbers_of_a_text(text: str, values: str) -> None:
    assert numbers_in(text) == [Fraction(value) for value in values.split()]


def test_last_number_is_none_without_one() -> None:
    assert last_number("none") is None
    assert last_number("1 then 2") == 2


def test_every_integer_survives_being_written_with_commas() -> None:
    rng = random.Random(0)
    for _ in range(500):
        value = rng.randint(-(10**12), 10**12)
        assert parse_number(f"{value:,}") == value
        assert last_number(f"so it is {value:,}.") == value


def test_every_decimal_is_exact() -> None:
    rng = random.Random(1)
    for _ in range(500):
        text = f"{rng.randint(-(10**9), 10**9)}.{rng.randint(0, 10**6):06d}"
        assert parse_number(text) == Fraction(text)


ATTACKS = [
    "1" * 20_000,
    "$-" * 10_000,
    "1," * 10_000,
    "1 1/" * 8_000,
    "1e" * 10_000,
    "\\frac{1}{" * 3_000,
]


@pytest.mark.parametrize("text", ATTACKS, ids=lambda text: text[:6])
def test_hostile_text_takes_no_time(text: str) -> None:
    started = time.perf_counter()
    numbers_in(text)
    parse_number(text)
    assert time.perf_counter() - started < 1.0
