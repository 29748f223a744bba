"""One training, from a preference dataset to a published folder: what both kinds have in common.

In: a preference dataset (schemas.PREFERENCE), a base model, a `Kind` that says how they differ.
Out: the trained model or adapter in the output folder, training_config.json, metrics.jsonl, two
plots, metadata and checks. The training itself is TRL's. A killed training is resumed from its last
complete checkpoint. Heavy: imports torch, transformers, trl.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from peft import get_peft_model
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    set_seed,
)
from transformers.utils import logging as transformers_logging
from trl.trainer.utils import disable_dropout_in_model

from activeuf_core import processes
from activeuf_core.artifacts import file_sha256
from activeuf_core.config import identity_of
from activeuf_core.errors import ConfigError
from activeuf_core.fingerprint import digest_of
from activeuf_core.paths import PREFERENCES
from activeuf_core.schemas import read_rows
from activeuf_core.stage import StageContext
from activeuf_core.training import (
    base_model,
    checkpoints,
    comparisons,
    division,
    export,
    out_of_memory,
    report,
)
from activeuf_core.training.adapter import adapter_settings
from activeuf_core.training.arguments import trainer_arguments, trainer_seed
from activeuf_core.training.batching import Batching, Schedule, halve, plan_batching, plan_steps
from activeuf_core.training.callbacks import KeepCheckpoints, ReportProgress
from activeuf_core.training.comparisons import Comparisons
from activeuf_core.training.config import TrainingConfig
from activeuf_core.training.evaluation import EvaluateEvery
from activeuf_core.training.memory import keep_freed_memory

log = logging.getLogger(__name__)

EXIT_INTERRUPTED = 128 + 15
"""What a shell reports of a process that SIGTERM ended."""


@dataclass(frozen=True)
class Plan:
    """A training, decided in everything but how many comparisons the device takes at once."""

    context: StageContext
    config: TrainingConfig
    base: base_model.BaseModel
    tokenizer: Any
    comparisons: Comparisons
    schedule: Schedule
    dtype: torch.dtype
    """What forward and backward passes compute in."""
    identity: str
    """Digest of config and data: says whose checkpoints may be resumed from."""

    @property
    def loaded_dtype(self) -> torch.dtype:
        """What the base model is loaded in: weights that are trained are float32."""
        return self.dtype if self.config.lora else torch.float32


@dataclass(frozen=True)
class Kind:
    """Where DPO and reward model differ."""

    task_type: str
    """peft's name of the kind of model."""
    metrics: report.MetricNames
    load: Callable[[Plan, torch.dtype], PreTrainedModel]
    columns: tuple[str, ...]
    """Columns of a comparison that the trainer reads."""
    build: Callable[[Plan, dict[str, Any], dict[str, Any]], Trainer]
    """From a plan, the settings that both kinds share, and what a trainer is made of."""
    modules_to_save: tuple[str, ...] = ()
    """Modules that a LoRA training trains whole."""


@dataclass(frozen=True)
class Trained:
    """A trainer after its last step."""

    trainer: Trainer
    batching: Batching
    resumed_from: int
    evaluation: Mapping[str, float]
    ran_out_of_memory: bool = False


def train(context: StageContext, config: TrainingConfig, kind: Kind) -> None:
    """Run the stage.

    Raises: ConfigError, DataError; SystemExit when SIGTERM ended the training, after a checkpoint.
    """
    began = time.monotonic()
    disable_progress_bar()
    transformers_logging.disable_progress_bar()
    num_processes = processes.introduce()
    if _on_cpu():
        keep_freed_memory()
    division.require_one_device(num_processes)
    batching = plan_batching(config, num_processes)
    plan = prepare(context, config)
    context.progress(0, plan.schedule.steps, "steps")
    trained = _train_with_retry(plan, kind, batching)
    values = _facts(plan, kind, trained)  # before publishing, which merges the adapter away
    distance = export.publish(
        trained.trainer,
        plan.base,
        config,
        plan.loaded_dtype,
        context.output,
        lambda: _fresh_model(plan, kind),
    )
    if distance is not None:
        values["seconds"] = time.monotonic() - began
        counts = (plan.comparisons.num_read, plan.comparisons.num_kept)
        report.write(context, config, kind.metrics, report.Facts(values, *counts, distance))
        context.when_done(functools.partial(checkpoints.clear, context.checkpoints))
    processes.wait()  # a launcher gives up on one that is much longer than the others


