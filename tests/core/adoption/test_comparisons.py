"""Saved data sets of comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from activeuf_core.adoption.comparisons import is_dataset, offer
from activeuf_core.adoption.offers import Offer, Wanted
from activeuf_core.adoption.taking import take
from activeuf_core.artifacts import Manifest
from activeuf_core.paths import CANDIDATES, METRICS, PREFERENCES
from activeuf_core.schemas import CANDIDATE, read_rows, user_message, write_rows

ROW = {
    "prompt": "why?",
    "prompt_id": "1",
    "chosen": [*user_message("why?"), {"role": "assistant", "content": "because"}],
    "rejected": [*user_message("why?"), {"role": "assistant", "content": "no"}],
    "chosen_model": "a",
    "rejected_model": "b",
    "chosen_score": 4.0,
    "rejected_score": 2.0,
    "input_ids_chosen": None,
}


def save(folder: Path, *rows: dict[str, Any]) -> Path:
    from datasets import Dataset

    Dataset.from_list(list(rows)).save_to_disk(folder)
    return folder


def look(tmp_path: Path, wanted: Wanted, **changes: Any) -> Offer:
    return offer(save(tmp_path / "run", {**ROW, **changes}), wanted)


def test_rows_become_comparisons_of_ours(tmp_path: Path, wanted: Wanted) -> None:
    found = look(tmp_path, wanted)
    assert found.problem == "" and is_dataset(found.source)
    manifest = take(found, wanted, "copy")
    folder = wanted.layout.artifact("preference_dataset", manifest.fingerprint)
    (row,) = read_rows(folder / PREFERENCES)
    assert row["prompt"] == user_message("why?")
    assert row["chosen"] == [{"role": "assistant", "content": "because"}]
    assert (folder / METRICS).read_text() == ""
    assert "budget_respected" in manifest.metadata["not_known"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rejected": ROW["chosen"]}, "it fails chosen_differs_from_rejected"),
        ({"chosen_score": 1.0}, "it fails chosen_scores_higher"),
        ({"chosen": user_message("why?")}, "row 0 is no comparison"),
        ({"prompt_id": None, "chosen_score": "high"}, "row 0 is no comparison"),
    ],
)
def test_what_is_no_comparison_is_refused(
    tmp_path: Path, wanted: Wanted, changes: dict[str, Any], problem: str
) -> None:
    assert look(tmp_path, wanted, **changes).problem.startswith(problem)


def test_prompts_that_are_not_in_the_pool_are_refused(tmp_path: Path, wanted: Wanted) -> None:
    recipe = wanted.recipes["candidate_pool", "tiny"]
    output = tmp_path / "output"
    output.mkdir()
    row = {"prompt_id": "2", "prompt": user_message("what?"), "model": "a", "completion": "x"}
    write_rows(output / CANDIDATES, CANDIDATE, [{**row, "ratings": "{}"}])
    manifest = Manifest("candidate_pool", "tiny", recipe.fingerprint, "1", 0, {}, {})
    wanted.book.store.publish(manifest, output)
    assert look(tmp_path, wanted).problem == (
        "1 of 1 prompts are not in the candidate pool, e.g. '1'"
    )


def test_the_training_split_is_taken_and_a_cut_file_refused(tmp_path: Path, wanted: Wanted) -> None:
    from datasets import Dataset, DatasetDict

    folder = tmp_path / "splits"
    DatasetDict({"train": Dataset.from_list([ROW])}).save_to_disk(folder)
    assert offer(folder, wanted).problem == ""
    (path,) = (folder / "train").glob("*.arrow")
    path.write_bytes(path.read_bytes()[:100])
    assert offer(folder, wanted).problem.startswith("it cannot be read")
