"""Which checkpoints count: whole ones of this training, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from activeuf_core.training.checkpoints import (
    MARK,
    NEEDED,
    checkpoint_folder,
    clear,
    keep_only,
    last_complete,
    mark_complete,
)

WEIGHTS = "adapter_model.safetensors"


def write(checkpoints: Path, step: int, *, identity: str = "i", without: str = "") -> Path:
    folder = checkpoint_folder(checkpoints, step)
    folder.mkdir()
    for name in {*NEEDED, WEIGHTS} - {without}:
        (folder / name).write_text(f"content of {name}")
    mark_complete(folder, identity)
    return folder


def test_the_newest_complete_checkpoint_is_taken(tmp_path: Path) -> None:
    write(tmp_path, 9)
    newest = write(tmp_path, 10)
    assert last_complete(tmp_path, "i") == newest


def test_without_checkpoints_training_starts_anew(tmp_path: Path) -> None:
    assert last_complete(tmp_path, "i") is None


def test_checkpoint_without_a_mark_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older = write(tmp_path, 2)
    (write(tmp_path, 4) / MARK).unlink()
    assert last_complete(tmp_path, "i") == older
    assert "checkpoint-4 is not resumed from: it has no mark" in caplog.text


@pytest.mark.parametrize("name", [*NEEDED, WEIGHTS])
def test_checkpoint_with_a_cut_file_is_passed_over(tmp_path: Path, name: str) -> None:
    older, newest = write(tmp_path, 2), write(tmp_path, 4)
    (newest / name).write_text("cut")
    assert last_complete(tmp_path, "i") == older
    (older / name).unlink()
    assert last_complete(tmp_path, "i") is None


@pytest.mark.parametrize("name", [*NEEDED, WEIGHTS])
def test_checkpoint_that_never_had_a_needed_file_is_passed_over(tmp_path: Path, name: str) -> None:
    write(tmp_path, 2, without=name)
    assert last_complete(tmp_path, "i") is None


def test_mark_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (write(tmp_path, 2) / MARK).write_text("{")
    assert last_complete(tmp_path, "i") is None


def test_checkpoint_of_another_training_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, 2, identity="other")
    assert last_complete(tmp_path, "i") is None


def test_all_but_one_are_removed_before_a_resume(tmp_path: Path) -> None:
    kept = write(tmp_path, 2)
    write(tmp_path, 4)
    keep_only(tmp_path, kept)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


def test_clearing_leaves_an_empty_folder(tmp_path: Path) -> None:
    write(tmp_path, 2)
    (tmp_path / "README.md").write_text("card")
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []
