"""The active-learning loop: buy comparisons batch by batch, and learn from them which to buy next.

In: `candidate_pool`, `features`. Out: preferences.parquet (rows of `schemas.PREFERENCE`),
metrics.jsonl, the trained heads, plots. Heavy: needs torch; one device, because a batch is a few
seconds of work on one core, and several processes would only wait for each other.
Source: ActiveUltraFeedback, arXiv 2603.09692.
Cost: per batch of 64 prompts, 30 completions of 2,560 values, 20 heads and a full buffer of 6,400
comparisons: 4 to 6 CPU-seconds, of which training 95 %, scoring 5 %. Memory does not grow with the
features: 0.8 GB at its peak over 60,000 such prompts with small heads, 0.9 GB with the full ones.
Command: `python -m activeuf_core.loop --config unit.yaml --run-dir DIR`.

Every batch is scored and every batch trains the ENN, also for acquisition functions that need no
reward model: scoring is a twentieth of a batch's cost, and only so can the learning curves, the
calibration and the heads of a baseline be compared with those of an active method.

A batch is one resumable unit. Whatever the loop does is a function of its recipe and of the state
that a checkpoint holds, so a run that was killed ends with the same bytes as one that was not
(on a CPU, with the same number of threads).
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from activeuf_core import paths
from activeuf_core.acquisition.registry import build as build_acquisition_function
from activeuf_core.annotations.raters import open_rater
from activeuf_core.config import identity_of
from activeuf_core.enn.base import RewardEstimate
from activeuf_core.enn.config import ENNConfig
from activeuf_core.enn.registry import build as build_enn
from activeuf_core.fingerprint import digest_of
from activeuf_core.loop import checkpoints, metrics, report
from activeuf_core.loop.candidates import CandidateTable, read_candidates
from activeuf_core.loop.config import LoopConfig
from activeuf_core.loop.feature_map import FeatureMap
from activeuf_core.loop.judging import ROWS, SCORES, LazyJudge, PoolTexts
from activeuf_core.loop.oracle import ANNOTATIONS_PER_COMPARISON, Outcome
from activeuf_core.loop.preferences import write_preferences
from activeuf_core.loop.prompt_order import TAKEN, PromptOrder, widest_bounds
from activeuf_core.loop.replay_buffer import ReplayBuffer
from activeuf_core.loop.state import COMPARISON, BatchRecord, LoopState
from activeuf_core.loop.step import Batch, Step, gather, take_step
from activeuf_core.schemas import iterate_rows
from activeuf_core.seeding import generator
from activeuf_core.stage import StageContext

log = logging.getLogger("activeuf")

TRAINING_ONLY = ("adam.", "initial.")
"""Tensors of an ENN that scoring does not read: they are left out of the published weights."""

THREADS = "threads"
"""In a checkpoint: how many threads the loop began with."""

TOLD = (
    "annotations",
    "mean_actual_score_difference_per_batch",
    "calibration/pair_accuracy",
    "loss",
)
"""Metrics that go to the log at every checkpoint."""


def run(context: StageContext) -> None:
    """Make the asset `preference_dataset`."""
    config = context.config(LoopConfig)
    pool = context.input("candidate_pool") / paths.CANDIDATES
    folder = context.input("features")
    table = read_candidates(pool)
    features = FeatureMap(folder / paths.FEATURES, folder / paths.FEATURE_INDEX, table)
    with _own_threads(), _lazy_judge(context, config, pool, table) as judge:
        loop = Loop(context, config, table, features, judge)
        loop.resume()
        loop.run()
        if judge is not None:
            context.add_metadata(**judge.facts())
    seen = write_preferences(
        context.output / paths.PREFERENCES, pool, table, loop.state.comparisons()
    )
    loop.write_heads(context.output / paths.ENN_WEIGHTS)
    report.report_facts(context, loop.state, table, loop.stopped_because())
    report.report_checks(context, loop.state, seen, config.budget)
    report.draw_plots(context, loop.state, table)
    context.add_table("preview", iterate_rows(context.output / paths.PREFERENCES))
    context.when_done(functools.partial(checkpoints.discard, context.checkpoints))


@contextlib.contextmanager
def _own_threads() -> Iterator[None]:
    """Leave the next loop of this process as many threads as this one found."""
    found = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(found)


@contextlib.contextmanager
def _lazy_judge(
    context: StageContext, config: LoopConfig, pool: Path, table: CandidateTable
) -> Iterator[LazyJudge | None]:
    """Open the judge for as long as the loop runs; None when everything is judged already."""
    if config.judge is None:
        yield None
        return
    with open_rater(context, config.judge) as rater:
        texts = PoolTexts(pool, table, context.checkpoints)
        yield LazyJudge(table, texts, rater)
        texts.remove()


class Loop:
    """The loop and all that it holds: state, replay buffer, ENN."""

    def __init__(
        self,
        context: StageContext,
        config: LoopConfig,
        table: CandidateTable,
        features: FeatureMap,
        judge: LazyJudge | None = None,
    ) -> None:
        self.context = context
        self.config = config
        self.table = table
        self.features = features
        self.judge = judge
        self.prompts = PromptOrder(config, table.num_prompts)
        self.recipe = digest_of([identity_of(config), table.digest(), features.digest()])
        self.state = LoopState(self.recipe)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.enn = build_enn(config.enn, features.size, config.seed, device)
        self.function = build_acquisition_function(config.acquisition)
        capacity = min(config.replay_buffer_factor * config.batch_size, table.num_prompts)
        self.buffer = ReplayBuffer(capacity, features.size, features.dtype)
        self.seconds: list[float] = []
        context.add_metadata(device=device, prompts=table.num_prompts, feature_size=features.size)

    @property
    def planned_prompts(self) -> int:
        """Prompts that the budget suffices for, unless scores are missing."""
        if self.config.budget is None:
            return self.table.num_prompts
        return min(self.table.num_prompts, self.config.budget // ANNOTATIONS_PER_COMPARISON)

    @property
    def planned_batches(self) -> int:
        """Batches of `planned_prompts`."""
        return -(-self.planned_prompts // self.config.batch_size)

    def annotations_left(self) -> int | None:
        """Annotations that may still be bought; None without a budget."""
        return None if self.config.budget is None else self.config.budget - self.state.annotations

    def stopped_because(self) -> str:
        """Say why there is no further batch; "" while there is one."""
        left = self.annotations_left()
        if left is not None and left < ANNOTATIONS_PER_COMPARISON:
            return "budget spent"
        done = self.state.next_batch * self.config.batch_size
        return "no prompt left" if done >= self.table.num_prompts else ""

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one; log the metrics of its batches again."""
        found = checkpoints.load_latest(self.context.checkpoints, self.recipe)
        if found is None:
            return
        self.state = found.state
        tensors = load_file(found.enn)
        torch.set_num_threads(int(tensors.pop(THREADS)))
        if self.judge is not None:
            self.judge.restore({name: tensors.pop(name).numpy() for name in (ROWS, SCORES)})
        self.prompts.restore(
            {name: tensors.pop(name).numpy() for name in (TAKEN,) if name in tensors}
        )
        self.enn.load_state_dict(tensors)
        self._refill_buffer()
        for record in self.state.records:
            self._log(record)
        threads = torch.get_num_threads()
        log.info("going on after batch %d with %d threads", self.state.next_batch, threads)
        self.context.add_metadata(resumed_after_batches=self.state.next_batch)

    def run(self) -> None:
        """Work through batches until the budget is spent or no prompt is left."""
        while not self.stopped_because():
            started = time.perf_counter()
            record = self.do_batch(self.state.next_batch)
            self.state.append(record)
            self._log(record)
            done = self.state.next_batch
            if done % self.config.checkpoint_every == 0:
                checkpoints.save(self.context.checkpoints, self.state, self._write_state)
                _tell(record, done, self.planned_batches)
            self.seconds.append(time.perf_counter() - started)
            self.context.progress(done, max(done, self.planned_batches), "batches")
        if self.seconds:
            self.context.add_metadata(seconds_per_batch=float(np.median(self.seconds)))

    def do_batch(self, index: int) -> BatchRecord:
        """Score, acquire, label, and train on the result."""
        taken = self.prompts.take(index, self._uncertainty)
        batch = gather(self.table, taken.prompts, index)
        features_PCD = self._features(batch)
        estimate = self.enn.bounds(features_PCD, batch.mask_PC)
        step = take_step(
            batch,
            estimate,
            self.table,
            self.function,
            seed=self.config.seed,
            annotations_left=self.annotations_left(),
            ties=self.config.ties,
            scores_of=self.judge.scores_of if self.judge else None,
        )
        values = taken.metrics | metrics.batch_metrics(
            batch, step, estimate, self.table, self.config.enn.bound_scale
        )
        comparisons = _comparisons(index, step, estimate)
        values["annotations"] = float(self.state.annotations + step.labels.annotations)
        values |= self._train(comparisons, features_PCD, step)
        return BatchRecord(
            batch_index=index,
            comparisons=comparisons,
            annotations=step.labels.annotations,
            judgements=step.judgements,
            ties=step.labels.count(Outcome.TIED),
            missing=step.missing,
            identical=step.labels.count(Outcome.IDENTICAL),
            metrics=metrics.as_line(values),
        )

    def write_heads(self, path: Path) -> None:
        """Write what is needed to score completions: the trained heads, without the optimiser."""
        state = self._state()
        heads = {name: t for name, t in state.items() if not name.startswith(TRAINING_ONLY)}
        # One entry only: the file format does not promise an order of several.
        about = {
            "config": self.config.enn.model_dump(mode="json"),
            "feature_size": self.features.size,
        }
        path.write_bytes(to_bytes(heads, {"enn": json.dumps(about, sort_keys=True)}))

    def _uncertainty(self, prompts: NDArray[np.int64]) -> NDArray[np.floating]:
        """Score prompts, no more than a batch at a time, to see how unsure the ENN is of each."""
        found = []
        for first in range(0, len(prompts), self.config.batch_size):
            part = gather(self.table, prompts[first : first + self.config.batch_size], 0)
            estimate = self.enn.bounds(self._features(part), part.mask_PC)
            found.append(widest_bounds(estimate.lower_PC, estimate.upper_PC, part.mask_PC))
        return np.concatenate(found)

    def _features(self, batch: Batch) -> NDArray[np.floating]:
        """Read the features of a batch, 0 where padding: (P, C, D)."""
        shape = (*batch.mask_PC.shape, self.features.size)
        features_PCD = np.zeros(shape, dtype=self.features.dtype)
        features_PCD[batch.mask_PC] = self.features.read(batch.row_PC[batch.mask_PC])
        return features_PCD

    def _train(
        self, comparisons: NDArray[np.void], features_PCD: NDArray[np.floating], step: Step
    ) -> dict[str, float]:
        """Put a batch's comparisons into the buffer and update the ENN; without any, do nothing."""
        if not len(comparisons):
            return {"replay_buffer": float(len(self.buffer))}
        numbers = self.state.num_comparisons + np.arange(len(comparisons))
        prompt_K = step.prompt_N[step.labels.is_comparison_N]
        chosen_K, rejected_K = step.decided(step.pair_N2).T
        self.buffer.add(
            numbers, features_PCD[prompt_K, chosen_K], features_PCD[prompt_K, rejected_K]
        )
        rng = generator(self.config.seed, "loop", "replay", self.state.next_batch)
        pair_ids_N, chosen_ND, rejected_ND = self.buffer.sample(self._sample_size(), rng)
        done = self.state.next_batch * self.config.batch_size
        reported = self.enn.update(
            chosen_ND,
            rejected_ND,
            pair_ids_N=pair_ids_N,
            progress=min(1.0, done / self.planned_prompts),
        )
        return {"replay_buffer": float(len(self.buffer))} | metrics.update_metrics(reported)

    def _sample_size(self) -> int:
        """Comparisons per update: as many as the ensemble's steps take, all for a posterior."""
        enn = self.config.enn
        return (
            enn.batch_size * enn.max_steps if isinstance(enn, ENNConfig) else self.buffer.capacity
        )

    def _refill_buffer(self) -> None:
        """Fill the buffer with the last comparisons, whose features are still on disk."""
        comparisons = self.state.comparisons()
        numbers = np.arange(len(comparisons))[-self.buffer.capacity :]
        for first in range(0, len(numbers), self.config.batch_size):
            part = numbers[first : first + self.config.batch_size]
            chosen = self.features.read(comparisons["chosen_row"][part])
            rejected = self.features.read(comparisons["rejected_row"][part])
            self.buffer.add(part, chosen, rejected)

    def _write_state(self, path: Path) -> None:
        arrays = self.prompts.state() | (self.judge.state() if self.judge else {})
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        tensors[THREADS] = torch.tensor(torch.get_num_threads())
        path.write_bytes(to_bytes({**self._state(), **tensors}))

    def _state(self) -> dict[str, torch.Tensor]:
        """Return the ENN's tensors in the one memory layout that the file format knows."""
        return {name: tensor.contiguous() for name, tensor in self.enn.state_dict().items()}

    def _log(self, record: BatchRecord) -> None:
        line = metrics.as_line(record.metrics)
        values = {name: float("nan") if value is None else value for name, value in line.items()}
        self.context.log_metrics(record.batch_index, **values)


def _tell(record: BatchRecord, done: int, planned: int) -> None:
    """Write a line to the log for whoever watches."""
    shown = {name: record.metrics.get(name) for name in TOLD}
    values = ", ".join(f"{name} {value:.4g}" for name, value in shown.items() if value is not None)
    log.info("batch %d of %d: %s", done, planned, values)


def _comparisons(index: int, step: Step, estimate: RewardEstimate) -> NDArray[np.void]:
    """Return the comparisons of a batch as rows of `COMPARISON`."""
    rows_K2 = step.decided(step.rows_N2)
    comparisons = np.zeros(len(rows_K2), dtype=COMPARISON)
    comparisons["chosen_row"], comparisons["rejected_row"] = rows_K2.T
    comparisons["batch_index"] = index
    is_tied_N = step.labels.outcome_N == Outcome.TIED
    comparisons["is_tied"] = is_tied_N[step.labels.is_comparison_N]
    comparisons["chosen_probability"] = metrics.chosen_probability(step, estimate)
    return comparisons
