"""The DPO model: the base model, moved towards the chosen completions and away from the rejected
ones.

In: `preference_dataset`, a base model. Out: a policy (or its adapter) that loads with
from_pretrained.
Source: Rafailov et al. 2023, equation 7; `ipo`: Azar et al. 2023, equation 17, with log-ratios per
token, as its authors computed them; `sigmoid_norm`: Lambert et al. 2024, equation 6; `simpo`: Meng
et al. 2024, equation 6. The losses are TRL's.
The reference model is the base model. A LoRA training reaches it by switching the adapter off; a
training of all weights of one epoch holds a second copy, in the dtype of the first; one of several
epochs asks it once, in advance. SimPO has none.
Cost: SmolLM2-135M, 48 comparisons of 2 x 92 tokens, LoRA on all layers: 100 s of one core in
float32, 62 s in bfloat16 with AMX, and 10 s for imports, loading and saving.
Command: `python -m activeuf_core.training --config unit.yaml --run-dir DIR`, asset `dpo_model`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from activeuf_core.stage import StageContext
from activeuf_core.training.batching import reference_pays_in_advance
from activeuf_core.training.config import DPOConfig
from activeuf_core.training.libraries import lean_libraries
from activeuf_core.training.training_log import kept_log

if TYPE_CHECKING:
    from transformers import Trainer

    from activeuf_core.training.session import Kind, Plan


COLUMNS = ("prompt", "chosen", "rejected", "chat_template_kwargs")
SIMPO_COLUMNS = ("prompt", "chosen_ids", "rejected_ids")
"""What the trainers read of a comparison."""
REWARDS = ("rewards/chosen", "rewards/rejected")


def run(context: StageContext) -> None:
    """Train and publish. Raises: ConfigError, DataError; SystemExit after SIGTERM."""
    config = context.config(DPOConfig)
    with lean_libraries(), kept_log(context, config):
        from activeuf_core.training import session

        session.train(context, config, kind(config))


def kind(config: DPOConfig) -> Kind:
    """Return how this DPO training differs from others."""
    from activeuf_core.training.base_model import load_policy
    from activeuf_core.training.report import MetricNames
    from activeuf_core.training.session import Kind

    return Kind(
        task_type="CAUSAL_LM",
        metrics=MetricNames("rewards/accuracies", "rewards/margins", sides=REWARDS),
        load=lambda plan, dtype: load_policy(plan.base, dtype),
        columns=SIMPO_COLUMNS if config.loss_type == "simpo" else COLUMNS,
        build=functools.partial(_build, config),
    )


def _build(
    config: DPOConfig, plan: Plan, settings: dict[str, Any], parts: dict[str, Any]
) -> Trainer:
    import trl
    from accelerate import PartialState

    if config.loss_type == "simpo":
        from activeuf_core.training import simpo

        return simpo.build(config, settings, parts)
    arguments = trl.DPOConfig(
        **settings,
        beta=config.dpo_beta,
        loss_type=[config.loss_type],
        precompute_ref_log_probs=reference_pays_in_advance(
            plan.schedule, PartialState().num_processes
        ),
    )
    return trl.DPOTrainer(args=arguments, **parts)
