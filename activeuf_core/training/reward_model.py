"""The reward model: the base model with one output, which is higher for chosen completions than for
rejected ones.

In: `preference_dataset`, a base model. Out: a sequence classifier with one label (or its adapter),
whose logit is the reward of a conversation; rewards have no absolute meaning.
Source: Bradley and Terry 1952, as in Ouyang et al. 2022, equation 1; `centering`: Eisenstein et al.
2023, equation 2.
Cost: SmolLM2-135M, 48 comparisons of 2 x 92 tokens, LoRA on all layers: 51 s of one core in
float32, 36 s in bfloat16 with AMX, and 10 s for imports, loading and saving.
Command: `python -m activeuf_core.training --config unit.yaml --run-dir DIR`, asset `reward_model`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from activeuf_core.stage import StageContext
from activeuf_core.training.config import RewardModelConfig
from activeuf_core.training.libraries import lean_libraries
from activeuf_core.training.training_log import kept_log

if TYPE_CHECKING:
    from transformers import Trainer

    from activeuf_core.training.session import Kind, Plan

REWARD_HEAD = "score"
"""The head's name in every sequence classifier of transformers that is made from a language model.
"""


def run(context: StageContext) -> None:
    """Train and publish. Raises: ConfigError, DataError; SystemExit after SIGTERM."""
    config = context.config(RewardModelConfig)
    with lean_libraries(), kept_log(context, config):
        from activeuf_core.training import session

        session.train(context, config, kind(config))


def kind(config: RewardModelConfig) -> Kind:
    """Return how this training of a reward model differs from others."""
    from activeuf_core.training.base_model import load_with_reward_head
    from activeuf_core.training.report import MetricNames
    from activeuf_core.training.session import Kind

    return Kind(
        task_type="SEQ_CLS",
        metrics=MetricNames("accuracy", "margin", mean_reward="mean_reward"),
        load=lambda plan, dtype: load_with_reward_head(
            plan.base, plan.tokenizer.pad_token_id, dtype
        ),
        columns=("chosen_ids", "rejected_ids"),
        build=functools.partial(_build, config),
        modules_to_save=(REWARD_HEAD,),
    )


def _build(
    config: RewardModelConfig, plan: Plan, settings: dict[str, Any], parts: dict[str, Any]
) -> Trainer:
    del plan
    import trl

    # None, not 0: the trainer would compute the penalty to multiply it by nothing.
    arguments = trl.RewardConfig(**settings, center_rewards_coefficient=config.centering or None)
    return trl.RewardTrainer(args=arguments, **parts)
