"""What watches a training: progress and metrics, a stop at the first bad loss, checkpoints, and a
quick exit on SIGTERM.

In: the trainer's events. Out: progress.json, metrics.jsonl with TRL's own names plus `seconds`,
marked checkpoints.
Heavy: imports transformers.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from activeuf_core import processes
from activeuf_core.errors import DataError
from activeuf_core.paths import METRICS
from activeuf_core.stage import StageContext
from activeuf_core.training.checkpoints import (
    WHOLE,
    checkpoint_folder,
    mark_complete,
    sizes_of,
)

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0
TIME_IS_UP = (signal.SIGTERM, signal.SIGUSR1)
"""The second where `srun` started the processes: it hands on no SIGTERM."""
COUNTERS = ("num_tokens", "seconds")
"""Metrics that count from the start of a training; the trainer counts from the last resume."""
HELD_OUT_TOKENS = "eval_num_tokens"


class ReportProgress(TrainerCallback):
    """Writes progress and metrics, and ends the training at the first loss that is not a number.

    After a resume, metrics.jsonl begins with the lines of the steps before, which the checkpoint
    remembers: the file that is published looks as if nothing had happened.
    """

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.resumed_from = 0
        self._before: dict[str, float] = dict.fromkeys(COUNTERS, 0.0)
        self._logged = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start metrics.jsonl afresh, with the steps that a resumed training has behind it."""
        del args, control, kwargs
        steps = [entry for entry in state.log_history if "loss" in entry]
        if state.is_world_process_zero:
            self._write_afresh(state.log_history)
        if steps:
            self._before = {name: steps[-1][name] for name in COUNTERS}
        self.resumed_from = state.global_step
        self._began = time.monotonic()
        self.context.progress(state.global_step, state.max_steps, "steps")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write one step's metrics, or those of the held-out comparisons.

        Raises: DataError when loss or gradient are not finite.
        """
        del args, control, kwargs
        if not logs or ("loss" not in logs and "eval_loss" not in logs):
            return
        # With held-out values the trainer repeats its count of training tokens, which restarts.
        state.log_history[-1].pop(HELD_OUT_TOKENS, None)
        values = {name: value for name, value in logs.items() if name != HELD_OUT_TOKENS}
        if "loss" in values:
            values |= self._counted(values)
            # The state is what a checkpoint remembers.
            state.log_history[-1].update({name: values[name] for name in COUNTERS})
        if state.is_world_process_zero:
            self.context.log_metrics(state.global_step, **values)
        if "loss" in values:
            _require_finite_step(state.global_step, values)  # on all: the values are of all
            self._say(state, values)

    def _write_afresh(self, history: Sequence[Mapping[str, float]]) -> None:
        (self.context.output / METRICS).unlink(missing_ok=True)
        for entry in history:
            if "loss" in entry or "eval_loss" in entry:
                values = {name: value for name, value in entry.items() if name != "step"}
                self.context.log_metrics(int(entry["step"]), **values)

    def _counted(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the counters as an uninterrupted training would show them."""
        seconds = time.monotonic() - self._began
        now = {"num_tokens": values["num_tokens"], "seconds": seconds}
        return {name: self._before[name] + now[name] for name in COUNTERS}

    def _say(self, state: TrainerState, values: Mapping[str, float]) -> None:
        if not state.is_world_process_zero:
            return
        self.context.progress(state.global_step, state.max_steps, "steps")
        now = time.monotonic()
        if now - self._logged < LOG_INTERVAL_S and state.global_step < state.max_steps:
            return
        self._logged = now
        log.info("step %d of %d: loss %.4f", state.global_step, state.max_steps, values["loss"])


class KeepCheckpoints(TrainerCallback):
    """Asks for a checkpoint every so many steps, on SIGTERM at once, and marks each when it is
    written.

    On SIGTERM the forward pass at hand is finished, the optimiser step it belongs to is given up,
    and the training returns with `interrupted` set. A second checkpoint of the same step is never
    written over the first. Of several processes, all stop where the first of them was asked to.
    """

    def __init__(self, checkpoints: Path, identity: str, every: int, layout: str = WHOLE) -> None:
        self.checkpoints = checkpoints
        self.identity = identity
        self.every = every
        self.layout = layout
        self.interrupted = False
        self._saved_step = 0
        self._previous: dict[int, Any] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Listen for SIGTERM from here on; a resumed training stands on the checkpoint it came
        from.
        """
        del args, control, kwargs
        self._saved_step = state.global_step
        if threading.current_thread() is threading.main_thread():
            self._previous = {one: signal.signal(one, self._interrupt) for one in TIME_IS_UP}

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Stop between two forward passes of one optimiser step, if asked to."""
        del args, kwargs
        return self._stop_if_asked(state, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Save when it is time; a training no longer than one interval is cheaper to repeat than to
        save.
        """
        del args, kwargs
        due = state.global_step % self.every == 0 or state.global_step == state.max_steps
        control.should_save = due and state.max_steps > self.every
        return self._stop_if_asked(state, control)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Mark the checkpoint that was just written."""
        del args, control, kwargs
        self._saved_step = state.global_step
        folder = checkpoint_folder(self.checkpoints, state.global_step)
        processes.wait()
        seen = processes.gather(sizes_of(folder))
        if state.is_world_process_zero:
            mark_complete(folder, self.identity, self.layout, seen)

    def release(self) -> None:
        """Hand SIGTERM back to whoever had it before."""
        for one, previous in self._previous.items():
            signal.signal(one, previous)
        self._previous = {}

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.interrupted = True

    def _stop_if_asked(self, state: TrainerState, control: TrainerControl) -> TrainerControl:
        self.interrupted = processes.agree(self.interrupted)
        if self.interrupted:
            control.should_save = state.global_step > self._saved_step
            control.should_training_stop = True
        return control


def _require_finite_step(step: int, values: Mapping[str, float]) -> None:
    for name in ("loss", "grad_norm"):
        if not math.isfinite(values.get(name, 0.0)):
            raise DataError(
                f"{name} is {values[name]} at step {step} (learning rate "
                f"{values['learning_rate']:.2g}). The training was stopped, nothing is published. "
                "Lower learning_rate, raise warmup_fraction, or use dtype float32."
            )
