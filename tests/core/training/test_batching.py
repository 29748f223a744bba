"""How a batch is divided, and how many steps that makes."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.config import ModelRef
from activeuf_core.errors import ConfigError
from activeuf_core.training.batching import (
    Batching,
    halve,
    plan_batching,
    plan_steps,
    reference_pays_in_advance,
)
from activeuf_core.training.config import TrainingConfig


def config(**changes: Any) -> TrainingConfig:
    return TrainingConfig(base_model=ModelRef(name="m", identity="i"), **changes)


def test_batch_is_divided_over_processes_and_passes() -> None:
    assert plan_batching(config(batch_size=32, per_device_batch_size=4)) == Batching(4, 8)
    assert plan_batching(config(batch_size=32, per_device_batch_size=4), 8) == Batching(4, 1)


def test_batch_that_cannot_be_divided_says_what_can() -> None:
    with pytest.raises(ConfigError, match=r"batch_size 12 .* 5 x 1 .* may be: 1, 2, 3, 4, 6, 12\."):
        plan_batching(config(batch_size=12, per_device_batch_size=5))
    with pytest.raises(ConfigError, match="may be: 1, 2, 4"):
        plan_batching(config(batch_size=12, per_device_batch_size=12), 3)
    with pytest.raises(ConfigError, match="must be a multiple of 5"):
        plan_batching(config(batch_size=12, per_device_batch_size=4), 5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Batching(8, 2), Batching(4, 4)),
        (Batching(3, 4), Batching(1, 12)),
        (Batching(5, 2), Batching(2, 5)),
        (Batching(1, 8), None),
    ],
)
def test_out_of_memory_keeps_the_step_and_halves_the_pass(
    before: Batching, after: Batching | None
) -> None:
    assert halve(before) == after


def test_steps_count_the_last_smaller_batch() -> None:
    schedule = plan_steps(config(batch_size=8, epochs=3, warmup_fraction=0.1), 20)
    assert (schedule.steps, schedule.warmup_steps, schedule.passes) == (9, 1, 3.0)


def test_steps_of_part_of_an_epoch_and_of_a_limit() -> None:
    assert plan_steps(config(batch_size=8, epochs=0.5), 80).steps == 5
    limited = plan_steps(config(batch_size=8, epochs=3, max_steps=4, warmup_fraction=1.0), 80)
    assert (limited.steps, limited.warmup_steps, limited.passes) == (4, 4, 0.4)


def test_reference_is_computed_in_advance_where_it_is_used_again() -> None:
    once = plan_steps(config(batch_size=8, epochs=1), 80)
    twice = plan_steps(config(batch_size=8, epochs=2), 80)
    assert not reference_pays_in_advance(once)
    assert reference_pays_in_advance(twice)
    assert not reference_pays_in_advance(twice, num_processes=2)
