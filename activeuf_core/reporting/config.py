"""Settings of the reports."""

from __future__ import annotations

from typing import Literal

from activeuf_core.config import StrictModel


class ScoresConfig(StrictModel):
    """All scores of one experiment; which benchmarks belong to it."""

    benchmarks: tuple[str, ...]
    titles: dict[str, str]
    """How each benchmark's score is called where people read it."""

    @property
    def is_light(self) -> bool:
        """True: numbers are only gathered."""
        return True


class WandbSummaryConfig(StrictModel):
    """The W&B run of one experiment."""

    experiment: str
    loss_type: str = "sigmoid"
    """Of the DPO model: IPO and SimPO policies have names of their own."""

    @property
    def is_light(self) -> bool:
        """True: many runs are written by one process."""
        return True


class LeaderboardRow(StrictModel):
    """One experiment on the leaderboard."""

    experiment: str
    dataset: str
    acquisition: str
    """'': a baseline, for which nothing was acquired."""
    seed: int
    loss: str = ""
    """Of the DPO model: `loss_type`."""
    baseline: Literal["", "untrained", "published"] = ""
    """What the row is if it is no experiment: a base model as it is, or published scores."""
    scores: str
    """Fingerprint of its scores: a rename must not be taken for the same table."""
    settings: str = ""
    """What else sets the experiment apart, the seed left out (a digest, or words). Experiments are
    seeds of one another when dataset, acquisition and settings are equal."""
    curve: str = ""
    """The same without the loop's budget: the points of one curve of sample efficiency."""


class LeaderboardConfig(StrictModel):
    """Which experiments are compared, and with which one."""

    rows: tuple[LeaderboardRow, ...]
    baseline: str | None = None
    """Experiment that deltas are taken to; null: no deltas."""
