"""Rules on a prepared data set: what a person would want to know before training on it.

In: DATASET_ROW rows by split, settings, statistics. Out: verdicts, each with the rows that show
why. Pure functions: they look at what will be written, not at how it was made, so that a fault in
the making is found too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from activeuf_core.preparation.config import SPLITS, PreparedDatasetConfig, Split
from activeuf_core.preparation.findings import Rule, Verdict, shown
from activeuf_core.preparation.rows import content_key, text_of
from activeuf_core.preparation.splitting import expected_fractions, normalised_question
from activeuf_core.preparation.statistics import Statistics, drift
from activeuf_core.rewards import rubrics
from activeuf_core.rewards.number_parsing import parse_number

Row = Mapping[str, Any]
MUST_BE_FILLED = ("question", "answer", "gold", "rubric")
FAR_OFF = 4.0
"""Standard deviations that a small data set's fractions may lie off: 1 in 16,000 lies beyond."""


@dataclass(frozen=True)
class Facts:
    """A prepared data set and what it was made with.

    `official`: splits that the source has; the others were cut from its train split.
    `tokens`: of each prompt, by id, where a tokenizer is named. `dropped`: rows that left, by
    reason. `before`: statistics of an earlier preparation.
    """

    splits: Mapping[Split, Sequence[Row]]
    official: frozenset[Split]
    config: PreparedDatasetConfig
    statistics: Statistics = field(default_factory=dict)
    tokens: Mapping[str, int] | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    before: Statistics | None = None

    @property
    def rows(self) -> Iterator[tuple[Split, Row]]:
        """All rows, each with its split."""
        for split in SPLITS:
            for row in self.splits.get(split, ()):
                yield split, row

    @property
    def count(self) -> int:
        """The number of all rows."""
        return sum(map(len, self.splits.values()))


def splits_have_rows(facts: Facts) -> Verdict:
    """Every split that was asked for has rows: one of fraction 0 is not."""
    shares = expected_fractions(facts.config.fractions, facts.official)
    wanted: list[Split] = [split for split in SPLITS if shares.get(split, 1.0) > 0]
    counts = {split: len(facts.splits.get(split, ())) for split in wanted}
    told = ", ".join(f"{split}: {count}" for split, count in counts.items())
    return Verdict(all(counts.values()), f"Rows: {told}.", dict(counts))


def no_blank_fields(facts: Facts) -> Verdict:
    """No question, answer, rubric or completion is empty where there should be one."""
    blank = [
        (split, {**row, "blank": ", ".join(names)})
        for split, row in facts.rows
        if (names := _blank_fields(row))
    ]
    return Verdict(
        not blank,
        f"{len(blank)} of {facts.count} rows have an empty field.",
        {"rows": len(blank)},
        shown(blank, "blank", "question"),
    )


def gold_answers_parse(facts: Facts) -> Verdict:
    """Every gold answer is a number, where the format says that they are."""
    if facts.config.format.answers != "number":
        return Verdict(True, "Gold answers are no numbers in this format.")
    wrong = [(s, row) for s, row in facts.rows if parse_number(row["gold"] or "") is None]
    return Verdict(
        not wrong,
        f"{facts.count - len(wrong)} of {facts.count} gold answers are numbers.",
        {"without_number": len(wrong)},
        shown(wrong, "gold", "answer"),
    )


def tags_are_asked_for(facts: Facts) -> Verdict:
    """A policy is told of the tags that rewards pay for, and no question contains one."""
    tags = list(facts.config.prompt.tags.model_dump().values())
    needed = facts.config.format.answers == "number"
    missing = [tag for tag in tags if needed and tag not in facts.config.system_prompt]
    inside = [(s, row) for s, row in facts.rows if any(tag in row["question"] for tag in tags)]
    told = f"The system prompt lacks {', '.join(missing)}." if missing else "All tags are told."
    if not needed:
        told = "Answers are no numbers: no tags are needed."
    return Verdict(
        not missing and not inside,
        f"{told} {len(inside)} questions contain a tag.",
        {"missing": len(missing), "questions_with_a_tag": len(inside)},
        shown(inside, "question"),
    )


