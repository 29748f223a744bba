"""When the held-out comparisons are scored in the course of a training.

In: the trainer's events. Out: the order to evaluate, which the trainer carries out before it saves,
so that a checkpoint remembers the values. Heavy: imports transformers.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class EvaluateEvery(TrainerCallback):
    """Asks for an evaluation after every so many steps; the one after the last step is the
    session's.
    """

    def __init__(self, every: int | None) -> None:
        self.every = every

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask when it is time."""
        del args, kwargs
        due = self.every is not None and state.global_step % self.every == 0
        control.should_evaluate = due and state.global_step < state.max_steps
        return control
