"""The demo's own data hold together: prompts, completions, provenance, benchmark question sets."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.annotations.verifiable import ASPECTS, check, rate, validate

DEMO = Path(__file__).resolve().parent.parent / "demo"
MATH_SUBJECTS = {
    "Algebra",
    "Counting & Probability",
    "Geometry",
    "Intermediate Algebra",
    "Number Theory",
    "Prealgebra",
    "Precalculus",
}
RB2_SUBSETS = {"Factuality", "Focus", "Math", "Precise IF", "Safety", "Ties"}

Row = dict[str, Any]


def read(name: str) -> list[Row]:
    return [json.loads(line) for line in (DEMO / name).read_text("utf-8").splitlines()]


PROMPTS = read("prompts.jsonl")
POOL = read("pool.jsonl")
PROVENANCE = json.loads((DEMO / "pool_provenance.json").read_text("utf-8"))


def by_id(row: Row) -> str:
    return str(row["prompt_id"])


def overall(row: Row, response: str) -> float:
    ratings = rate(row["constraints"], response)
    return sum(ratings.values()) / len(ratings)


def test_prompts_have_unique_ids_and_texts() -> None:
    assert [row["prompt_id"] for row in PROMPTS] == [f"demo-{n:03d}" for n in range(1, 73)]
    assert len({row["prompt"].casefold() for row in PROMPTS}) == len(PROMPTS)


@pytest.mark.parametrize("row", PROMPTS, ids=by_id)
def test_constraints_are_valid_and_the_answer_meets_them(row: Row) -> None:
    for constraint in row["constraints"]:
        validate(constraint)
        assert check(constraint, row["answer"]), constraint


@pytest.mark.parametrize("row", PROMPTS, ids=by_id)
def test_the_answer_is_rated_five_in_every_aspect(row: Row) -> None:
    assert rate(row["constraints"], row["answer"]) == dict.fromkeys(ASPECTS, 5.0)


def test_pool_holds_the_prompts_unchanged() -> None:
    assert [{k: v for k, v in row.items() if k != "completions"} for row in POOL] == PROMPTS


@pytest.mark.parametrize("row", POOL, ids=by_id)
def test_every_member_answered_every_prompt(row: Row) -> None:
    members = [member["name"] for member in PROVENANCE["members"]]
    assert [completion["model"] for completion in row["completions"]] == members
    assert all(completion["response"].strip() for completion in row["completions"])


def test_member_names_can_be_partition_keys() -> None:
    names = [member["name"] for member in PROVENANCE["members"]]
    assert len(names) == 6
    assert all(re.fullmatch(r"[a-z0-9._-]+", name) for name in names)


def test_most_prompts_have_a_spread_in_overall_score() -> None:
    scores = [[overall(row, c["response"]) for c in row["completions"]] for row in POOL]
    num_spread = sum(max(values) - min(values) >= 0.25 for values in scores)
    assert num_spread >= 0.8 * len(POOL)


def test_members_differ_in_mean_overall_score() -> None:
    scores = defaultdict(list)
    for row in POOL:
        for completion in row["completions"]:
            scores[completion["model"]].append(overall(row, completion["response"]))
    means = sorted(sum(values) / len(values) for values in scores.values())
    assert means[-1] - means[0] > 0.4


@pytest.mark.parametrize("name", ["prompts.jsonl", "pool.jsonl"])
def test_provenance_records_the_files_as_they_are(name: str) -> None:
    content = (DEMO / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == PROVENANCE["sha256"][name]
    assert len(content) < 300_000


def test_gsm8k_answers_end_with_the_number() -> None:
    rows = read("benchmarks/gsm8k.jsonl")
    assert len(rows) == 16
    for row in rows:
        working, _, number = row["answer"].partition("\n#### ")
        assert re.findall(r"\d+", working.rpartition("=")[2])[:1] == [number]


def test_math_solutions_hold_one_box_and_a_known_subject() -> None:
    rows = read("benchmarks/minerva_math.jsonl")
    assert len(rows) == 12
    assert all(row["solution"].count(r"\boxed{") == 1 for row in rows)
    subjects = {row["type"] for row in rows}
    assert subjects <= MATH_SUBJECTS
    assert len(subjects) >= 3


def test_ifeval_rows_pair_instructions_with_arguments() -> None:
    rows = read("benchmarks/ifeval.jsonl")
    assert [row["key"] for row in rows] == list(range(1, 13))
    assert all(len(row["instruction_id_list"]) == len(row["kwargs"]) for row in rows)


def test_truthfulqa_has_one_best_choice_and_some_wrong_ones() -> None:
    rows = read("benchmarks/truthfulqa.jsonl")
    assert len(rows) == 10
    for row in rows:
        mc1, mc2 = row["mc1_targets"], row["mc2_targets"]
        assert sum(mc1["labels"]) == mc1["labels"][0] == 1
        assert set(mc2["labels"]) == {0, 1}
        for target in (mc1, mc2):
            assert len(set(target["choices"])) == len(target["labels"])


def test_rewardbench2_counts_fit_and_every_domain_occurs() -> None:
    rows = read("benchmarks/rewardbench2.jsonl")
    assert len(rows) == len({row["id"] for row in rows}) == 18
    for row in rows:
        assert (row["num_correct"], row["num_incorrect"]) == (
            len(row["chosen"]),
            len(row["rejected"]),
        )
        assert row["total_completions"] == len(set(row["chosen"]) | set(row["rejected"]))
    domains = Counter(row["subset"] for row in rows)
    assert set(domains) == RB2_SUBSETS
    assert min(domains.values()) >= 2


def test_rewardbench2_ties_come_in_pairs_of_one_and_many_right_ones() -> None:
    ties = [r for r in read("benchmarks/rewardbench2.jsonl") if r["subset"] == "Ties"]
    kinds = defaultdict(set)
    for row in ties:
        kind, _, number = row["id"].partition(":")
        kinds[number].add(kind)
        assert (row["num_correct"] == 1) is (kind == "ref")
    assert len(kinds) >= 2
    assert all(kind == {"ref", "tied"} for kind in kinds.values())


def test_alpaca_eval_has_one_reference_with_an_output_each() -> None:
    rows = read("benchmarks/alpaca_eval.jsonl")
    assert {row["generator"] for row in rows} == {"our-own-answers"}
    assert all(row["output"].strip() for row in rows)
    assert len({len(row["output"]) for row in rows}) > 1


def test_no_benchmark_question_is_a_prompt() -> None:
    prompts = {row["prompt"].casefold() for row in PROMPTS}
    for path in (DEMO / "benchmarks").iterdir():
        questions = [
            next(row[key] for key in ("prompt", "question", "problem", "instruction") if key in row)
            for row in read(f"benchmarks/{path.name}")
        ]
        assert not prompts & {question.casefold() for question in questions}
        assert len(set(questions)) == len(questions)
