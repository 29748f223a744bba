"""A base model is scored through the artifact that refers to it, without a copy of its weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from activeuf_core.artifacts import write_json
from activeuf_core.digests import content_digest
from activeuf_core.errors import DataError
from activeuf_core.evals.models import load_reward_model, release
from activeuf_core.evals.untrained import head_seed, weights_folder
from activeuf_core.paths import BASE_MODEL


def refer(folder: Path, base: Path | str, seed: int | None = None) -> Path:
    """Write what stands in for an untrained model."""
    folder.mkdir(exist_ok=True)
    identity = content_digest(Path(base)) if Path(base).exists() else "1"
    record = {"name": "base", "identity": identity, "location": str(base), "seed": seed}
    write_json(folder / BASE_MODEL, record)
    return folder


def head(folder: Path, dtype: str = "float32") -> torch.Tensor:
    """Return the weights of a reward model's head."""
    release()
    return load_reward_model(folder, dtype).model.score.weight.float().cpu()


def test_a_reference_leads_to_the_base_model(tiny_policy: Path, tmp_path: Path) -> None:
    assert weights_folder(refer(tmp_path / "policy", tiny_policy)) == tiny_policy
    assert weights_folder(tiny_policy) == tiny_policy
    assert head_seed(tiny_policy) is None


def test_a_base_model_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="which is not there"):
        weights_folder(refer(tmp_path / "policy", tmp_path / "gone"))


def test_another_model_in_the_same_place_is_not_scored_for_it(
    tiny_policy: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_policy, tmp_path / "base"))
    folder = refer(tmp_path / "policy", base)
    (base / "config.json").write_text((base / "config.json").read_text() + " ")
    with pytest.raises(DataError, match="is not the one that the baseline is of"):
        weights_folder(folder)


def test_the_new_head_follows_the_seed_and_not_the_dtype(tiny_policy: Path, tmp_path: Path) -> None:
    first = head(refer(tmp_path / "a", tiny_policy, seed=1))
    assert torch.equal(first, head(refer(tmp_path / "a", tiny_policy, seed=1)))
    assert not torch.equal(first, head(refer(tmp_path / "b", tiny_policy, seed=2)))
    torch.testing.assert_close(first, head(tmp_path / "a", "bfloat16"), rtol=0.01, atol=1e-4)
