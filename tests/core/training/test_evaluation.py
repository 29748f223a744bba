"""When the held-out comparisons are scored."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from activeuf_core.training.evaluation import EvaluateEvery


@pytest.mark.parametrize(
    ("every", "steps"), [(None, []), (1, [1, 2, 3, 4, 5]), (2, [2, 4]), (3, [3]), (6, []), (9, [])]
)
def test_every_so_many_steps_but_not_the_last(
    tmp_path: Path, every: int | None, steps: list[int]
) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    callback = EvaluateEvery(every)
    asked = [
        step
        for step in range(1, 7)
        if callback.on_step_end(
            arguments, TrainerState(global_step=step, max_steps=6), TrainerControl()
        ).should_evaluate
    ]
    assert asked == steps
