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
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activeuf_core import processes
from activeuf_core.errors import DataError
from activeuf_core.evals import exemplars
from activeuf_core.evals.benchmarks import Benchmark, benchmark
from activeuf_core.evals.config import ScoreConfig
from activeuf_core.evals.metrics import EXTRA_METRICS, QUESTION, summarised
from activeuf_core.evals.outcome import Outcome, Prediction, digest, publish
from activeuf_core.evals.questions import require_answerable
from activeuf_core.evals.rows import Row, load_rows
from activeuf_core.stage import StageContext

if TYPE_CHECKING:
    from activeuf_core.evals.policy import Policy

os.environ.setdefault("TQDM_DISABLE", "1")  # a log is no place for moving bars; read at import

TASKS = Path(__file__).parent / "tasks"
ROWS = "rows"
FEWSHOT_SEED = 1234
CHAT: Mapping[str, Any] = {"apply_chat_template": True, "fewshot_as_multiturn": True}
IFEVAL_COLUMNS = ("key", "prompt", "instruction_id_list", "kwargs")
"""What IFEval's checkers read of a row."""


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
    require_answerable(row.name, rows, location, config.nltk_data)
    context.progress(0, len(rows), "questions")
    from activeuf_core.evals.policy import backend_facts, open_policy

    report = functools.partial(context.progress, unit="questions")
    lm = open_policy(context.input(row.model), config, report)
    task = load_task(row, rows, shots, config.max_new_tokens or row.max_new_tokens)
    if not processes.current().is_first:
        answer_share(lm, task)
        return
    samples = evaluate(lm, task)
    outcome = summarise(row, rows, samples, lm)
    settings = {**_settings(row, config, shots, lm), **backend_facts(config)}
    publish(context, row, config, len(rows), _with_settings(outcome, row, settings))


def load_task(row: Benchmark, rows: list[Row], shots: int, max_new_tokens: int) -> Any:
    """Return lm-eval's task over rows that we hand it.

    Args: shots: worked examples in the context. max_new_tokens: limit of a written output.
    """
    own = [{"group": "scored", "task": [_overrides(row, rows, shots, max_new_tokens)]}]
    task = _task_manager().load(own)["tasks"][row.task]
    task.set_fewshot_seed(FEWSHOT_SEED)
    return task


def evaluate(lm: Policy, task: Any) -> list[Any]:
    """Run lm-eval; return its samples, in the order of the rows."""
    from lm_eval.evaluator import evaluate as run_tasks

    own: Any = {"groups": {}, "tasks": {task.config.task: task}}
    model: Any = lm
    results: Any = run_tasks(lm=model, task_dict=own, **CHAT, bootstrap_iters=0, log_samples=True)
    return sorted(results["samples"][task.config.task], key=lambda sample: sample["doc_id"])


def answer_share(lm: Policy, task: Any) -> None:
    """Answer this process's share of the questions; the first process judges the answers."""
    requests = build_requests(lm, task)
    getattr(lm, requests[0].request_type)(requests)


def build_requests(lm: Any, task: Any) -> list[Any]:
    """Return the task's requests as lm-eval builds them, contexts and all."""
    task.build_all_requests(
        **CHAT, chat_template=lm.apply_chat_template, tokenizer_name=lm.tokenizer_name
    )
    return task.instances


def summarise(row: Benchmark, rows: list[Row], samples: Sequence[Any], lm: Policy) -> Outcome:
    """Turn lm-eval's samples into a score with its parts; settings are left empty."""
    predictions = [_prediction(row, rows[sample["doc_id"]], sample, lm) for sample in samples]
    found = summarised(row.name, predictions)
    details = {"contexts_cut": lm.num_cut_contexts, **found.details}
    return Outcome(found.score, found.stderr, found.parts, predictions, details, {}, {}, "")


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
    entry = _entry(row)
    own: dict[str, Any] = {
        "task": row.task,
        "custom_dataset": lambda **_: {ROWS: table},
        "test_split": ROWS,
    }
    if row.name == "truthfulqa":
        return {**own, "doc_to_text": exemplars.truthfulqa_texts(shots)}
    limits = {**entry["generation_kwargs"], "max_gen_toks": max_new_tokens}
    return {**own, "num_fewshot": shots, "generation_kwargs": limits}


def _entry(row: Benchmark) -> Mapping[str, Any]:
    """Return the task file of a benchmark."""
    return _task_manager().task_index[row.task].cfg


def _prediction(row: Benchmark, question: Row, sample: Mapping[str, Any], lm: Policy) -> Prediction:
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
        extra=_extra(row, question, sample),
    )


def _extra(row: Benchmark, question: Row, sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return the other metrics, and what a recomputation needs beyond output and gold answer."""
    found = {metric: sample[metric] for metric in EXTRA_METRICS.get(row.name, ())}
    if row.name == "ifeval":
        found[QUESTION] = {name: question.get(name) for name in IFEVAL_COLUMNS}
    return found


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


def _settings(row: Benchmark, config: ScoreConfig, shots: int, lm: Policy) -> dict[str, Any]:
    """Return how the outputs came about: everything that a second person needs to repeat it."""
    entry = _entry(row)
    writes = row.name != "truthfulqa"
    return {
        "num_fewshot": shots,
        "fewshot_as_multiturn": CHAT["fewshot_as_multiturn"],
        "gen_prefix": entry.get("gen_prefix", ""),
        "decoding": "greedy" if writes else "log-likelihood of each choice",
        "max_new_tokens": (config.max_new_tokens or row.max_new_tokens) if writes else 0,
        "stop": entry["generation_kwargs"]["until"] if writes else [],
        "batch_size": config.batch_size,
        "max_tokens": lm.max_length,
        "dtype": config.dtype,
        "limit": config.limit,
        "chat_template_sha256": digest(str(lm.tokenizer.chat_template)),
    }


def _with_settings(outcome: Outcome, row: Benchmark, settings: Mapping[str, Any]) -> Outcome:
    harness = {"name": "lm-eval", "version": importlib.metadata.version("lm-eval")}
    version = str(_entry(row)["metadata"]["version"])
    return dataclasses.replace(outcome, settings=settings, harness=harness, task_version=version)