def prepare(context: StageContext, config: TrainingConfig) -> Plan:
    """Find the base model, check the data, and decide what can be decided before loading weights.

    Raises: ConfigError, DataError.
    """
    base = base_model.find(context.locate(config.base_model))
    tokenizer = base_model.load_tokenizer(base, config.max_tokens)
    source = context.input("preference_dataset") / PREFERENCES
    rows = read_rows(source, comparisons.COLUMNS)
    pairs = comparisons.prepare(rows, tokenizer, config)
    log.info("%d of %d comparisons are trained on", len(pairs.train), pairs.num_read)
    return Plan(
        context=context,
        config=config,
        base=base,
        tokenizer=tokenizer,
        comparisons=pairs,
        schedule=plan_steps(config, len(pairs.train)),
        dtype=base_model.choose_dtype(config),
        identity=digest_of({"config": identity_of(config), "data": file_sha256(source)}),
    )


def make_trainer(plan: Plan, kind: Kind, batching: Batching) -> Trainer:
    """Load the base model and return TRL's trainer for it.

    Raises: ConfigError when LoRA targets are not in the model; DataError when its weights are not
    whole.
    """
    config = plan.config
    set_seed(trainer_seed(config))
    model = kind.load(plan, plan.loaded_dtype)
    base_model.require_fitting(model, plan.tokenizer, plan.base)
    disable_dropout_in_model(model)
    settings = trainer_arguments(config, batching, plan.schedule, on_cpu=_on_cpu()) | {
        "output_dir": str(plan.context.checkpoints),
        "bf16": plan.dtype == torch.bfloat16,
    }
    parts = {
        "model": model,
        "processing_class": plan.tokenizer,
        "train_dataset": _dataset(plan.comparisons.train, kind.columns),
        "eval_dataset": _dataset(plan.comparisons.validation, kind.columns),
        "peft_config": adapter_settings(model, config.lora, kind) if config.lora else None,
    }
    trainer = kind.build(plan, settings, parts)
    trained: Any = trainer.model
    # In bfloat16, steps of a usual learning rate round to nothing.
    for weight in trained.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    trainer.remove_callback(PrinterCallback)
    division.require_right(trainer, plan.dtype)
    return trainer


def _on_cpu() -> bool:
    device: Any = PartialState().device
    return device.type == "cpu"  # of several processes, each has a number: cpu:1


def _train_with_retry(plan: Plan, kind: Kind, batching: Batching) -> Trained:
    """Train; out of memory, train once more with half as many comparisons at a time.

    Raises: ConfigError when that does not fit either.
    """
    note = out_of_memory.Note(plan.context.checkpoints, batching)
    trained = None if note.is_there else _unless_out_of_memory(plan, kind, batching)
    if trained is not None:
        return trained
    smaller = halve(batching)
    if smaller is not None:
        log.warning(
            "trying again with %d comparisons at a time instead of %d",
            smaller.per_device,
            batching.per_device,
        )
        if not note.is_there:
            note.free_memory(plan.context)
        trained = _unless_out_of_memory(plan, kind, smaller)
        if trained is not None:
            return dataclasses.replace(trained, ran_out_of_memory=True)
    raise ConfigError(
        f"the device ran out of memory with per_device_batch_size {batching.per_device}"
        + (f", and again with {smaller.per_device}" if smaller else "")
        + f" (longest conversation: {plan.comparisons.longest} tokens). Lower "
        "per_device_batch_size or max_tokens, set gradient_checkpointing, or use LoRA."
    )


