"""What stands in for an artifact that no stage makes: a benchmark that an experiment leaves out.

Every asset has every partition of its kind. So what an experiment does without is there too and
says so: nothing is missing for ever. `stand_in_stage.py` writes it; it reads nothing and costs
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from activeuf_core.config import StrictModel

STAND_IN = "stand_in"
"""The key that tells a stand-in's config from every stage's own."""
LEFT_OUT = "left out"


class StandIn(StrictModel):
    """What an artifact is instead of a stage's result."""

    stand_in: Literal["left out"]
    """left out: the experiment does without this benchmark."""
    benchmark: str
    """A name of the table of benchmarks."""

    @property
    def is_light(self) -> bool:
        """True: many are written by one process."""
        return True


def is_stand_in(config: Mapping[str, Any]) -> bool:
    """Whether a config is that of a stand-in."""
    return STAND_IN in config
