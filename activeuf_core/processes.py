"""The processes of one stage: which of them this one is, and how they put their work together.

A stage is started once per process, by `accelerate launch` or by `srun` (`launch.py`); all run the
same code, and the first one's output is published. A stage that divides rows takes its share of
them (`Processes.share`) and gathers what came out (`gather`). One process alone neither imports
torch nor waits.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

PATIENCE = timedelta(days=1)
"""How long a process waits for the others: they work on different rows, and may be hours apart. One
that dies ends the others, so nobody waits for the dead."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes:
    """Which process this is (`rank`, from 0), of how many, on how many nodes."""

    rank: int = 0
    count: int = 1
    nodes: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process's output is the one that is published."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's items: every one belongs to exactly one process, and neighbours to
        different ones, so that a sorted sequence is divided evenly.
        """
        return list(items[self.rank :: self.count])

    def owns(self, number: int) -> bool:
        """Whether the item of this number is in this process's share."""
        return number % self.count == self.rank


def current(environment: Mapping[str, str] | None = None) -> Processes:
    """Return this process, as its starter tells. Args: environment: instead of os.environ."""
    told = os.environ if environment is None else environment
    if "RANK" in told and "WORLD_SIZE" in told:  # the names of torch's launchers
        count = int(told["WORLD_SIZE"])
        return Processes(
            int(told["RANK"]), count, count // int(told.get("LOCAL_WORLD_SIZE", count))
        )
    return Processes()


def gather(value: Any) -> list[Any]:
    """Return what every process hands in, by rank, on all of them. Args: value: can be pickled.

    All processes have to call it, the same number of times.
    """
    if current().count == 1:
        return [value]
    _state()
    from accelerate.utils import gather_object

    return gather_object([value])


def add_up(**counts: float) -> dict[str, float]:
    """Return the sums of what every process counted, on all of them. All have to call it."""
    told = gather(counts)
    return {name: sum(one[name] for one in told) for name in counts}


def wait() -> None:
    """Return when every process has come here."""
    if current().count > 1:
        _state().wait_for_everyone()


def agree(is_asked: bool) -> bool:
    """Return whether any process was asked, on all of them: a question for every step.

    It goes by the hosts' network and never waits for a GPU's work. All have to call it.
    """
    if current().count == 1:
        return is_asked
    import torch

    answer = torch.tensor([is_asked], dtype=torch.int32)
    torch.distributed.all_reduce(answer, torch.distributed.ReduceOp.MAX, group=_hosts())
    return bool(answer.item())


def introduce() -> int:
    """Let the processes find each other, before a library does it in its own way; return how many
    there are.
    """
    if current().count > 1:
        _state()
    return current().count


def part() -> None:
    """Take leave of the others, if they were ever met."""
    if current().count == 1 or "accelerate" not in sys.modules:
        return
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@functools.cache
def _hosts() -> Any:
    import torch

    _state()
    return torch.distributed.new_group(backend="gloo", timeout=PATIENCE)


def _state() -> Any:
    import torch
    from accelerate import InitProcessGroupKwargs, PartialState

    # Without `cpu`, processes on a machine without GPUs are not introduced to one another.
    return PartialState(
        cpu=not torch.cuda.is_available(), **InitProcessGroupKwargs(timeout=PATIENCE).to_kwargs()
    )
