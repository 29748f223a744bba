"""The definitions beside lm-eval's of GSM8K: where both agree, and every way in which they differ.

Each answer is put into the form that either side asks for: behind "#### " for lm-eval's
strict-match, into the answer block for `exact` and `numerical`; its flexible-extract and our
`flexible` read one and the same plain text.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib import resources
from typing import Any

import pytest
import yaml

from activeuf_core.paths import PROJECT
from activeuf_core.rewards.answers import assess, gold_of
from activeuf_core.rewards.config import AnswerSettings, Tags

TAGS, SETTINGS = Tags(), AnswerSettings()


@cache
def task() -> dict[str, Any]:
    """Return lm-eval's own definition of the task."""
    pytest.importorskip("lm_eval")
    text = resources.files("lm_eval.tasks").joinpath("gsm8k/gsm8k.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def theirs(text: str, gold: str, name: str) -> bool:
    """Return what lm-eval says of an output: its own filters, its own metric."""
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    (pipeline,) = (one["filter"] for one in task()["filter_list"] if one["name"] == name)
    settings = {key: value for key, value in pipeline[0].items() if key != "function"}
    (((extracted,),)) = RegexFilter(**settings).apply([[text]], [{}])
    metric = {**task()["metric_list"][0]}
    options = {key: metric[key] for key in ("regexes_to_ignore", "ignore_case")}
    found = exact_match_hf_evaluate([extracted], [f"worked\n#### {gold}"], **options)
    return bool(found["exact_match"])


def verdicts(answer: str, gold: str) -> str:
    """Return the five verdicts on an answer: + right, - wrong."""
    block = f"<reasoning>worked</reasoning><answer>{answer}</answer>"
    ours = assess(block, gold, TAGS, SETTINGS)
    plain = f"It is {answer}"
    flags = (
        theirs(f"worked\n#### {answer}", gold, "strict-match"),
        ours.exact,
        ours.numerical,
        theirs(plain, gold, "flexible-extract"),
        assess(plain, gold, TAGS, SETTINGS).flexible,
    )
    return "".join("+" if flag else "-" for flag in flags)


AGREED = [
    ("42", "42", "+++++"),
    ("1,234", "1234", "+++++"),
    ("1234", "1,234", "+++++"),
    ("42.", "42", "+++++"),
    ("-5", "-5", "+++++"),
    ("-5", "5", "-----"),
    ("43", "42", "-----"),
    ("42.5", "42", "-----"),
    ("none", "42", "-----"),
]


@pytest.mark.parametrize(("answer", "gold", "said"), AGREED)
def test_agreement(answer: str, gold: str, said: str) -> None:
    assert verdicts(answer, gold) == said


DIFFER = {
    "other decimals": [
        ("42.0", "42", "-++-+"),
        ("$1,234.00", "1234", "-++-+"),
        (".5", "0.5", "-++-+"),
        ("042", "42", "-++-+"),
    ],
    "fractions and exponents": [
        ("1/2", "0.5", "-++-+"),
        ("3 1/2", "3.5", "-++-+"),
        ("1e3", "1000", "-++-+"),
    ],
    "Unicode": [("\u22125", "-5", "-++-+"), ("\uff17", "7", "-++-+")],
    "signs and currency": [("$42", "42", "-++++"), ("+5", "5", "-++++"), ("-$5", "-5", "-++++")],
    "words around": [
        ("42 eggs", "42", "+-+++"),
        ("The answer is 42", "42", "--+++"),
        ("**42**", "42", "--+++"),
        ("42 and so on...", "42", "+-+-+"),
    ],
    "several numbers": [("42, or 43", "42", "+----"), ("7 each, so 42", "42", "--+++")],
    "a minus that subtracts": [("10-52", "-52", "---+-")],
    "commas elsewhere": [("1,23", "123", "+--+-"), ("4,2", "42", "+--+-")],
    "digits of a name": [("x42", "42", "---+-")],
}
CASES = [(kind, *case) for kind, cases in DIFFER.items() for case in cases]


@pytest.mark.parametrize(("kind", "answer", "gold", "said"), CASES)
def test_every_difference_is_known(kind: str, answer: str, gold: str, said: str) -> None:
    assert verdicts(answer, gold) == said
    strict, exact, numerical, extracted, flexible = said
    assert strict != exact or strict != numerical or extracted != flexible, kind


@pytest.mark.parametrize("kind", DIFFER)
def test_every_difference_is_explained(kind: str) -> None:
    text = (PROJECT / "docs" / "rewards.md").read_text(encoding="utf-8")
    assert f"| {kind} |" in text


def test_real_solutions_are_right_for_both(gsm8k: list[dict[str, str]]) -> None:
    for row in gsm8k:
        gold = gold_of(row["answer"])
        assert verdicts(gold, gold) == "+++++", gold


def test_last_numbers_of_real_solutions_differ_in_known_ways(gsm8k: list[dict[str, str]]) -> None:
    kinds: Counter[str] = Counter()
    for row in gsm8k:
        worked, gold = row["answer"].rpartition("####")[0].strip(), gold_of(row["answer"])
        extracted = theirs(worked, gold, "flexible-extract")
        flexible = assess(worked, gold, TAGS, SETTINGS).flexible
        if extracted == flexible:
            kinds["agreed"] += 1
        elif flexible and f"{gold}.00" in worked.replace(",", ""):
            kinds["other decimals"] += 1
        else:
            kinds[worked[-60:]] += 1
    fraction = " more than a mixture of 1/5 pound almonds and 1/3 pound walnuts."
    assert (kinds["agreed"], kinds["other decimals"]) == (1283, 35)
    (other,) = kinds.keys() - {"agreed", "other decimals"}
    assert fraction.endswith(other)
