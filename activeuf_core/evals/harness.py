"""Scores a policy on GSM8K, Minerva Math, IFEval or TruthfulQA: lm-eval with task files of ours.

In: `dpo_model` (a model or adapter folder); the benchmark's rows. Out: score.json,
predictions.jsonl.
Source: the `::tulu` settings of the Tulu 3 suite, as ActiveUltraFeedback uses them.
lm-eval's index of all its tasks takes 8 s to build and is not needed: only our four task files are
read. `evaluate` is called instead of `simple_evaluate`, which spends 2 s on describing the machine.
Heavy: imports torch and lm-eval, once the rows are known to be right.
Command: `python -m activeuf_core.evals --config … --run-dir …`.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activeuf_core.errors import DataError
from activeuf_core.evals import exemplars, instructions
from activeuf_core.evals.benchmarks import Benchmark, benchmark
from activeuf_core.evals.config import ScoreConfig
from activeuf_core.evals.outcome import (
    Outcome,
    Part,
    Prediction,
    digest,
    mean_of_parts,
    mean_part,
    publish,
)
from activeuf_core.evals.rows import Row, load_rows
from activeuf_core.stage import StageContext

if TYPE_CHECKING:
    from activeuf_core.evals.language_model import PolicyLM

os.environ.setdefault("TQDM_DISABLE", "1")  # a log is no place for moving bars; read at import

TASKS = Path(__file__).parent / "tasks"
ROWS = "rows"
FEWSHOT_SEED = 1234
INSTANCE_METRICS = ("inst_level_loose_acc", "inst_level_strict_acc")
EXTRA_METRICS = {
    "minerva_math": ("exact_match_flex",),
    "ifeval": ("prompt_level_strict_acc", *INSTANCE_METRICS),
}
"""Metrics that are reported beside the score."""


def run(context: StageContext) -> None:
    """Score the policy.

    Raises: DataError for wrong rows or a broken model, ConfigError for settings that do not fit.
    """
    config = context.config(ScoreConfig)
    row = benchmark(config.benchmark)
    location = context.locate(config.data)
    shots = row.num_fewshot if config.num_fewshot is None else config.num_fewshot
    exemplars.require_available(row.name, shots)
    rows = load_rows(row.name, location, config.limit)
    if row.name == "ifeval":
        instructions.require_checkable(rows, location)
    context.progress(0, len(rows), "questions")
    lm = _language_model(context, row, config)
    results = evaluate(lm, row, rows, shots, config.max_new_tokens or row.max_new_tokens)
    outcome = summarise(row, rows, results, lm)
    publish(context, row, config, len(rows), _with_settings(outcome, row, config, shots, lm))


def evaluate(
    lm: PolicyLM, row: Benchmark, rows: list[Row], shots: int, max_new_tokens: int
) -> dict[str, Any]:
    """Run lm-eval on rows that we hand it; return its results with all samples.

    Args: shots: worked examples in the context. max_new_tokens: limit of a written output.
    """
    from lm_eval.evaluator import evaluate as run_tasks

    task = f"activeuf_{row.name}"
    loaded = _task_manager().load(
        [{"group": "scored", "task": [_overrides(row, rows, shots, max_new_tokens)]}]
    )
    loaded["tasks"][task].set_fewshot_seed(FEWSHOT_SEED)
    results: Any = run_tasks(
        lm=lm,
        task_dict=loaded,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        bootstrap_iters=0,
        log_samples=True,
    )
    if results is None:
        raise DataError(f"{row.name}: lm-eval returned no results. Score in one process.")
    return {"samples": results["samples"][task], "results": results["results"][task]}


def summarise(row: Benchmark, rows: list[Row], results: Mapping[str, Any], lm: PolicyLM) -> Outcome:
    """Turn lm-eval's samples into a score with its parts; settings are left empty."""
    samples = sorted(results["samples"], key=lambda sample: sample["doc_id"])
    predictions = [_prediction(row, rows[sample["doc_id"]], sample, lm) for sample in samples]
    parts = _parts(row, samples, predictions)
    total = mean_part([prediction.correct for prediction in predictions])
    if row.name == "minerva_math":
        total = mean_of_parts(parts.values())
    if total.score is None:
        raise DataError(f"{row.name}: no sample was scored.")
    details = {"contexts_cut": lm.num_cut_contexts, **_extra_metrics(row, results["results"])}
    return Outcome(total.score, total.stderr, parts, predictions, details, {}, {}, "")


def _language_model(context: StageContext, row: Benchmark, config: ScoreConfig) -> PolicyLM:
    from activeuf_core.evals.language_model import PolicyLM
    from activeuf_core.evals.models import load_policy

    # lm-eval warns of what is done here on purpose: a loaded model, rows of our own.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    loaded = load_policy(context.input(row.model), config.dtype)
    report = functools.partial(context.progress, unit="questions")
    return PolicyLM(loaded, config.max_tokens, config.batch_size, report)


@functools.cache
def _task_manager() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(TASKS), include_defaults=False)


