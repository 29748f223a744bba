"""Random batches of bounds, full and ragged, and streams to go with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from activeuf_core.acquisition.base import Bounds
from activeuf_core.acquisition.random_stream import RandomStream

MODELS = ["Qwen/Qwen3-32B", "Qwen/Qwen3-0.6B", "c", "d", "e", "f", "g", "h"]


def make_bounds(num_prompts: int = 50, num_completions: int = 8, *, keep: float = 1.0) -> Bounds:
    """Bounds from random heads; beyond the second, a completion is real with probability `keep`."""
    rng = np.random.default_rng(7)
    shape = (num_prompts, num_completions)
    spread_PC = rng.uniform(0.2, 1.5, size=shape)
    heads_EPC = rng.normal(size=(10, *shape)) * spread_PC + rng.normal(size=shape)
    mean_PC, std_PC = heads_EPC.mean(axis=0), heads_EPC.std(axis=0, ddof=1)
    mask_PC = rng.random(shape) < keep
    mask_PC[:, :2] = True
    heads_EPC[:, ~mask_PC] = 0.0
    return Bounds(
        np.where(mask_PC, mean_PC, np.nan),
        np.where(mask_PC, mean_PC - std_PC, np.nan),
        np.where(mask_PC, mean_PC + std_PC, np.nan),
        mask_PC,
        [f"prompt-{row}" for row in range(num_prompts)],
        overall_score_PC=np.where(mask_PC, rng.uniform(1, 5, size=shape), np.nan),
        heads_EPC=heads_EPC,
        completion_models_PC=np.broadcast_to(np.array(MODELS[:num_completions]), shape),
    )


def make_stream(bounds: Bounds, seed: int = 0, batch_index: int = 0) -> RandomStream:
    """The stream of a batch, under the names of its prompts."""
    return RandomStream.for_batch(seed, bounds.prompt_ids, batch_index)


def repeat_prompt(num: int, **rows: Any) -> Bounds:
    """One prompt `num` times under different names, to count what is selected."""
    mean_C = np.asarray(rows["mean"], dtype=float)
    half_C = np.asarray(rows.get("half", np.zeros(len(mean_C))))
    mask_C = np.asarray(rows.get("mask", np.ones(len(mean_C), dtype=bool)))
    heads_EC = rows.get("heads")
    wide = (num, len(mean_C))
    return Bounds(
        np.broadcast_to(mean_C, wide),
        np.broadcast_to(mean_C - half_C, wide),
        np.broadcast_to(mean_C + half_C, wide),
        np.broadcast_to(mask_C, wide),
        [str(row) for row in range(num)],
        heads_EPC=None if heads_EC is None else np.repeat(np.array(heads_EC)[:, None], num, axis=1),
        overall_score_PC=np.broadcast_to(np.asarray(rows.get("score", mean_C)), wide),
    )


@pytest.fixture
def bounds_of() -> Callable[..., Bounds]:
    """Make random bounds."""
    return make_bounds


@pytest.fixture
def stream_of() -> Callable[..., RandomStream]:
    """Make the stream of some bounds."""
    return make_stream


@pytest.fixture
def repeated() -> Callable[..., Bounds]:
    """Make one prompt many times."""
    return repeat_prompt
