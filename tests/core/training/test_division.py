"""What accelerate's config file may ask of a training, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType

from activeuf_core.errors import ConfigError, LaunchError
from activeuf_core.training import division


def trainer(
    kind: DistributedType = DistributedType.NO, precision: str = "no", world_size: int = 1
) -> Any:
    accelerator = SimpleNamespace(distributed_type=kind, mixed_precision=precision)
    return SimpleNamespace(accelerator=accelerator, args=SimpleNamespace(world_size=world_size))


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        (DistributedType.MULTI_GPU, "whole"),
        (DistributedType.FSDP, "fsdp"),
        (DistributedType.DEEPSPEED, "deepspeed over 1"),
    ],
)
def test_a_checkpoint_bears_how_it_is_divided(kind: DistributedType, layout: str) -> None:
    assert division.layout_of(trainer(kind)) == layout


def test_several_gpus_for_one_process_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(ConfigError, match=r"sees 4 GPUs .*processes_per_node: 4"):
        division.require_one_device(1)
    division.require_one_device(4)


def test_another_precision_than_the_trainings_is_refused() -> None:
    division.require_right(trainer(precision="bf16"), torch.bfloat16)
    with pytest.raises(ConfigError, match="mixed_precision bf16"):
        division.require_right(trainer(precision="bf16"), torch.float32)


def test_fsdp_without_gpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match="works between GPUs alone"):
        division.require_right(trainer(), torch.float32)


def test_processes_that_do_not_know_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LaunchError, match=r"knows of 1 process\(es\), and 2 were started"):
        division.require_right(trainer(), torch.float32)
