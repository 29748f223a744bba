"""Named selections of assets, for people who think in what they want to have done. Light."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.stages import STAGES

LOOP = ("preference_dataset",)
TRAINING = ("dpo_model", "reward_model")
EVALS = (*(row.asset for row in BENCHMARKS), "scores", "wandb_summary")
SELECTIONS: Mapping[str, tuple[str, ...]] = {
    "loop": LOOP,
    "training": TRAINING,
    "evals": EVALS,
    "loop_train_eval": (*LOOP, *TRAINING, *EVALS),
}


def assets_of(names: Iterable[str]) -> frozenset[str] | None:
    """Return assets by their names or those of selections; None, for all, when none is named.

    Raises: ConfigError for a name that stands for none.
    """
    known = {stage.asset: (stage.asset,) for stage in STAGES} | dict(SELECTIONS)
    found: set[str] = set()
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown asset or selection {name!r}; {choose_from(name, known)}.")
        found |= set(known[name])
    return frozenset(found) or None
