"""Writes what stands in for an artifact that no stage makes.

In: a `StandIn` config instead of the stage's own. Out: score.json with a null score and the reason;
the stage's checks pass, and say why. Cost: none, nothing is loaded.
Command: that of the stage that it stands in for; `activeuf_core.stage` turns here.
"""

from __future__ import annotations

from typing import Any

from activeuf_core.artifacts import write_json
from activeuf_core.paths import SCORE
from activeuf_core.stage import StageContext
from activeuf_core.stages import stage_of
from activeuf_core.stand_ins import LEFT_OUT, StandIn


def run(context: StageContext) -> None:
    """Write the stand-in."""
    config = context.config(StandIn)
    write_json(context.output / SCORE, left_out(config.benchmark))
    context.add_metadata(state=config.stand_in)
    _pass_checks(context, f"The experiment leaves {config.benchmark} out: nothing to check.")


def left_out(benchmark: str) -> dict[str, Any]:
    """Return the content of score.json of a benchmark that is left out."""
    return {"benchmark": benchmark, "score": None, "stderr": None, "n": None, "reason": LEFT_OUT}


def _pass_checks(context: StageContext, description: str) -> None:
    for check in stage_of(context.asset).checks:
        context.check(check.name, True, description, blocking=check.blocking)