def _unless_out_of_memory(plan: Plan, kind: Kind, batching: Batching) -> Trained | None:
    try:
        return _train_once(plan, kind, batching)
    except torch.OutOfMemoryError as error:
        log.warning("out of memory with %d comparisons at a time: %s", batching.per_device, error)
    return None


def _train_once(plan: Plan, kind: Kind, batching: Batching) -> Trained:
    """Train from the last complete checkpoint, or from the start."""
    trainer = make_trainer(plan, kind, batching)
    layout = division.layout_of(trainer)
    progress = ReportProgress(plan.context)
    keeper = KeepCheckpoints(
        plan.context.checkpoints, plan.identity, plan.config.save_every, layout
    )
    trainer.add_callback(progress)
    trainer.add_callback(EvaluateEvery(plan.config.eval_every))
    trainer.add_callback(keeper)
    resume = _resumable(plan, layout)
    log.info("training begins%s", f" again at {resume.name}" if resume else "")
    try:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    finally:
        keeper.release()
    if keeper.interrupted:
        log.warning("SIGTERM: stopped after step %d", trainer.state.global_step)
        raise SystemExit(EXIT_INTERRUPTED)
    evaluation = trainer.evaluate() if plan.comparisons.validation else {}
    return Trained(trainer, batching, progress.resumed_from, evaluation)


def _resumable(plan: Plan, layout: str) -> Path | None:
    """Return the checkpoint that all processes go on from, after the first has removed the rest."""
    found = None
    if processes.current().is_first:
        found = checkpoints.last_complete(plan.context.checkpoints, plan.identity, layout)
        checkpoints.keep_only(plan.context.checkpoints, found)
    return processes.gather(found)[0]


def _fresh_model(plan: Plan, kind: Kind) -> torch.nn.Module:
    """Return a model like the one that was trained, on the host, to be filled with its weights."""
    model: Any = kind.load(plan, plan.loaded_dtype)
    if plan.config.lora:
        model = get_peft_model(model, adapter_settings(model, plan.config.lora, kind))
    return model


def _dataset(pairs: list[dict[str, Any]], columns: tuple[str, ...]) -> Dataset | None:
    if not pairs:
        return None
    return Dataset.from_list([{name: pair[name] for name in columns} for pair in pairs])


def _facts(plan: Plan, kind: Kind, trained: Trained) -> dict[str, float | int | str | bool]:
    """Return what a person wants to know of the run, besides what metrics.jsonl says."""
    model: Any = trained.trainer.model
    weights = list(model.parameters())
    shown = ("loss", kind.metrics.accuracy, kind.metrics.margin)
    return {
        "pairs_used": len(plan.comparisons.train),
        "pairs_held_out": len(plan.comparisons.validation),
        "pairs_dropped": sum(plan.comparisons.dropped.values()),
        **{f"pairs_{reason}": count for reason, count in plan.comparisons.dropped.items()},
        "longest_conversation_tokens": plan.comparisons.longest,
        "warmup_steps": plan.schedule.warmup_steps,
        "per_device_batch_size": trained.batching.per_device,
        "gradient_accumulation_steps": trained.batching.accumulation,
        "halved_for_memory": trained.ran_out_of_memory,
        "resumed_from_step": trained.resumed_from,
        "processes": processes.current().count,
        "nodes": processes.current().nodes,
        "divided": division.layout_of(trained.trainer),
        "device": trained.trainer.args.device.type,
        "dtype": str(plan.dtype).removeprefix("torch."),
        "weights": sum(division.size_of(weight) for weight in weights),
        "trained_weights": sum(division.size_of(w) for w in weights if w.requires_grad),
        **{
            f"eval_{name}": trained.evaluation[f"eval_{name}"]
            for name in shown
            if trained.evaluation
        },
    }
