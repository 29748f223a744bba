"""Checkpoints: whole or not at all, the last two kept."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from activeuf_core.loop import checkpoints
from activeuf_core.loop.state import COMPARISON, BatchRecord, LoopState


def save_batches(folder: Path, num: int) -> LoopState:
    """Save a checkpoint after each of `num` batches."""
    state = LoopState("recipe")
    for index in range(num):
        comparisons = np.zeros(3, dtype=COMPARISON)
        state.append(BatchRecord(index, comparisons, 6, 6, 0, 0, 0, {"loss": index / 3}))
        text = f"heads after batch {index}"
        checkpoints.save(folder, state, lambda path, text=text: path.write_text(text))
    return state


def test_newest_checkpoint_is_read_back(tmp_path: Path) -> None:
    state = save_batches(tmp_path, 3)
    found = checkpoints.load_latest(tmp_path, "recipe")
    assert found is not None
    assert (found.state.digest, found.state.next_batch) == (state.digest, 3)
    assert found.enn.read_text() == "heads after batch 2"


def test_last_two_are_kept(tmp_path: Path) -> None:
    save_batches(tmp_path, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch-000003", "batch-000004"]


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoints.load_latest(tmp_path, "recipe") is None


@pytest.mark.parametrize("name", ["state.json", "comparisons.npy", "enn.safetensors"])
def test_truncated_file_sends_the_loop_back(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    save_batches(tmp_path, 2)
    path = tmp_path / "batch-000002" / name
    path.write_bytes(path.read_bytes()[:9])
    with caplog.at_level(logging.WARNING):
        found = checkpoints.load_latest(tmp_path, "recipe")
    assert found is not None and found.state.next_batch == 1
    assert "batch-000002: checkpoint cannot be used" in caplog.text


def test_missing_file_sends_the_loop_back(tmp_path: Path) -> None:
    save_batches(tmp_path, 2)
    (tmp_path / "batch-000002" / "enn.safetensors").unlink()
    found = checkpoints.load_latest(tmp_path, "recipe")
    assert found is not None and found.state.next_batch == 1


def test_checkpoint_of_another_recipe_is_not_used(tmp_path: Path) -> None:
    save_batches(tmp_path, 1)
    assert checkpoints.load_latest(tmp_path, "another seed") is None


def test_what_cannot_be_used_is_kept_aside_and_out_of_the_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_batches(tmp_path, 4)
    with caplog.at_level(logging.WARNING):
        assert checkpoints.load_latest(tmp_path, "another seed") is None
    assert "kept as unusable-batch-000004" in caplog.text
    state = LoopState("another seed")
    state.append(BatchRecord(0, np.zeros(1, dtype=COMPARISON), 2, 2, 0, 0, 0, {}))
    checkpoints.save(tmp_path, state, lambda path: path.write_text("heads"))
    found = checkpoints.load_latest(tmp_path, "another seed")
    assert found is not None and found.state.digest == state.digest
    assert len(list(tmp_path.glob("unusable-*"))) == 2


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"batches": 3, "files": {}, "digest": ""}', "null", '{"files": 7}']
)
def test_state_of_another_form_sends_the_loop_back(tmp_path: Path, body: str) -> None:
    save_batches(tmp_path, 2)
    (tmp_path / "batch-000002" / "state.json").write_text(body)
    found = checkpoints.load_latest(tmp_path, "recipe")
    assert found is not None and found.state.next_batch == 1


def test_torn_save_leaves_nothing_that_counts(tmp_path: Path) -> None:
    state = save_batches(tmp_path, 1)

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(tmp_path, state, fail)
    found = checkpoints.load_latest(tmp_path, "recipe")
    assert found is not None and found.state.next_batch == 1
    save_batches(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["batch-000001"]


def test_discard_leaves_an_empty_folder(tmp_path: Path) -> None:
    save_batches(tmp_path, 2)
    checkpoints.load_latest(tmp_path, "another seed")
    save_batches(tmp_path, 2)
    checkpoints.discard(tmp_path)
    assert list(tmp_path.iterdir()) == []
