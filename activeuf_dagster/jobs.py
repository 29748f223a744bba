"""Named selections as jobs of the graph."""

from __future__ import annotations

import dagster as dg

from activeuf_dagster.selections import SELECTIONS

DESCRIPTIONS = {
    "loop": "The active-learning loop of an experiment.",
    "training": "Both trainings of an experiment.",
    "evals": "All scores of an experiment, and its W&B summary.",
    "loop_train_eval": "An experiment from the loop to its scores.",
}

JOBS = [
    dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*assets),
        description=DESCRIPTIONS[name],
    )
    for name, assets in SELECTIONS.items()
]
