"""A note that a training ran out of the device's memory, and how it gets that memory back.

One process lets go of the first attempt and goes on. Of several, one runs out while the others
wait for it in the middle of a pass, and cannot be called back: all are started afresh, and find
the note.

In: the folder of the checkpoints, which the processes share. Out: `out_of_memory.json` there, which
is removed with them. Heavy: imports torch.
"""

from __future__ import annotations

import gc
from dataclasses import asdict
from pathlib import Path

import torch

from activeuf_core import processes
from activeuf_core.artifacts import read_json, write_json
from activeuf_core.stage import StageContext
from activeuf_core.training.batching import Batching

NOTE = "out_of_memory.json"


class Note:
    """What an earlier start of the same training left, if it had the same passes."""

    def __init__(self, checkpoints: Path, batching: Batching) -> None:
        """Look for the note; all processes find the same."""
        self._path = checkpoints / NOTE
        self._content = {**asdict(batching), "processes": processes.current().count}
        self.is_there: bool = processes.gather(self._is_found())[0]
        """Whether these passes did not fit."""

    def free_memory(self, context: StageContext) -> None:
        """Return with the memory free again; several processes end here, and are started again."""
        if processes.current().count > 1:
            write_json(self._path, self._content)
            context.start_again(f"out of memory with {self._content['per_device']} comparisons")
        gc.collect()
        torch.cuda.empty_cache()

    def _is_found(self) -> bool:
        return self._path.exists() and read_json(self._path) == self._content
