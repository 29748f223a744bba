"""Findings: rules that are run and rules that are not, and rows in short."""

from __future__ import annotations

from activeuf_core.preparation.findings import Rule, Verdict, run_rules, shown


def odd(number: int) -> Verdict:
    return Verdict(number % 2 == 1, f"{number} is looked at.", {"number": number})


RULES = (Rule("hard", True, odd), Rule("soft", False, odd))


def test_all_rules_are_run_by_name() -> None:
    found = run_rules(RULES, 2)
    assert [(one.name, one.passed, one.blocking) for one in found] == [
        ("hard", False, True),
        ("soft", False, False),
    ]


def test_only_what_blocks_is_looked_at_and_the_rest_says_so() -> None:
    hard, soft = run_rules(RULES, 2, only_blocking=True)
    assert not hard.passed and not hard.skipped
    assert soft.passed and soft.skipped and soft.description.startswith("Not looked at")
    assert soft.as_record()["values"] == {"skipped": 1}


def test_a_few_rows_are_shown_in_short() -> None:
    rows = [("train", {"id": f"r{at}", "text": "x" * 500, "more": 1}) for at in range(9)]
    found = shown(rows, "text")
    assert [one["id"] for one in found] == ["r0", "r1", "r2", "r3", "r4"]
    assert set(found[0]) == {"split", "id", "text"} and len(found[0]["text"]) == 200
