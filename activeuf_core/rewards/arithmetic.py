"""Equations in a text that do not hold.

In: a completion. Out: the wrong ones among its equations of plain numbers: "16 - 3 = 12", or
GSM8K's calculator notes <<16-3=12>>. With decimals, equal means rounded or cut to the digits that
are written: 2/3 = 0.66 and 0.67 hold. A whole number must be exact: 10/3 = 3 does not hold. Only
+ - * / × ÷ and brackets are read; anything else (letters, percentages, units between the numbers)
is no equation, and is never called wrong.
Cost: 0.1 ms for 1,000 characters. No code is run: the grammar has four rules.
"""

from __future__ import annotations

import re
from fractions import Fraction

from activeuf_core.rewards.number_parsing import parse_number, plain_characters

NUMBER = r"[$€£]?(?:[0-9][0-9,]{0,19}(?:\.[0-9]{1,20})?|\.[0-9]{1,20})"
TIMES = re.compile(r"(?<=[0-9)]) ?[xX] ?(?=[$€£(0-9])")
TERM = rf"-?(?:\({{1,3}}-?)?{NUMBER}\){{0,3}}"
EQUATION = re.compile(rf"({TERM}(?: ?[-+*/] ?{TERM}){{1,12}}) ?= ?(-?{NUMBER})")
PART_BEFORE = re.compile(r"[\w.)\]]$|[-+*/^=%] ?$|[0-9)] $")
PART_AFTER = re.compile(r" ?[-+*/^%]|[., ]?[0-9]|\(")
"""What shows that a match is part of something longer, of which the rest was not read."""
TOKEN = re.compile(rf"\s*({NUMBER}|[-+*/()])")
DEEPEST = 20


def wrong_equations(text: str) -> list[str]:
    """Return the equations of a text that do not hold, as they stand there."""
    signs = {ord("×"): "*", ord("÷"): "/", ord("·"): "*"}
    plain = TIMES.sub(" * ", plain_characters(text).translate(signs))
    return [
        found[0].strip()
        for found in EQUATION.finditer(plain)
        if not PART_BEFORE.search(plain, max(0, found.start() - 4), found.start())
        and not PART_AFTER.match(plain, found.end())
        and _holds(found[1], found[2]) is False
    ]


def value_of(expression: str) -> Fraction | None:
    """Return the value of an expression of numbers, None when it is none."""
    tokens = TOKEN.findall(expression)
    if re.sub(r"\s", "", expression) != "".join(tokens) or not tokens:
        return None
    reader = _Reader(tokens)
    try:
        value = reader.sum()
    except (_NotReadableError, ZeroDivisionError):
        return None
    return value if reader.is_at_end else None


def _holds(left: str, right: str) -> bool | None:
    """Whether both sides are equal, to the digits of the right one; None when one is unreadable."""
    value, said = value_of(left), parse_number(right)
    if value is None or said is None:
        return None
    decimals = len(right.partition(".")[2])
    return abs(value - said) < Fraction(1, 10**decimals) if decimals else value == said


class _NotReadableError(Exception):
    """The tokens are no expression."""


class _Reader:
    """Reads sums of products of atoms, left to right."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    @property
    def is_at_end(self) -> bool:
        """Whether all tokens were read."""
        return self._at == len(self._tokens)

    def sum(self) -> Fraction:
        """Read products with + and - between them."""
        value = self._product()
        while (sign := self._take("+", "-")) is not None:
            other = self._product()
            value = value + other if sign == "+" else value - other
        return value

    def _product(self) -> Fraction:
        value = self._atom()
        while (sign := self._take("*", "/")) is not None:
            other = self._atom()
            value = value * other if sign == "*" else value / other
        return value

    def _atom(self) -> Fraction:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _NotReadableError
        try:
            if self._take("-") is not None:
                return -self._atom()
            if self._take("(") is not None:
                value = self.sum()
                if self._take(")") is None:
                    raise _NotReadableError
                return value
            return self._number()
        finally:
            self._depth -= 1

    def _number(self) -> Fraction:
        value = parse_number(self._tokens[self._at]) if not self.is_at_end else None
        if value is None:
            raise _NotReadableError
        self._at += 1
        return value

    def _take(self, *wanted: str) -> str | None:
        """Read the next token if it is one of some."""
        if self.is_at_end or self._tokens[self._at] not in wanted:
            return None
        self._at += 1
        return self._tokens[self._at - 1]
