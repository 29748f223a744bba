"""Which checkpoints count: whole ones of this training, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from activeuf_core.training.checkpoints import (
    MARK,
    STATE,
    checkpoint_folder,
    clear,
    keep_only,
    last_complete,
    mark_complete,
    sizes_of,
)

NEEDED = (STATE, "optimizer.pt", "scheduler.pt")
WEIGHTS = "adapter_model.safetensors"
DIVIDED = {
    "fsdp": ("pytorch_model_fsdp_0/__0_0.distcp", "optimizer_0/__0_0.distcp", "scheduler.pt"),
    "deepspeed over 2": ("global_step4/mp_rank_00_model_states.pt", "scheduler.pt"),
}
"""Files of checkpoints whose weights are divided, by layout."""


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


def write_divided(checkpoints: Path, layout: str) -> Path:
    folder = checkpoint_folder(checkpoints, 4)
    for name in (STATE, *DIVIDED[layout]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    mark_complete(folder, "i", layout)
    return folder


@pytest.mark.parametrize("layout", DIVIDED)
def test_a_divided_checkpoint_is_for_a_training_that_divides_alike(
    tmp_path: Path, layout: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_divided(tmp_path, layout)
    assert last_complete(tmp_path, "i", layout) == folder
    assert last_complete(tmp_path, "i") is None
    assert f"divided otherwise ({layout})" in caplog.text
    (folder / DIVIDED[layout][0]).unlink()
    assert last_complete(tmp_path, "i", layout) is None


def test_a_file_that_another_process_wrote_is_needed_too(tmp_path: Path) -> None:
    folder = write(tmp_path, 2)
    mark_complete(folder, "i", seen=[sizes_of(folder), {"rng_state_1.pth": 3}])
    assert last_complete(tmp_path, "i") is None
    (folder / "rng_state_1.pth").write_text("abc")
    assert last_complete(tmp_path, "i") == folder


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
