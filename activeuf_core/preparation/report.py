"""A data set's report for a person, as Markdown.

In: the body of `stats.json`. Out: text. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Body = Mapping[str, Any]
FILES_TOLD = 10


def render(stats: Body) -> str:
    """Return the report."""
    parts = [
        [f"# Data set {stats['config_name']}", "", _origin(stats["revision"])],
        ["## Splits", "", *_splits(stats["splits"])],
        ["## Lengths (characters)", "", *_lengths(stats["splits"])],
        _golds(stats["splits"]),
        ["## Left out", "", *(f"- {name}: {count}" for name, count in stats["dropped"].items())],
        ["## Checks", "", *_checks(stats["validation"]["checks"])],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _origin(revision: Body) -> str:
    told = f", revision `{revision['revision']}`" if revision["revision"] else ""
    lines = [f"\n- `{name}` sha256 `{sha}`" for name, sha in revision["files"].items()]
    more = len(lines) - FILES_TOLD
    if more > 0:
        lines = [*lines[:FILES_TOLD], f"\n- and {more} more: see `revision.json`"]
    return f"Source: {revision['kind']} `{revision['name']}`{told}.{''.join(lines)}"


def _splits(splits: Body) -> list[str]:
    rows = [
        [
            name,
            f"{split['num_examples']:,}",
            f"{split['unique_questions']:,}",
            "official" if split["official"] else "by hash",
            f"`{split['sha256'][:12]}`",
        ]
        for name, split in splits.items()
    ]
    return _table(["split", "rows", "questions", "divided", "sha256"], rows)


def _lengths(splits: Body) -> list[str]:
    rows = [
        [name, field, *(f"{found[key]:,.0f}" for key in ("min", "p50", "p95", "max"))]
        for name, split in splits.items()
        for field, found in split["characters"].items()
    ]
    return _table(["split", "field", "least", "median", "95 %", "most"], rows)


def _golds(splits: Body) -> list[str]:
    told = {name: split["gold"] for name, split in splits.items() if "gold" in split}
    if not told:
        return []
    names = list(next(iter(told.values())))
    rows = [[split, *(f"{golds[name]:,}" for name in names)] for split, golds in told.items()]
    return ["## Gold answers", "", *_table(["split", *(n.replace("_", " ") for n in names)], rows)]


def _checks(checks: Sequence[Body]) -> list[str]:
    rows = [[one["name"], _word(one), one["description"]] for one in checks]
    lines = _table(["check", "result", "what was found"], rows)
    for one in checks:
        if one["examples"] and not one["passed"]:
            lines += ["", f"### {one['name']}", ""]
            lines += [f"- {_told(example)}" for example in one["examples"]]
    return lines


def _word(check: Body) -> str:
    if check["skipped"]:
        return "skipped"
    if check["passed"]:
        return "passed"
    return "**failed**" if check["blocking"] else "warning"


def _told(example: Body) -> str:
    return "; ".join(f"{name}: {_line(value)}" for name, value in example.items())


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    heads = list(head)
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(map(_line, line))} |" for line in lines]


def _line(value: Any) -> str:
    """Return a value on one line, with nothing in it that ends a table's cell."""
    return " ".join(str(value).split()).replace("|", "\\|")
