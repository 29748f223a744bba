r"""Numbers as people and models write them, read exactly.

In: text. Out: `Fraction`s, so that 0.1 is a tenth and 1/3 is a third. Understood: a sign (also the
Unicode minus), a currency sign before or behind it, commas between thousands, decimals, a leading
dot, an exponent (1e3), fractions (3/4, \frac{3}{4}), mixed numbers (1 1/2), a percent sign, which
is dropped: "50%" is 50. Not understood, and then no number at all rather than a guess: commas
elsewhere (1,23 or 3,5), two dots (1.2.3), more than 80 characters. A minus behind a digit or a word
subtracts; it is no sign. Digits behind a letter (x2) belong to a name.
Cost: 4 µs for one number, 0.2 ms for the numbers of 1,000 characters.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

LONGEST = 80
"""Characters of a number: `Fraction` of a longer one could cost seconds, and no answer needs it."""

CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00a0\u2007\u2009\u202f", " "),
        **dict.fromkeys("\u2044\u2215", "/"),
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
    }
)
"""Unicode's minus signs, hard spaces, fraction slashes and full-width digits."""

LATEX_FRACTION = re.compile(r"\\[dt]?frac\{([0-9]{1,40})\}\{([0-9]{1,40})\}")
PLAIN = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+"
WHOLE = re.compile(
    r"(?P<sign>[-+]?)(?:\\?[$€£] ?)?(?P<inner>[-+]?)"
    r"(?:(?:(?P<units>[0-9]+) +)?(?P<over>[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+) ?/ ?(?P<under>[0-9]+)"
    rf"|(?P<plain>{PLAIN})(?:[eE](?P<exponent>[-+]?[0-9]{{1,3}}))?)"
    r" ?\\?%?"
)
RUN = re.compile(
    r"(?:(?<![\w)\].,%])[-+])?(?:\\?[$€£])?(?:(?<=[$€£])[-+])?"
    r"(?:(?<![A-Za-z_0-9])[0-9]+ [0-9]+/[0-9]+(?![0-9.,]*[0-9/])"
    r"|(?<![A-Za-z_0-9])[0-9][0-9,]* ?/ ?[0-9]+(?![0-9.,]*[0-9])"
    r"|(?<![A-Za-z_0-9])(?<![0-9][.,])[0-9][0-9.,]*(?:[eE][-+]?[0-9]+(?!\w))?"
    r"|(?<![\w.])\.[0-9]+)"
)


def plain_characters(text: str) -> str:
    """Return text with one sort of minus, space, slash and digit, and LaTeX fractions as a/b."""
    plain = text if text.isascii() else text.translate(CHARACTERS)
    return LATEX_FRACTION.sub(r"\1/\2", plain) if "frac{" in plain else plain


def parse_number(text: str) -> Fraction | None:
    """Return the number that a text consists of, None when it is anything else."""
    if len(text) > LONGEST:
        text = text.strip()
    if len(text) > LONGEST:
        return None
    return _value(plain_characters(text).strip())


def numbers_in(text: str) -> list[Fraction]:
    """Return the numbers of a text in their order; what only resembles a number is left out."""
    values = map(_value_of_run, RUN.findall(plain_characters(text)))
    return [value for value in values if value is not None]


def last_number(text: str) -> Fraction | None:
    """Return the last number of a text, None when there is none."""
    runs = reversed(RUN.findall(plain_characters(text)))
    return next((value for value in map(_value_of_run, runs) if value is not None), None)


def _value_of_run(run: str) -> Fraction | None:
    return _value(run.rstrip(".,")) if len(run) <= LONGEST else None


def _value(text: str) -> Fraction | None:
    """Return the value of a text that is one number, with plain characters."""
    found = WHOLE.fullmatch(text)
    if found is None or (found["sign"] and found["inner"]):
        return None
    size = _fraction(found) if found["over"] else _decimal(found)
    if size is None:
        return None
    return -size if "-" in (found["sign"], found["inner"]) else size


def _fraction(found: re.Match[str]) -> Fraction | None:
    over, under = int(found["over"].replace(",", "")), int(found["under"])
    if under == 0 or (found["units"] and over >= under):
        return None  # "3 4/2" are two numbers, not a mixed one
    return Fraction(over, under) + int(found["units"] or 0)


def _decimal(found: re.Match[str]) -> Fraction:
    exponent = f"e{found['exponent']}" if found["exponent"] else ""
    return Fraction(Decimal(f"{found['plain'].replace(',', '')}{exponent}"))
