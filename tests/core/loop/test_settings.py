"""Every setting of the loop changes what it buys or learns, save the one that says it does not."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core import paths
from activeuf_core.loop import report
from activeuf_core.loop.config import LoopConfig
from activeuf_core.loop.run import run

ENN = {"num_heads": 3, "hidden_sizes": [4], "max_steps": 4, "batch_size": 8, "learning_rate": 1e-2}
BASE = {"acquisition": {"method": "dts"}, "enn": ENN, "batch_size": 5}
CHANGES: dict[str, dict[str, Any]] = {
    "acquisition": {"acquisition": {"method": "drts"}},
    "enn": {"enn": {**ENN, "learning_rate": 2e-2}},
    "batch_size": {"batch_size": 4},
    "replay_buffer_factor": {"replay_buffer_factor": 1},
    "budget": {"budget": 20},
    "prompt_selection": {"prompt_selection": "in_order"},
    "prompts_scored": {"prompt_selection": "most_uncertain", "prompts_scored": 8},
    "ties": {"ties": "keep_first"},
    "seed": {"seed": 5},
}
ELSEWHERE = {"judging", "judge"}
"""Tested in `test_judging`."""


def outputs(make_pool: Any, make_context: Any, name: str, **changes: Any) -> list[bytes]:
    pool = make_pool(24)
    for row in pool.rows[:9]:
        row["overall_score"] = 1.0
    context = make_context(pool.write(), name, **{**BASE, **changes})
    run(context)
    return [(context.output / file).read_bytes() for file in (paths.PREFERENCES, paths.METRICS)]


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_plots", lambda *arguments: None)


@pytest.mark.parametrize("key", CHANGES)
def test_setting_changes_the_outcome(make_pool: Any, make_context: Any, key: str) -> None:
    before = outputs(make_pool, make_context, "base")
    assert outputs(make_pool, make_context, "changed", **CHANGES[key]) != before


def test_setting_outside_the_recipe_changes_nothing(make_pool: Any, make_context: Any) -> None:
    before = outputs(make_pool, make_context, "base")
    for key in LoopConfig.not_in_recipe:
        assert outputs(make_pool, make_context, key, **{key: 1}) == before


def test_the_table_has_every_setting() -> None:
    assert set(CHANGES) | ELSEWHERE | LoopConfig.not_in_recipe == set(LoopConfig.model_fields)
