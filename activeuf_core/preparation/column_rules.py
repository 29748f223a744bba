"""Rules on raw rows: is what was read what the format says?

In: what the source gave. Out: verdicts. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from activeuf_core.preparation.config import Format, Split
from activeuf_core.preparation.findings import Rule, Verdict
from activeuf_core.preparation.normalise import column_faults, needed_columns
from activeuf_core.preparation.revision import Revision


@dataclass(frozen=True)
class RawFacts:
    """What a source gave: rows and columns by split, and its revision."""

    counts: Mapping[Split, int]
    columns: Mapping[Split, tuple[str, ...]]
    form: Format
    revision: Revision


def splits_have_rows(facts: RawFacts) -> Verdict:
    """Every split that the source was asked for has rows."""
    empty = [split for split, count in facts.counts.items() if count == 0]
    told = ", ".join(f"{split}: {count}" for split, count in facts.counts.items())
    return Verdict(not empty, f"Rows read: {told}.", {**facts.counts})


def columns_as_expected(facts: RawFacts) -> Verdict:
    """Every split has the columns that the format needs, and none that it does not know."""
    faults = []
    for split, columns in facts.columns.items():
        found = column_faults(columns, facts.form) if facts.counts[split] else None
        if found is not None and not found.is_empty:
            faults.append({"split": split, "missing": found.missing, "unknown": found.unknown})
    if not faults:
        seen = {name for columns in facts.columns.values() for name in columns}
        needed = ", ".join(needed_columns(seen, facts.form))
        return Verdict(True, f"{facts.form.kind}: all of {needed} are there.")
    told = "; ".join(
        f"{one['split']}: missing {', '.join(one['missing']) or 'none'}, "
        f"unknown {', '.join(one['unknown']) or 'none'}"
        for one in faults
    )
    advice = "Choose another format.kind, or list what may be ignored (ignore_columns)."
    return Verdict(False, f"{facts.form.kind}: {told}. {advice}", {"splits": len(faults)}, faults)


def revision_is_pinned(facts: RawFacts) -> Verdict:
    """The same rows can be read again."""
    found = facts.revision
    name = f"{found.kind} {found.name}"
    if found.is_pinned:
        told = f"revision {found.revision}" if found.revision else f"{len(found.files)} digests"
        return Verdict(True, f"{name}: {told}.", {"files": len(found.files)})
    return Verdict(
        False,
        f"{name}: {found.revision!r} is a name that may move. Give the commit of 40 digits.",
        {"revision": found.revision},
    )


RAW_RULES: tuple[Rule[RawFacts], ...] = (
    Rule("raw_splits_non_empty", True, splits_have_rows),
    Rule("required_columns", True, columns_as_expected),
    Rule("revision_pinned", False, revision_is_pinned),
)
"""The checks of `raw_dataset`."""
