"""What the trainer is told: the settings that DPO and reward model share, under the names of TRL
1.16.

In: a training's config, `Batching` and `Schedule`. Out: keyword arguments of trl.DPOConfig and
trl.RewardConfig. Pure.
"""

from __future__ import annotations

from typing import Any

from activeuf_core.seeding import derive_seed
from activeuf_core.training.batching import Batching, Schedule
from activeuf_core.training.checkpoints import KEPT
from activeuf_core.training.config import TrainingConfig

SEED_RANGE = 2**32
"""numpy's global generator, which the trainer seeds too, takes no more."""


def trainer_seed(config: TrainingConfig) -> int:
    """Return the seed of the reward head, the adapter's start, dropout and the order of the
    comparisons.
    """
    return derive_seed(config.seed, "training") % SEED_RANGE


def trainer_arguments(
    config: TrainingConfig, batching: Batching, schedule: Schedule, *, on_cpu: bool
) -> dict[str, Any]:
    """Return the arguments that both trainers take, but for the dtype and the folder of the
    checkpoints.

    Steps and warm-up are given as numbers, so that they do not depend on how the trainer counts an
    epoch's last batch.
    """
    seed = trainer_seed(config)
    return {
        "max_steps": schedule.steps,
        "warmup_steps": schedule.warmup_steps,
        "learning_rate": config.learning_rate,
        # Plain "constant" ignores the warm-up; without one both are the same.
        "lr_scheduler_type": "constant_with_warmup"
        if config.lr_schedule == "constant"
        else config.lr_schedule,
        "per_device_train_batch_size": batching.per_device,
        "per_device_eval_batch_size": batching.per_device,
        "gradient_accumulation_steps": batching.accumulation,
        "activation_checkpointing": config.gradient_checkpointing,
        "use_cpu": on_cpu,
        # The reward trainer of old kept 42 for the sampler, whatever the config said.
        "seed": seed,
        "data_seed": seed,
        # Lengths are checked before; what reaches the trainer must not be cut.
        "max_length": None,
        # Dropout of the base model is switched off when it is loaded; here it would also switch off
        # the adapter's.
        "disable_dropout": False,
        "logging_steps": 1,
        # On, it would replace a loss that is NaN by the mean of the others.
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "save_total_limit": KEPT,
        "eval_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": not on_cpu,
        "dataset_num_proc": None,
    }
