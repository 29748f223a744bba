"""The log of one training, published with it: its settings, its steps, what it warned of, and every
attempt that it took.

In: Python's logging, warnings among it, while a block runs. Out: training.log. The lines are also
kept beside the checkpoints, where the next attempt finds them after a crash.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from activeuf_core import processes
from activeuf_core.paths import TRAINING_LOG
from activeuf_core.provenance import git_commit, library_versions
from activeuf_core.stage import StageContext
from activeuf_core.training.config import TrainingConfig

log = logging.getLogger(__name__)

FORMAT = "%(asctime)s %(levelname)s %(message)s"
APART = ("transformers", "trl", "accelerate", "datasets")
"""Libraries that may print their own messages instead of handing them on."""


@contextlib.contextmanager
def kept_log(context: StageContext, config: TrainingConfig) -> Iterator[None]:
    """Within this block, keep what is logged; of several processes, what the first one logs."""
    if not processes.current().is_first:
        yield
        return
    earlier, published = context.checkpoints / TRAINING_LOG, context.output / TRAINING_LOG
    if earlier.exists():
        shutil.copyfile(earlier, published)
    with _written_to(earlier), _written_to(published):
        log.info("%s begins, code %s", _name(context), git_commit())
        log.info("settings: %s", json.dumps(config.model_dump(mode="json")))
        is_trained = False
        try:
            yield
            is_trained = True
        finally:  # a SIGTERM's SystemExit too
            if not is_trained:
                error = sys.exc_info()[1]
                log.error("%s ended: %s: %s", _name(context), type(error).__name__, error)
        versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
        log.info("%s is trained, with %s", _name(context), versions)


def _name(context: StageContext) -> str:
    return f"{context.asset}[{context.partition}]"


@contextlib.contextmanager
def _written_to(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    level = root.level
    # Under a test or in a notebook nobody has asked for more than warnings.
    root.setLevel(min(level, logging.INFO))
    apart = [logger for name in APART if not (logger := logging.getLogger(name)).propagate]
    for logger in (root, *apart):
        logger.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger in (root, *apart):
            logger.removeHandler(handler)
        root.setLevel(level)
        handler.close()
