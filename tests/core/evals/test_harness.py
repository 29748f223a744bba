"""The four benchmarks of a policy, scored for real with a tiny one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.artifacts import read_json
from activeuf_core.errors import ConfigError, DataError
from activeuf_core.evals import harness
from activeuf_core.evals.harness import TASKS, run
from activeuf_core.paths import PREDICTIONS, SCORE
from activeuf_core.stage import StageContext
from tests.core.evals.conftest import ROWS, MakeScore
from tests.fakes.stage_context import passed

POLICY_BENCHMARKS = ("gsm8k", "minerva_math", "ifeval", "truthfulqa")
TASK_FILES = {
    name: TASKS / ("minerva_math/algebra.yaml" if name == "minerva_math" else f"{name}.yaml")
    for name in POLICY_BENCHMARKS
}
METRICS = {
    "gsm8k": "exact_match",
    "minerva_math": "exact_match",
    "ifeval": "prompt_level_loose_acc",
    "truthfulqa": "mc2",
}


def scored(context: StageContext) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run a score asset; return its record and its predictions."""
    run(context)
    lines = (context.output / PREDICTIONS).read_text(encoding="utf-8").splitlines()
    return read_json(context.output / SCORE), [json.loads(line) for line in lines]


def lm_eval_samples(name: str, data: Path, model: Path) -> list[dict[str, Any]]:
    """Score the same rows with lm-eval alone: its model, our task file, its loading of data."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    task = data.with_suffix(".yaml")
    limit = "" if name == "truthfulqa" else "generation_kwargs: {until: [], max_gen_toks: 6}\n"
    cache = data.parent / "cache"
    task.write_text(
        f"include: {TASK_FILES[name]}\ntask: again\ndataset_path: json\ndataset_name: null\n"
        f"dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {cache}}}\n"
        f"test_split: test\n{limit}",
        encoding="utf-8",
    )
    results = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model), "dtype": "float32", "max_length": 2048},
        tasks=[str(task)],
        task_manager=TaskManager(include_defaults=False),
        device="cpu",
        batch_size=2,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        bootstrap_iters=0,
    )
    assert results is not None
    return sorted(results["samples"]["again"], key=lambda sample: sample["doc_id"])


@pytest.mark.parametrize("name", POLICY_BENCHMARKS)
def test_every_row_gets_a_prediction(name: str, make_score: MakeScore) -> None:
    context = make_score(name, num_fewshot=0)
    record, predictions = scored(context)
    assert record["n"] == len(predictions) == len(ROWS[name])
    assert passed(context)["score_covers_benchmark"]
    assert {len(prediction["prompt_sha256"]) for prediction in predictions} == {64}


@pytest.mark.parametrize("name", POLICY_BENCHMARKS)
def test_samples_are_those_of_lm_eval(
    name: str, make_score: MakeScore, tiny_policy: Path, tmp_path: Path
) -> None:
    _, ours = scored(make_score(name))  # with all examples that the benchmark has
    theirs = lm_eval_samples(name, tmp_path / f"{name}.jsonl", tiny_policy)
    for mine, sample in zip(ours, theirs, strict=True):
        assert mine["prompt_sha256"] == sample["prompt_hash"]
        assert mine["correct"] == pytest.approx(float(sample[METRICS[name]]), abs=1e-5)
        if name != "truthfulqa":
            assert mine["output"] == sample["filtered_resps"][0]


def test_the_settings_are_the_suite_s_where_none_are_given(make_score: MakeScore) -> None:
    record, _ = scored(make_score("gsm8k", max_new_tokens=None, limit=1))
    settings = record["settings"]
    assert (settings["num_fewshot"], settings["max_new_tokens"]) == (8, 512)
    assert settings["stop"] == ["Question:", "</s>", "<|im_end|>"]
    assert record["harness"]["name"] == "lm-eval"
    assert record["task_version"] == "1.0"


def test_a_limit_scores_the_first_rows(make_score: MakeScore) -> None:
    context = make_score("gsm8k", num_fewshot=0, limit=1)
    assert scored(context)[0]["n"] == 1
    assert passed(context)["score_covers_benchmark"]


def test_examples_change_the_prompt(make_score: MakeScore) -> None:
    prompts = [
        scored(make_score("truthfulqa", num_fewshot=n))[1][0]["prompt_sha256"] for n in (0, 1)
    ]
    assert prompts[0] != prompts[1]


def test_minerva_s_score_is_the_mean_of_its_subjects(
    make_score: MakeScore, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {"Algebra": 0.0, "Geometry": 1.0}
    monkeypatch.setattr(
        "activeuf_core.evals.answers.score_minerva_math",
        lambda row, outputs: dict.fromkeys(METRICS_OF_MINERVA, right[row["type"]]),
    )
    record, _ = scored(make_score("minerva_math", num_fewshot=0))
    assert {k: (p["score"], p["n"]) for k, p in record["details"]["parts"].items()} == {
        "Algebra": (0.0, 2),
        "Geometry": (1.0, 1),
    }
    assert record["score"] == 0.5  # by rows it would be a third


METRICS_OF_MINERVA = ("exact_match", "exact_match_flex")


def test_ifeval_reports_its_four_metrics(make_score: MakeScore) -> None:
    record, predictions = scored(make_score("ifeval"))
    assert [prediction["id"] for prediction in predictions] == ["7", "8"]
    assert set(record["details"]["parts"]) == {
        *("prompt_level_loose_acc", "prompt_level_strict_acc"),
        *("inst_level_loose_acc", "inst_level_strict_acc"),
    }
    assert record["details"]["parts"]["inst_level_loose_acc"]["n"] == 3


def test_truthfulqa_keeps_what_its_metric_needs(make_score: MakeScore) -> None:
    record, predictions = scored(make_score("truthfulqa", num_fewshot=0))
    first = predictions[0]["extra"]
    assert first["labels"] == [1, 1, 0]
    assert len(first["log_likelihoods"]) == 3
    assert record["score"] == pytest.approx(sum(p["correct"] for p in predictions) / 2)


def test_wrong_rows_are_refused_before_a_model_is_loaded(
    make_score: MakeScore, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"lacks the column 'question'"):
        run(make_score("gsm8k", rows=[{"prompt": "x"}], model=tmp_path / "no-model"))


def test_too_many_examples_are_refused(make_score: MakeScore) -> None:
    with pytest.raises(ConfigError, match="num_fewshot is 5, and there are 4"):
        run(make_score("minerva_math", num_fewshot=5))


def test_a_folder_without_a_model_is_refused(make_score: MakeScore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no model"):
        run(make_score("gsm8k", model=tmp_path))


def test_only_our_task_files_are_read() -> None:
    index = harness._task_manager().task_index
    assert {f"activeuf_{name}" for name in POLICY_BENCHMARKS} < set(index)
    assert all(TASKS in entry.yaml_path.parents for entry in index.values())