def splits_share_nothing(facts: Facts) -> Verdict:
    """No normalised question stands in two splits."""
    first: dict[str, Split] = {}
    leaked = []
    for split, row in facts.rows:
        known = first.setdefault(normalised_question(row["question"]), split)
        if known != split:
            leaked.append((split, {**row, "also_in": known}))
    gone = facts.dropped.get("in_another_split", 0)
    return Verdict(
        not leaked,
        f"{len(leaked)} rows have a question that another split has; {gone} were dropped for it.",
        {"rows": len(leaked), "dropped": gone},
        shown(leaked, "also_in", "question"),
    )


def few_rows_repeat(facts: Facts) -> Verdict:
    """Few rows say what another one says: those that are left and those that were dropped."""
    seen: set[str] = set()
    again = []
    for split, row in facts.rows:
        key = content_key({**row, **{s: text_of(row[s]) for s in ("chosen", "rejected")}})
        if key in seen:
            again.append((split, row))
        seen.add(key)
    gone = facts.dropped.get("repeated", 0)
    total = facts.count + gone
    share = (len(again) + gone) / max(total, 1)
    return Verdict(
        share <= facts.config.limits.duplicate_share,
        f"{share:.2%} of {total} rows repeat another; {gone} were dropped.",
        {"share": share, "kept": len(again), "dropped": gone},
        shown(again, "question"),
    )


def answers_agree(facts: Facts) -> Verdict:
    """No question has two gold answers."""
    first: dict[str, Any] = {}
    torn = []
    for split, row in facts.rows:
        if row["gold"] is None:
            continue
        said = _comparable(row["gold"])
        known = first.setdefault(normalised_question(row["question"]), said)
        if known != said:
            torn.append((split, {**row, "other_gold": str(known)}))
    return Verdict(
        not torn,
        f"{len(torn)} rows contradict the gold answer of the same question.",
        {"rows": len(torn)},
        shown(torn, "gold", "other_gold", "question"),
    )


def prompts_fit(facts: Facts) -> Verdict:
    """Few prompts exceed the budget: those that were dropped and those that are left."""
    budget = facts.config.budget
    over = [
        (split, {**row, "length": length_of(row, facts.tokens)})
        for split, row in facts.rows
        if is_over_budget(row, facts.config, facts.tokens)
    ]
    gone = facts.dropped.get("over_budget", 0)
    total = facts.count + gone
    share = (len(over) + gone) / max(total, 1)
    limit = (
        f"{budget.characters} characters (no tokenizer is named, so tokens were not counted)"
        if facts.tokens is None
        else f"{budget.tokens} tokens"
    )
    return Verdict(
        share <= facts.config.limits.over_budget_share,
        f"{share:.2%} of {total} prompts exceed {limit}; {gone} were dropped.",
        {"share": share, "kept": len(over), "dropped": gone},
        shown(over, "length", "question"),
    )


def fractions_hold(facts: Facts) -> Verdict:
    """The rows that were divided lie in the splits as the fractions say."""
    shares = expected_fractions(facts.config.fractions, facts.official)
    questions = {
        split: len({normalised_question(row["question"]) for row in facts.splits.get(split, ())})
        for split in shares
    }
    total = sum(questions.values())
    found = {split: count / max(total, 1) for split, count in questions.items()}
    tolerance = facts.config.limits.fraction_tolerance
    off = [
        split
        for split, share in shares.items()
        if abs(found[split] - share)
        > max(tolerance, FAR_OFF * math.sqrt(share * (1 - share) / max(total, 1)))
    ]
    told = ", ".join(f"{split} {found[split]:.1%} (of {shares[split]:.1%})" for split in shares)
    kept = ", ".join(sorted(facts.official - {"train"})) or "none"
    return Verdict(
        not off, f"Questions divided: {told}. Official splits: {kept}.", {**found, "off": len(off)}
    )


