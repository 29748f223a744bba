"""A synthetic candidate pool, judged by a hidden linear reward, and a context for the stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from activeuf_core import paths
from activeuf_core.jobs import Unit
from activeuf_core.loop.candidates import CandidateTable, read_candidates
from activeuf_core.paths import UnitFolder
from activeuf_core.schemas import CANDIDATE, user_message, write_rows
from activeuf_core.stage import StageContext

FEATURE_SIZE = 12


@dataclass
class Pool:
    """A pool that can be spoilt before it is written."""

    folder: Path
    rows: list[dict[str, Any]]
    features: NDArray[np.floating[Any]]

    @property
    def candidates(self) -> Path:
        return self.folder / paths.CANDIDATES

    @property
    def matrix(self) -> Path:
        return self.folder / paths.FEATURES

    @property
    def index(self) -> Path:
        return self.folder / paths.FEATURE_INDEX

    def write(self) -> Pool:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_rows(self.candidates, CANDIDATE, self.rows)
        np.save(self.matrix, self.features)
        schema = pa.schema([("prompt_id", pa.string()), ("model", pa.string())])
        write_rows(self.index, schema, _only(schema.names, self.rows))
        return self

    def table(self) -> CandidateTable:
        return read_candidates(self.candidates)


def _only(names: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in names} for row in rows]


def candidate(prompt_id: str, model: str, score: float | None, text: str) -> dict[str, Any]:
    """Return a row of the candidate pool."""
    return {
        "prompt_id": prompt_id,
        "source": "synthetic",
        "prompt": user_message(f"Question {prompt_id}?"),
        "model": model,
        "completion": text,
        "finish_reason": "stop",
        "ratings": "{}",
        "overall_score": score,
    }


@pytest.fixture
def make_pool(tmp_path: Path) -> Callable[..., Pool]:
    """Return a function that makes a pool; its prompts have three or four completions."""

    def make(num_prompts: int = 6, seed: int = 0, noise: float = 0.0) -> Pool:
        rng = np.random.default_rng(seed)
        hidden = rng.normal(size=FEATURE_SIZE) / np.sqrt(FEATURE_SIZE)
        rows, features = [], []
        for prompt in range(num_prompts):
            for model in range(3 + prompt % 2):
                feature = rng.normal(size=FEATURE_SIZE) + 0.3 * model * hidden
                score = float(feature @ hidden + noise * rng.normal())
                text = f"Answer of {model} to {prompt}" + "!" * int(rng.integers(9))
                rows.append(candidate(f"p{prompt:04d}", f"m{model}", score, text))
                features.append(feature)
        return Pool(tmp_path / "inputs", rows, np.array(features, dtype=np.float16))

    return make


@pytest.fixture
def pool(make_pool: Callable[..., Pool]) -> Pool:
    """Return a pool of six prompts, not yet written."""
    return make_pool()


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., StageContext]:
    """Return a function that makes a context to run the stage in; one checkpoint folder for all."""

    def make(pool: Pool, attempt: str = "first", **config: Any) -> StageContext:
        folder = UnitFolder(tmp_path / "runs" / attempt)
        folder.output.mkdir(parents=True)
        inputs = {asset: {"pool": str(pool.folder)} for asset in ("candidate_pool", "features")}
        unit = Unit("preference_dataset", "test", "", "1", 0, config, inputs, {})
        checkpoints = tmp_path / "checkpoints"
        checkpoints.mkdir(exist_ok=True)
        return StageContext(unit, folder, checkpoints)

    return make
