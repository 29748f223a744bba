"""Fixtures of this room: scores of made experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.reporting.config import LeaderboardConfig
from activeuf_core.reporting.leaderboard import build
from activeuf_core.reporting.scores import means_of
from activeuf_core.stand_ins import LEFT_OUT
from tests.fakes.stage_context import make_context

__all__ = ["make_context"]

MakeBoard = Callable[..., dict[str, Any]]


def entry(name: str, score: float | None, **changes: Any) -> dict[str, Any]:
    """Return a benchmark's entry in scores.json."""
    row = next(row for row in BENCHMARKS if row.name == name)
    found = {
        "title": row.title,
        "metric": row.metric,
        "model": row.model,
        "in_mean": row.in_mean,
        "score": score,
        "stderr": None if score is None else 0.01,
        "n": None if score is None else 100,
        "parts": {},
        "missing_parts": [],
        "data": None if score is None else {"name": name, "identity": "1"},
        "reason": (LEFT_OUT if row.optional else "missing") if score is None else None,
    }
    return {**found, **changes}


def scores_of(scores: Mapping[str, float | None], **changes: Any) -> dict[str, Any]:
    """Return the content of scores.json; benchmarks that are not named are missing, or left out
    where they are optional.
    """
    entries = {row.name: entry(row.name, scores.get(row.name)) for row in BENCHMARKS}
    entries |= {name: {**entries[name], **change} for name, change in changes.items()}
    return {"experiment": "made", "benchmarks": entries, "means": means_of(entries)}


def all_scores(value: float) -> dict[str, Any]:
    """Return scores that are all the same."""
    return scores_of({row.name: value for row in BENCHMARKS if not row.optional})


@pytest.fixture
def make_board() -> MakeBoard:
    """Return a maker of leaderboards; an experiment is `name: (acquisition, seed, scores)`."""

    def make(
        experiments: Mapping[str, tuple[str, int, dict[str, Any] | None]],
        baseline: str | None = None,
        bought: Mapping[str, int] | None = None,
        **facts: Mapping[str, Any],
    ) -> dict[str, Any]:
        rows = [
            {
                "experiment": name,
                "dataset": "demo",
                "acquisition": acquisition,
                "seed": seed,
                "scores": "",
                **facts.get(name, {}),
            }
            for name, (acquisition, seed, _) in experiments.items()
        ]
        config = LeaderboardConfig.model_validate({"rows": rows, "baseline": baseline})
        found = {name: scores for name, (_, _, scores) in experiments.items() if scores}
        return build(config, found, bought)

    return make
