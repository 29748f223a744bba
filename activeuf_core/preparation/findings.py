"""What a rule found out about a data set, and how rules are run.

In: rules and facts. Out: `Finding`s: passed or not, in a sentence, with figures and rows that show
why. A rule is a pure function, so that each can be tried on a few rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

Facts = TypeVar("Facts")
MAX_EXAMPLES = 5
LONGEST_TEXT = 200
NOT_LOOKED_AT = "Not looked at: validation is switched off."


@dataclass(frozen=True)
class Verdict:
    """What a rule says. `examples`: offending rows in short, at most five."""

    passed: bool
    description: str
    values: Mapping[str, float | str] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Rule(Generic[Facts]):
    """A check by its fixed name; blocking where training on the data would be wrong."""

    name: str
    blocking: bool
    judge: Callable[[Facts], Verdict]


@dataclass(frozen=True)
class Finding:
    """A rule's verdict, as `stats.json` keeps it."""

    name: str
    passed: bool
    blocking: bool
    skipped: bool
    description: str
    values: Mapping[str, float | str]
    examples: Sequence[Mapping[str, Any]]

    def as_record(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def run_rules(
    rules: Sequence[Rule[Facts]], facts: Facts, *, only_blocking: bool = False
) -> list[Finding]:
    """Return a finding per rule. Args: only_blocking: let the others stand as not looked at."""
    found = []
    for rule in rules:
        skipped = only_blocking and not rule.blocking
        verdict = Verdict(True, NOT_LOOKED_AT, {"skipped": 1}) if skipped else rule.judge(facts)
        found.append(
            Finding(
                rule.name,
                verdict.passed,
                rule.blocking,
                skipped,
                verdict.description,
                verdict.values,
                [dict(one) for one in verdict.examples],
            )
        )
    return found


def shown(rows: Iterable[tuple[str, Mapping[str, Any]]], *fields: str) -> list[dict[str, Any]]:
    """Return the first few (split, row) in short: split, id, and some fields."""
    return [
        {"split": split, "id": row["id"], **{name: _cut(row[name]) for name in fields}}
        for (split, row), _ in zip(rows, range(MAX_EXAMPLES), strict=False)
    ]


def _cut(value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= LONGEST_TEXT:
        return value
    return f"{value[: LONGEST_TEXT - 1]}…"
