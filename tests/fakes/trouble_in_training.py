"""The training's command line, with trouble for one of its processes at one optimiser step.

Behind `python -m activeuf_core.launch --processes=2 --`, with `--config` and `--run-dir` as every
stage. `$TROUBLE` is `<kind>:<rank>:<step>`; of the kinds, `memory` strikes passes of more
than one comparison alone, and `term` is SLURM's warning to one process.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from typing import Any

TROUBLE = "TROUBLE"
ON_CPU = "DIVIDE_ON_CPU"
"""Set: accelerate takes processes without a GPU for such with one, and divides their weights."""


def _strike(kind: str, per_device: int) -> None:
    import torch

    from activeuf_core.errors import DataError

    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    if kind == "data":
        raise DataError("row 3 is bad")
    if kind == "memory" and per_device > 1:
        raise torch.OutOfMemoryError("CUDA out of memory")


def _prepare(kind: str, rank: int, step: int) -> None:
    from transformers import Trainer

    from activeuf_core import processes

    train = Trainer.training_step

    def training_step(self: Trainer, *args: Any, **options: Any) -> Any:
        if processes.current().rank == rank and self.state.global_step == step:
            _strike(kind, self.args.per_device_train_batch_size)
        return train(self, *args, **options)

    Trainer.training_step = training_step


def _divide_on_cpu() -> None:
    """FSDP is for GPUs, says accelerate, and leaves it out without a word where there are none."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    begin = PartialState.__init__

    def begin_as_if_on_gpus(self: PartialState, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = begin_as_if_on_gpus


if __name__ == "__main__":
    if os.environ.get(TROUBLE):
        kind, rank, step = os.environ[TROUBLE].split(":")
        _prepare(kind, int(rank), int(step))
    if os.environ.get(ON_CPU):
        _divide_on_cpu()
    sys.argv[0] = "activeuf_core.training"
    runpy.run_module("activeuf_core.training", run_name="__main__", alter_sys=True)
