"""The training libraries, without what a training does not use.

TRL and transformers import W&B's client wherever it is installed (2 s on a laptop), and announce
every training to the hub. Metrics leave a stage through metrics.jsonl, and nothing else leaves it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

TRACKER = "wandb"


@contextlib.contextmanager
def lean_libraries() -> Iterator[None]:
    """Within this block, import trl and train: no telemetry, and W&B's client counts as not
    installed.

    The block must enclose the training too, because TRL asks again whenever it writes a checkpoint.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    hidden = TRACKER not in sys.modules
    if hidden:
        sys.modules[TRACKER] = None  # type: ignore[assignment] - Python's "not there"
    try:
        yield
    finally:
        if hidden:
            sys.modules.pop(TRACKER, None)
