"""Named selections, for people who think in what they want to have done."""

from __future__ import annotations

import dagster as dg

from activeuf_core.evals.benchmarks import BENCHMARKS

SCORES = tuple(row.asset for row in BENCHMARKS)

JOBS = [
    dg.define_asset_job(
        "loop",
        selection=dg.AssetSelection.assets("preference_dataset"),
        description="The active-learning loop of an experiment.",
    ),
    dg.define_asset_job(
        "training",
        selection=dg.AssetSelection.assets("dpo_model", "reward_model"),
        description="Both trainings of an experiment.",
    ),
    dg.define_asset_job(
        "evals",
        selection=dg.AssetSelection.assets(*SCORES, "scores", "wandb_summary"),
        description="All scores of an experiment, and its W&B summary.",
    ),
    dg.define_asset_job(
        "loop_train_eval",
        selection=dg.AssetSelection.assets(
            "preference_dataset", "dpo_model", "reward_model", *SCORES, "scores", "wandb_summary"
        ),
        description="An experiment from the loop to its scores.",
    ),
]