def _overrides(row: Benchmark, rows: list[Row], shots: int, max_new_tokens: int) -> dict[str, Any]:
    """Return what replaces the task file's values: the rows, and the settings of the config."""
    import datasets
    import pyarrow as pa

    try:
        table = datasets.Dataset.from_list(rows)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{row.name}: the rows do not form one table ({error}).") from error
    entry = _task_manager().task_index[f"activeuf_{row.name}"].cfg
    own: dict[str, Any] = {
        "task": f"activeuf_{row.name}",
        "custom_dataset": lambda **_: {ROWS: table},
        "test_split": ROWS,
    }
    if row.name == "truthfulqa":
        return {**own, "doc_to_text": exemplars.truthfulqa_texts(shots)}
    limits = {**entry["generation_kwargs"], "max_gen_toks": max_new_tokens}
    return {**own, "num_fewshot": shots, "generation_kwargs": limits}


def _prediction(
    row: Benchmark, question: Row, sample: Mapping[str, Any], lm: PolicyLM
) -> Prediction:
    prompt = digest(sample["arguments"][0][0])
    name = str(question.get("key", question.get("idx", sample["doc_id"])))
    if row.name == "truthfulqa":
        return _choice_prediction(name, prompt, question, sample)
    output = sample["filtered_resps"][0]
    generation = lm.generations[sample["doc_id"]]
    return Prediction(
        id=name,
        prompt_sha256=prompt,
        output=output,
        correct=float(sample[row.metric]),
        expected=_expected(row, question),
        group=question.get("type", ""),
        num_tokens=generation.num_tokens,
        is_empty=not output.strip(),
        is_truncated=generation.finish_reason == "length",
        extra={metric: sample[metric] for metric in EXTRA_METRICS.get(row.name, ())},
    )


def _choice_prediction(
    name: str, prompt: str, question: Row, sample: Mapping[str, Any]
) -> Prediction:
    """Return the choices' log-likelihoods; the output is the likeliest choice."""
    targets = question["mc2_targets"]
    log_likelihoods = [float(answer[0]) for answer in sample["filtered_resps"]]
    best = max(range(len(log_likelihoods)), key=log_likelihoods.__getitem__)
    return Prediction(
        id=name,
        prompt_sha256=prompt,
        output=targets["choices"][best],
        correct=float(sample["mc2"]),
        expected=next(c for c, t in zip(targets["choices"], targets["labels"], strict=True) if t),
        extra={
            "log_likelihoods": log_likelihoods,
            "labels": targets["labels"],
            "best_is_true": bool(targets["labels"][best]),
        },
    )


def _expected(row: Benchmark, question: Row) -> str:
    if row.name == "gsm8k":
        return question["answer"].split("####")[-1].strip()
    if row.name == "minerva_math":
        from activeuf_core.evals.answers import math_answer

        return math_answer(question["solution"])
    return json.dumps(question["instruction_id_list"])


def _parts(row: Benchmark, samples: list[Any], predictions: list[Prediction]) -> dict[str, Part]:
    """Return what the plot shows: subjects, metrics, or how the outputs ended."""
    if row.name == "minerva_math":
        subjects = dict.fromkeys(prediction.group for prediction in predictions)
        return {
            s: mean_part([p.correct for p in predictions if p.group == s]) for s in sorted(subjects)
        }
    if row.name == "truthfulqa":
        best = [float(p.extra["best_is_true"]) for p in predictions]
        return {
            "MC2": mean_part([p.correct for p in predictions]),
            "likeliest is true": mean_part(best),
        }
    if row.name == "ifeval":
        flat = {
            m: [v for s in samples for v in (s[m] if m in INSTANCE_METRICS else [s[m]])]
            for m in _metrics(row)
        }
        return {
            metric: mean_part([float(value) for value in values]) for metric, values in flat.items()
        }
    outcomes = {
        "correct": [p.correct for p in predictions],
        "wrong": [float(not p.correct and not p.is_truncated) for p in predictions],
        "wrong, cut at the limit": [float(not p.correct and p.is_truncated) for p in predictions],
    }
    return {label: mean_part(values) for label, values in outcomes.items()}


def _metrics(row: Benchmark) -> tuple[str, ...]:
    return (row.metric, *EXTRA_METRICS[row.name])


def _extra_metrics(row: Benchmark, results: Mapping[str, Any]) -> dict[str, float]:
    return {metric: float(results[f"{metric},none"]) for metric in EXTRA_METRICS.get(row.name, ())}


def _with_settings(
    outcome: Outcome, row: Benchmark, config: ScoreConfig, shots: int, lm: PolicyLM
) -> Outcome:
    """Add how the score came about: everything that a second person needs to repeat it."""
    entry = _task_manager().task_index[f"activeuf_{row.name}"].cfg
    writes = row.name != "truthfulqa"
    settings = {
        "num_fewshot": shots,
        "decoding": "greedy" if writes else "log-likelihood of each choice",
        "max_new_tokens": (config.max_new_tokens or row.max_new_tokens) if writes else 0,
        "stop": entry["generation_kwargs"]["until"] if writes else [],
        "batch_size": config.batch_size,
        "max_tokens": lm.max_length,
        "dtype": config.dtype,
        "limit": config.limit,
        "chat_template_sha256": digest(str(lm.tokenizer.chat_template)),
    }
    harness = {"name": "lm-eval", "version": importlib.metadata.version("lm-eval")}
    version = str(entry["metadata"]["version"])
    return dataclasses.replace(outcome, settings=settings, harness=harness, task_version=version)