def rubrics_parse(facts: Facts) -> Verdict:
    """Every rubric has numbered items, of which at least one says what it is."""
    texts = [(split, row) for split, row in facts.rows if row["rubric"]]
    bare = [(split, row) for split, row in texts if not _has_marked_items(row["rubric"])]
    told = (
        f"{len(texts) - len(bare)} of {len(texts)} rubrics have items marked as rule or principle."
    )
    return Verdict(
        not bare,
        told if texts else "No row has a rubric.",
        {"rubrics": len(texts), "without_items": len(bare)},
        shown(bare, "rubric"),
    )


def pairs_differ(facts: Facts) -> Verdict:
    """No completion is chosen over itself."""
    pairs = [(split, row) for split, row in facts.rows if row["chosen"] is not None]
    same = [(s, row) for s, row in pairs if text_of(row["chosen"]) == text_of(row["rejected"])]
    return Verdict(
        not same,
        f"{len(same)} of {len(pairs)} pairs are two times the same completion.",
        {"pairs": len(pairs), "same": len(same)},
        shown(same, "question"),
    )


def statistics_are_stable(facts: Facts) -> Verdict:
    """No figure moved far from what it was before."""
    if facts.before is None:
        return Verdict(True, "There are no earlier statistics to compare with.", {"compared": 0})
    moved = drift(facts.statistics, facts.before)
    limit = facts.config.limits.drift
    far = {name: value for name, value in moved.items() if value > limit}
    told = ", ".join(f"{name} by {value:.0%}" for name, value in sorted(far.items())) or "none"
    return Verdict(
        not far,
        f"Figures that moved by more than {limit:.0%} since the last preparation: {told}.",
        {"compared": len(moved), "largest": max(moved.values(), default=0.0)},
        [{"figure": name, "moved": value} for name, value in sorted(far.items())][:5],
    )


RULES: tuple[Rule[Facts], ...] = (
    Rule("splits_non_empty", True, splits_have_rows),
    Rule("no_blank_fields", True, no_blank_fields),
    Rule("gold_answer_parseable", True, gold_answers_parse),
    Rule("split_leakage", True, splits_share_nothing),
    Rule("tags_configured", False, tags_are_asked_for),
    Rule("duplicate_rate", False, few_rows_repeat),
    Rule("answers_agree", False, answers_agree),
    Rule("prompt_fits_budget", False, prompts_fit),
    Rule("split_fractions", False, fractions_hold),
    Rule("rubrics_parseable", False, rubrics_parse),
    Rule("pairs_differ", False, pairs_differ),
    Rule("stats_drift", False, statistics_are_stable),
)
"""The checks of `prepared_dataset`."""


def length_of(row: Row, tokens: Mapping[str, int] | None) -> int:
    """Return the length of a prompt, in tokens where they were counted, else in characters."""
    return len(text_of(row["prompt"])) if tokens is None else tokens[row["id"]]


def is_over_budget(
    row: Row, config: PreparedDatasetConfig, tokens: Mapping[str, int] | None
) -> bool:
    """Whether a prompt exceeds the budget, of tokens where they were counted."""
    limit = config.budget.characters if tokens is None else config.budget.tokens
    return length_of(row, tokens) > limit


def _blank_fields(row: Row) -> list[str]:
    names = [name for name in MUST_BE_FILLED if row[name] is not None and not row[name].strip()]
    sides = [side for side in ("chosen", "rejected") if row[side] is not None]
    return names + [side for side in sides if not text_of(row[side]).strip()]


def _comparable(gold: str) -> Any:
    number = parse_number(gold)
    return number if number is not None else normalised_question(gold)


def _has_marked_items(text: str) -> bool:
    lines = [found[1] for line in text.splitlines() if (found := rubrics.ITEM.match(line))]
    return any(rubrics.KIND.search(line) for line in lines)
