"""The task files work by themselves: lm-eval's command line says, row by row, what a score says.

Also here: whole real benchmarks are read, checked and turned into requests, where they are at hand.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from activeuf_core.artifacts import read_json
from activeuf_core.evals import harness
from activeuf_core.evals.benchmarks import benchmark
from activeuf_core.evals.models import load_policy
from activeuf_core.evals.questions import require_answerable
from activeuf_core.evals.rows import HUB_SPLITS, Row, load_rows
from activeuf_core.paths import PREDICTIONS, SCORE
from tests.core.evals.conftest import ROWS, MakeScore, WriteRows
from tests.core.evals.test_harness import METRICS, POLICY_BENCHMARKS, TASK_FILES

REAL: dict[str, tuple[str, int]] = {
    "gsm8k": ("gsm8k/test.jsonl.gz", 1319),
    "minerva_math": ("math/math_test_5000.jsonl.xz", 5000),
    "ifeval": ("ifeval/input_data.jsonl.gz", 541),
    "truthfulqa": ("truthfulqa/mc_task.json.gz", 817),
}


def local_task(name: str, data: Path, limit: int | None) -> dict[str, Any]:
    """Return a task on local rows as a person writes it: our task file, and where the rows lie."""
    entry = yaml.load(TASK_FILES[name].read_text("utf-8"), Loader=yaml.BaseLoader)
    found = {
        "include": str(TASK_FILES[name]),
        "task": f"local_{name}",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"rows": str(data)}},
        "test_split": "rows",
    }
    if limit is not None and name != "truthfulqa":
        stops = entry["generation_kwargs"]["until"]
        found["generation_kwargs"] = {"until": stops, "do_sample": False, "max_gen_toks": limit}
    return found


def lm_eval_command(tasks: list[dict[str, Any]], model: Path, folder: Path) -> Path:
    """Run lm-eval's command on tasks; return the folder of its results."""
    own = folder / "tasks"
    own.mkdir()
    for task in tasks:
        (own / f"{task['task']}.yaml").write_text(json.dumps(task), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "lm_eval"), "--model", "hf"]
    command += ["--model_args", f"pretrained={model},dtype=float32,max_length=2048"]
    command += ["--include_path", str(own), "--tasks", ",".join(task["task"] for task in tasks)]
    command += ["--apply_chat_template", "--fewshot_as_multiturn", "--batch_size", "2"]
    command += ["--device", "cpu", "--log_samples", "--output_path", str(folder / "results")]
    environment = {**os.environ, "HF_HOME": str(folder / "hf"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "results"


@pytest.mark.slow
def test_the_command_line_knows_our_tasks() -> None:
    command = [str(Path(sys.executable).parent / "lm_eval"), "validate"]
    command += ["--tasks", ",".join(f"activeuf_{name}" for name in POLICY_BENCHMARKS)]
    command += ["--include_path", str(harness.TASKS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_scores_are_those_of_the_command_line(
    make_score: MakeScore, tiny_policy: Path, tmp_path: Path
) -> None:
    contexts = {name: make_score(name) for name in POLICY_BENCHMARKS}
    tasks = [local_task(name, tmp_path / f"{name}.jsonl", 6) for name in POLICY_BENCHMARKS]
    results = lm_eval_command(tasks, tiny_policy, tmp_path)
    for name, context in contexts.items():
        harness.run(context)
        ours = [json.loads(x) for x in (context.output / PREDICTIONS).open(encoding="utf-8")]
        (path,) = results.glob(f"**/samples_local_{name}_*.jsonl")
        theirs = sorted(map(json.loads, path.open(encoding="utf-8")), key=lambda s: s["doc_id"])
        assert [p["prompt_sha256"] for p in ours] == [s["prompt_hash"] for s in theirs]
        expected = [float(s[METRICS[name]]) for s in theirs]
        assert [p["correct"] for p in ours] == pytest.approx(expected, abs=1e-5)
        if name != "truthfulqa":
            assert [p["output"] for p in ours] == [s["filtered_resps"][0] for s in theirs]
        if name != "minerva_math":  # whose suite is the mean of its subjects
            (summary,) = results.glob("**/results_*.json")
            stored = read_json(summary)["results"][f"local_{name}"][f"{METRICS[name]},none"]
            assert read_json(context.output / SCORE)["score"] == pytest.approx(stored, abs=1e-5)


def test_minerva_s_suite_is_the_plain_mean_of_seven() -> None:
    index = harness._task_manager().task_index
    suite = index["activeuf_minerva_math"].cfg
    subjects = [index[name].cfg["dataset_name"] for name in suite["task"]]
    assert tuple(subjects) == HUB_SPLITS["minerva_math"].configurations
    assert {metric["weight_by_size"] for metric in suite["aggregate_metric_list"]} == {False}
    shared = [{k: v for k, v in index[n].cfg.items() if k != "dataset_name"} for n in suite["task"]]
    assert all({**one, "task": ""} == {**shared[0], "task": ""} for one in shared)


def test_the_task_files_and_the_table_agree() -> None:
    for name in POLICY_BENCHMARKS:
        row = benchmark(name)
        cfg = harness._entry(row)
        limit = cfg.get("generation_kwargs", {}).get("max_gen_toks", 0)
        assert limit == row.max_new_tokens
        assert cfg["num_fewshot"] == (0 if name == "truthfulqa" else row.num_fewshot)
        assert row.metric in {metric["metric"] for metric in cfg["metric_list"]}


def as_multiple_choice(path: Path, write_rows: WriteRows) -> Path:
    """Write the published TruthfulQA file as the hub's rows: choices and labels in two lists."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found = json.load(file)
    rows = [
        {
            "question": row["question"],
            "mc2_targets": {
                "choices": list(row["mc2_targets"]),
                "labels": list(row["mc2_targets"].values()),
            },
        }
        for row in found
    ]
    return write_rows(rows, "truthfulqa.jsonl")


@pytest.fixture
def real_rows(shared_data: Path, write_rows: WriteRows) -> Callable[[str], tuple[list[Row], str]]:
    """Return a reader of a whole real benchmark: rows, and where they lie."""

    def read(name: str) -> tuple[list[Row], str]:
        path = shared_data / REAL[name][0]
        if name == "truthfulqa":
            path = as_multiple_choice(path, write_rows)
        return load_rows(name, str(path)), str(path)

    return read


@pytest.mark.slow
@pytest.mark.parametrize("name", POLICY_BENCHMARKS)
def test_whole_benchmarks_become_requests(
    name: str,
    real_rows: Callable[[str], tuple[list[Row], str]],
    shared_data: Path,
    tiny_policy: Path,
) -> None:
    from activeuf_core.evals.language_model import PolicyLM

    row = benchmark(name)
    rows, location = real_rows(name)
    assert len(rows) == REAL[name][1]
    require_answerable(name, rows, location, str(shared_data / "nltk_data"))
    task = harness.load_task(row, rows, row.num_fewshot, row.max_new_tokens)
    lm = PolicyLM(load_policy(tiny_policy, "float32"), 2048, 2, lambda done, total: None)
    requests = harness.build_requests(lm, task)
    assert len({request.doc_id for request in requests}) == len(rows)
    assert all(request.args[0].endswith(end_of_context(name)) for request in requests)


def end_of_context(name: str) -> str:
    """Return how every context of a benchmark ends: the assistant's turn, begun for GSM8K."""
    return "<|assistant|>Answer:" if name == "gsm8k" else "<|assistant|>"


def conversations(name: str) -> tuple[bool, list[dict[str, str]], tuple[Any, ...]]:
    """Return of a benchmark's first row: whether a turn is opened for the model, the turns, and
    what else lm-eval is asked.
    """
    row = benchmark(name)
    task = harness.load_task(row, ROWS[name], row.num_fewshot, row.max_new_tokens)

    def write_down(turns: Any, add_generation_prompt: bool = True) -> str:
        return json.dumps([add_generation_prompt, turns])

    lm = SimpleNamespace(apply_chat_template=write_down, tokenizer_name="none")
    first = harness.build_requests(lm, task)[0]
    opens, turns = json.loads(first.args[0])
    return opens, turns, first.args[1:]


def test_gsm8k_is_asked_in_nine_questions() -> None:
    opens, turns, (asked,) = conversations("gsm8k")
    assert (opens, len(turns)) == (False, 18)  # the answer goes on from the last turn's prefix
    assert all(turn["content"].startswith("Question: ") for turn in turns[::2])
    assert all(turn["content"].startswith("Answer: ") for turn in turns[1:-1:2])
    assert turns[1]["content"].endswith("So the answer is 6.")
    assert turns[-2:] == [
        {"role": "user", "content": "Question: What is 2 + 3?"},
        {"role": "assistant", "content": "Answer:"},
    ]
    assert asked["until"] == ["Question:", "</s>", "<|im_end|>"]
    assert (asked["max_gen_toks"], asked["do_sample"]) == (512, False)


def test_minerva_is_asked_in_five_problems() -> None:
    opens, turns, (asked,) = conversations("minerva_math")
    assert (opens, len(turns)) == (True, 9)
    assert turns[-1]["content"] == "Problem:\n$1 + 1$?\n\nSolution:"
    assert turns[1]["content"].endswith("The final answer is $[2,5)$. I hope it is correct.")
    assert (asked["max_gen_toks"], asked["until"], asked["do_sample"]) == (1024, [], False)


def test_ifeval_is_the_bare_prompt() -> None:
    opens, turns, (asked,) = conversations("ifeval")
    assert (opens, turns) == (True, [{"role": "user", "content": ROWS["ifeval"][0]["prompt"]}])
    assert (asked["max_gen_toks"], asked["until"], asked["do_sample"]) == (2048, [], False)


def test_truthfulqa_is_one_user_turn_and_choices_without_a_space() -> None:
    opens, turns, (choice,) = conversations("truthfulqa")
    assert (opens, len(turns)) == (True, 1)
    assert turns[0]["content"].count("Q: ") == turns[0]["content"].count("\nA:") == 7
    assert turns[0]["content"].endswith("\n\nQ: What does a model do?\nA:")
    assert choice == "It answers."
