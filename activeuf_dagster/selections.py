"""Named selections of assets, for people who think in what they want to have done. Light."""

from __future__ import annotations

from collections.abc import Mapping

from activeuf_core.evals.benchmarks import BENCHMARKS

LOOP = ("preference_dataset",)
TRAINING = ("dpo_model", "reward_model")
EVALS = (*(row.asset for row in BENCHMARKS), "scores", "wandb_summary")
SELECTIONS: Mapping[str, tuple[str, ...]] = {
    "loop": LOOP,
    "training": TRAINING,
    "evals": EVALS,
    "loop_train_eval": (*LOOP, *TRAINING, *EVALS),
}
