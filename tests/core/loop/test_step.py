"""One batch: score, acquire, label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from activeuf_core.acquisition.config import (
    DeltaQwenConfig,
    DeltaUCBConfig,
    DTSConfig,
    MaxMinConfig,
    RandomConfig,
    UltraFeedbackConfig,
)
from activeuf_core.acquisition.registry import build
from activeuf_core.errors import DataError
from activeuf_core.loop.oracle import Outcome
from activeuf_core.loop.step import Batch, Step, gather, take_step

DELTAUCB = DeltaUCBConfig()


@dataclass
class Estimate:
    """Stands for the ENN's estimate: three heads around a given mean."""

    mean_PC: Any

    def __post_init__(self) -> None:
        self.heads_EPC = self.mean_PC + np.array([-1.0, 0.0, 1.0])[:, None, None]
        self.lower_PC, self.upper_PC = self.mean_PC - 1.0, self.mean_PC + 1.0


def estimate_of(batch: Batch) -> Any:
    """Return rewards that differ between all completions and do not depend on the batch."""
    return Estimate(np.sin(batch.row_PC * 7.0))


def step_of(pool: Any, prompts: list[int], config: Any = DELTAUCB, **options: Any) -> Step:
    table = pool.write().table()
    batch = gather(table, np.array(prompts), options.pop("index", 0))
    settings = {"seed": 4, "annotations_left": None, "ties": "drop", **options}
    return take_step(batch, estimate_of(batch), table, build(config), **settings)


def test_batch_is_padded_to_its_widest_prompt(pool: Any) -> None:
    batch = gather(pool.write().table(), np.array([2, 1]), 5)
    assert batch.prompt_ids == ("p0002", "p0001")
    assert batch.row_PC.tolist() == [[7, 8, 9, 0], [3, 4, 5, 6]]
    assert batch.mask_PC.tolist() == [[True, True, True, False], [True] * 4]


def test_rows_follow_the_selected_pair(pool: Any) -> None:
    step = step_of(pool, [2, 0])
    reward = np.sin(np.arange(21) * 7.0)
    best = [7 + int(reward[7:10].argmax()), int(reward[:3].argmax())]
    worst = [7 + int(reward[7:10].argmin()), int(reward[:3].argmin())]
    assert step.rows_N2.T.tolist() == [best, worst]


def test_chosen_has_the_higher_score_whichever_was_selected_first(pool: Any) -> None:
    step = step_of(pool, [0, 1, 2, 3, 4, 5])
    score_K2 = pool.table().score_R[step.decided(step.rows_N2)]
    assert (score_K2[:, 0] > score_K2[:, 1]).all()
    assert not step.labels.first_is_chosen_N.all()


@pytest.mark.parametrize("config", [RandomConfig(), DTSConfig(noise="uniform")])
def test_a_prompts_draw_does_not_depend_on_its_batch(pool: Any, config: Any) -> None:
    alone = step_of(pool, [3], config)
    together = step_of(pool, [1, 3, 0], config)
    assert alone.rows_N2.tolist() == together.rows_N2[1:2].tolist()


def test_draws_depend_on_seed_and_batch(make_pool: Any) -> None:
    pool, prompts = make_pool(40), list(range(40))
    first = step_of(pool, prompts, RandomConfig()).rows_N2
    assert not np.array_equal(first, step_of(pool, prompts, RandomConfig(), seed=5).rows_N2)
    assert not np.array_equal(first, step_of(pool, prompts, RandomConfig(), index=1).rows_N2)


def test_missing_score_of_a_selected_completion_is_passed_over(pool: Any) -> None:
    for row in pool.rows[:3]:
        row["overall_score"] = None
    step = step_of(pool, [0, 1])
    assert step.labels.outcome_N.tolist() == [Outcome.MISSING, Outcome.COMPARED]
    assert (step.missing, step.labels.annotations) == (1, 2)


def test_rule_that_reads_scores_ranks_only_what_was_rated(pool: Any) -> None:
    for row in (0, 1, 4):
        pool.rows[row]["overall_score"] = None
    step = step_of(pool, [0, 1], MaxMinConfig())
    assert (step.missing, step.prompt_N.tolist()) == (1, [1])
    assert 4 not in step.rows_N2
    assert step.judgements == 3


def test_batch_without_any_score_gives_an_empty_step(pool: Any) -> None:
    for row in pool.rows:
        row["overall_score"] = None
    step = step_of(pool, [0, 1], MaxMinConfig())
    assert (len(step.rows_N2), step.missing, step.judgements) == (0, 2, 0)


def test_identical_texts_are_passed_over(pool: Any) -> None:
    for row in pool.rows[:3]:
        row["completion"] = "the same"
    assert step_of(pool, [0]).labels.outcome_N.tolist() == [Outcome.IDENTICAL]


def test_judgements_are_those_of_the_pair_or_of_all_that_was_ranked(pool: Any) -> None:
    assert step_of(pool, [0, 1]).judgements == 4
    assert step_of(pool, [0, 1], MaxMinConfig()).judgements == 7
    assert step_of(pool, [0, 1], UltraFeedbackConfig(num_sampled=2)).judgements == 4


def test_budget_ends_within_the_batch(pool: Any) -> None:
    step = step_of(pool, [5, 4, 3], annotations_left=3)
    assert step.labels.outcome_N.tolist() == [0, Outcome.UNBOUGHT, Outcome.UNBOUGHT]
    assert step.decided(step.rows_N2).shape == (1, 2)


def test_rule_that_finds_completions_by_model_gets_names(pool: Any) -> None:
    step = step_of(pool, [1], DeltaQwenConfig(chosen_model="m2", rejected_model="m0"))
    assert step.rows_N2.tolist() == [[5, 3]]
    with pytest.raises(DataError, match="'p0000' has no completion of 'm3'"):
        step_of(pool, [0], DeltaQwenConfig(chosen_model="m3", rejected_model="m0"))
