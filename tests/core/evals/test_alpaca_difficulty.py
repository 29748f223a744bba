"""The table of difficulties: by number or by text, and what is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from activeuf_core.artifacts import write_json
from activeuf_core.errors import DataError
from activeuf_core.evals.alpaca_difficulty import fit_table, main, read_difficulty
from activeuf_core.paths import PREDICTIONS, SCORE
from tests.core.evals.conftest import WriteRows

INSTRUCTIONS = ["Say a.", "Say b."]
BY_NUMBER = [
    {"index": 0, "instruction_difficulty": 0.5},
    {"index": 1, "instruction_difficulty": -1},
]


def test_difficulties_are_found_by_number(write_rows: WriteRows) -> None:
    found, gamed = read_difficulty(str(write_rows(BY_NUMBER)), INSTRUCTIONS, 0.2)
    assert (found.tolist(), gamed) == ([0.5, -1.0], None)


def test_difficulties_are_found_by_text(write_rows: WriteRows) -> None:
    rows = [
        {"instruction": text, "instruction_difficulty": len(text)} for text in ("Say b.", "Say a.")
    ]
    rows[0]["instruction_difficulty"] = 2.0
    found, _ = read_difficulty(str(write_rows(rows)), INSTRUCTIONS, 0.2)
    assert found.tolist() == [6.0, 2.0]


def test_rows_of_the_gamed_reference_share_a_weight(write_rows: WriteRows) -> None:
    rows = [
        {**row, "preference": share, "std_delta_len": length}
        for row in BY_NUMBER
        for share, length in ((0.2, 1.0), (0.7, -1.0))
    ]
    others = [{"index": 9, "instruction_difficulty": 0, "preference": 0.9, "std_delta_len": 1}]
    _, gamed = read_difficulty(str(write_rows([*rows, *others])), INSTRUCTIONS, 0.2)
    assert gamed is not None
    assert gamed.weight == pytest.approx(0.1)
    assert gamed.preference.tolist() == [0.2, 0.7, 0.2, 0.7]
    assert gamed.tanh_length[0] == pytest.approx(0.7616, abs=1e-4)


def test_a_csv_file_does_as_well(write_rows: WriteRows) -> None:
    path = write_rows([], "difficulty.csv")
    path.write_text("index,instruction_difficulty,preference\n0,1.5,\n1,2.5,\n", encoding="utf-8")
    assert read_difficulty(str(path), INSTRUCTIONS, 0.2)[0].tolist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (BY_NUMBER[:1], r"1 of 2 instructions have no difficulty, first number 1 \('Say b.'\)"),
        ([{"instruction_difficulty": 1}], "neither 'index' nor 'instruction'"),
        ([{"index": -1, "instruction_difficulty": 1}], "index is -1.0; expected a whole number"),
        ([{"index": 0, "instruction_difficulty": "hard"}], "holds 'hard'; expected a number"),
        (
            [{"index": 0, "instruction_difficulty": 1, "preference": 1.5, "std_delta_len": 0}],
            "holds 1.5; expected a probability",
        ),
    ],
)
def test_a_wrong_table_is_refused(write_rows: WriteRows, rows: list[object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_difficulty(str(write_rows(rows)), INSTRUCTIONS, 0.2)


def score_folder(folder: Path, preferences: list[float | None], judge: str = "j") -> Path:
    """Write what an artifact holds of one policy's score."""
    folder.mkdir()
    settings = {"judge": {"model": judge}, "reference": "us"}
    write_json(folder / SCORE, {"settings": settings, "data": {"identity": "1"}})
    rows = [
        {
            "prompt_sha256": str(i),
            "correct": preference,
            "extra": {"length": 10 + i, "reference_length": 20},
        }
        for i, preference in enumerate(preferences)
    ]
    (folder / PREDICTIONS).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def test_a_table_is_fitted_to_the_scores_of_several_policies(tmp_path: Path) -> None:
    folders = [
        score_folder(tmp_path / "a", [0.9, 0.2, 0.5]),
        score_folder(tmp_path / "b", [0.7, 0.1, None]),
    ]
    out = tmp_path / "difficulty.jsonl"
    assert main([*map(str, folders), "--out", str(out)]) == 0
    found, _ = read_difficulty(str(out), ["a", "b", "c"], 0.2)
    assert found[0] > found[2] > found[1]


def test_of_all_artifacts_those_without_preferences_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [score_folder(tmp_path / name, [0.9, 0.2]) for name in "ab"]
    folders += [tmp_path / "left out", tmp_path / "published"]
    write_json(folders[2] / SCORE, {"score": None, "reason": "left out"})
    write_json(folders[3] / SCORE, {"score": 0.1, "details": {"published": "a paper"}})
    assert main([*map(str, folders), "--out", str(tmp_path / "table")]) == 0
    assert main([*map(str, folders), str(tmp_path), "--out", str(tmp_path / "x")]) == 1
    assert "score.json, predictions.jsonl missing" in capsys.readouterr().err


def test_scores_of_two_judges_are_not_put_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        score_folder(tmp_path / "a", [0.9, 0.2]),
        score_folder(tmp_path / "b", [0.9, 0.2], judge="k"),
    ]
    assert main([*map(str, folders), "--out", str(tmp_path / "x")]) == 1
    assert "2 different judges, references or data" in capsys.readouterr().err


def test_scores_of_other_instructions_are_refused(tmp_path: Path) -> None:
    folders = [
        score_folder(tmp_path / "a", [0.9, 0.2]),
        score_folder(tmp_path / "b", [0.9]),
    ]
    with pytest.raises(DataError, match="different instructions"):
        fit_table(folders)
    with pytest.raises(DataError, match="at least two"):
        fit_table(folders[:1])
