"""Scores a policy on AlpacaEval 2: what share of its outputs a judge prefers at equal length.

In: `dpo_model` (a model or adapter folder); rows {instruction, generator, output}, the output being
the reference model's. Out: score.json (the length-controlled win rate), predictions.jsonl with
every preference and length, and length_control.json with what is known of the instructions, so that
win rates can be computed again without a judge; a picture of preference against length.
Source: AlpacaEval 2 and Length-Controlled AlpacaEval (Dubois et al. 2024). The public package is
not used: it reads its instructions and difficulties through a loading script that `datasets` has
not run since version 4, and downloads them on every machine that scores.
Cost: 805 outputs of up to 2,048 tokens, 805 judge calls; both are kept when the scoring ends early.
Heavy: loads the policy, and the judge when it is not behind a server.
Command: `python -m activeuf_core.evals --config … --run-dir …`.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from activeuf_core import processes
from activeuf_core.errors import DataError
from activeuf_core.evals.alpaca_config import AlpacaEvalConfig
from activeuf_core.evals.alpaca_difficulty import read_difficulty, write_known
from activeuf_core.evals.alpaca_judge import (
    Verdict,
    compare,
    judge_settings,
    open_backend,
    preference,
)
from activeuf_core.evals.alpaca_outputs import Output, write_outputs
from activeuf_core.evals.alpaca_plot import plot_lengths
from activeuf_core.evals.alpaca_prompt import (
    Comparison,
    Prompt,
    is_output_first,
    own_prompt,
    read_prompt,
)
from activeuf_core.evals.alpaca_winrate import (
    Floats,
    Gamed,
    LengthControlled,
    discrete_win_rate,
    length_controlled,
)
from activeuf_core.evals.benchmarks import Benchmark, benchmark
from activeuf_core.evals.outcome import Outcome, Part, Prediction, digest, mean_part, publish
from activeuf_core.evals.questions import require_answerable
from activeuf_core.evals.rows import Row, load_rows
from activeuf_core.evals.untrained import weights_folder
from activeuf_core.paths import LENGTH_CONTROL, LENGTH_PLOT
from activeuf_core.stage import StageContext

TASK_VERSION = "1.0"
BATCHES_AT_ONCE, VLLM_AT_ONCE = 4, 512
"""Batches, and outputs, that are written together: what an interruption costs at most."""
TIE = 0.5
"""Preference between two equal texts, which no judge is asked about."""

Known = tuple[Floats, Gamed | None]


def run(context: StageContext) -> None:
    """Score the policy.

    Raises: DataError for wrong rows, a broken model or a judge that names no label; ConfigError for
    a judge without an address; ServerError when its server does not answer.
    """
    config = context.config(AlpacaEvalConfig)
    row = benchmark(config.benchmark)
    location = context.locate(config.data)
    rows = load_rows(row.name, location, config.limit)
    require_answerable(row.name, rows, location)
    reference = _reference(rows)
    known = _known(context, config, rows)
    prompt = _prompt(context, config)
    backend = open_backend(context, config.judge, prompt)  # a wrong address is told before all work
    outputs = _outputs(context, config, row, rows)
    pairs = [
        Comparison(
            q["instruction"], o["text"], q["output"], is_output_first(config.seed, q["instruction"])
        )
        for q, o in zip(rows, outputs, strict=True)
    ]
    differ = [i for i, pair in enumerate(pairs) if pair.output != pair.reference]
    found, facts = compare(context, config.judge, prompt, backend, [pairs[i] for i in differ])
    if not processes.current().is_first:
        return
    verdicts = dict(zip(differ, found, strict=True))
    predictions = [
        _prediction(i, pair, outputs[i], verdicts.get(i), config) for i, pair in enumerate(pairs)
    ]
    outcome = summarise(predictions, known)
    if known is not None:
        write_known(context.output / LENGTH_CONTROL, known)
    context.add_metadata(**facts)
    plot = plot_lengths(context.output / LENGTH_PLOT, *_lengths_and_preferences(predictions))
    context.add_plot("lengths", plot)
    settings = _settings(context, config, row, prompt, reference)
    publish(context, row, config, len(rows), _with_settings(outcome, settings))


def summarise(predictions: Sequence[Prediction], known: Known | None = None) -> Outcome:
    """Turn predictions into the score and its parts; settings are left empty.

    Args: known: difficulties of all instructions in their order, and the gamed reference's rows.
    Raises: DataError when no prediction has a preference.
    """
    judged = [i for i, prediction in enumerate(predictions) if prediction.correct is not None]
    if not judged:
        raise DataError("alpaca_eval: no output has a preference. See the judge's replies.")
    lengths, reference_lengths, preferences = _lengths_and_preferences(predictions)
    found = length_controlled(
        preferences,
        lengths,
        reference_lengths,
        None if known is None else known[0][judged],
        None if known is None else known[1],
    )
    raw = mean_part(preferences.tolist())
    parts = {
        "length-controlled": Part(found.win_rate, found.stderr, len(judged)),
        "raw win rate": raw,
        "wins outright": Part(discrete_win_rate(preferences.tolist()), None, len(judged)),
    }
    details = _details(predictions, judged, found)
    return Outcome(found.win_rate, found.stderr, parts, predictions, details, {}, {}, "")


def _details(
    predictions: Sequence[Prediction], judged: Sequence[int], found: LengthControlled
) -> dict[str, Any]:
    extras = [prediction.extra for prediction in predictions]
    return {
        "judgements_missing": len(predictions) - len(judged),
        "mean_length": fmean(extra["length"] for extra in extras),
        "mean_reference_length": fmean(extra["reference_length"] for extra in extras),
        "equal_outputs": sum(extra["is_same"] for extra in extras),
        "outputs_cut_for_judge": sum(extra["is_shortened"] for extra in extras),
        "regression": {
            "length": found.length,
            "difficulty": found.difficulty,
            "constant": found.constant,
            "inverse_penalty": found.inverse_penalty,
        },
    }


def _lengths_and_preferences(predictions: Sequence[Prediction]) -> tuple[Floats, Floats, Floats]:
    """Return lengths, the reference's lengths and preferences of what was judged."""
    judged = [prediction for prediction in predictions if prediction.correct is not None]
    columns = [
        [prediction.extra["length"] for prediction in judged],
        [prediction.extra["reference_length"] for prediction in judged],
        [prediction.correct for prediction in judged],
    ]
    lengths, reference_lengths, preferences = (np.array(c, dtype=np.float64) for c in columns)
    return lengths, reference_lengths, preferences


def _reference(rows: Sequence[Row]) -> str:
    """Return the name of the model that wrote the reference outputs. Raises: DataError for two."""
    names = sorted({row["generator"] for row in rows})
    if len(names) > 1:
        raise DataError(
            f"alpaca_eval: the reference outputs are of {len(names)} models ({', '.join(names[:5])}"
            "). A win rate is against one: name a file with the outputs of one generator."
        )
    return names[0]


def _known(context: StageContext, config: AlpacaEvalConfig, rows: Sequence[Row]) -> Known | None:
    control = config.length_control
    if control is None:
        return None
    instructions = [row["instruction"] for row in rows]
    return read_difficulty(context.locate(control.data), instructions, control.gamed_weight)


def _prompt(context: StageContext, config: AlpacaEvalConfig) -> Prompt:
    judge = config.judge
    if judge.prompt is None:
        return own_prompt(judge.labels)
    return read_prompt(Path(context.locate(judge.prompt.data)), judge.labels)


def _outputs(
    context: StageContext, config: AlpacaEvalConfig, row: Benchmark, rows: Sequence[Row]
) -> list[Output]:
    from activeuf_core.evals.policy import Policy, open_policy

    def load() -> Policy:
        return open_policy(context.input(row.model), config, lambda done, total: None)

    instructions = [question["instruction"] for question in rows]
    limit = config.max_new_tokens or row.max_new_tokens
    at_once = VLLM_AT_ONCE if config.backend == "vllm" else BATCHES_AT_ONCE * config.batch_size
    return write_outputs(context, load, instructions, limit, at_once)


def _prediction(
    index: int,
    pair: Comparison,
    output: Output,
    verdict: Verdict | None,
    config: AlpacaEvalConfig,
) -> Prediction:
    is_same = pair.output == pair.reference
    found = preference(verdict, pair.is_output_first, config.judge.min_label_mass)
    return Prediction(
        id=str(index),
        prompt_sha256=digest(pair.instruction),
        output=pair.output,
        correct=TIE if is_same else found,
        expected=pair.reference,
        num_tokens=output["num_tokens"],
        is_empty=not pair.output.strip(),
        is_truncated=output["finish_reason"] == "length",
        extra={
            "output_sha256": digest(pair.output),
            "reference_sha256": digest(pair.reference),
            "length": len(pair.output),
            "reference_length": len(pair.reference),
            "is_output_first": pair.is_output_first,
            "first_label": verdict and verdict.first,
            "second_label": verdict and verdict.second,
            "is_same": is_same,
            "is_shortened": bool(verdict and verdict.is_shortened),
            "is_context_cut": output["is_context_cut"],
        },
    )


def _settings(
    context: StageContext,
    config: AlpacaEvalConfig,
    row: Benchmark,
    prompt: Prompt,
    reference: str,
) -> Mapping[str, Any]:
    from activeuf_core.evals.policy import backend_facts
    from activeuf_core.pretrained import load_tokenizer

    folder = weights_folder(context.input(row.model))
    template = load_tokenizer(str(folder)).tokenizer.chat_template
    control = config.length_control
    return {
        "decoding": "greedy",
        "max_new_tokens": config.max_new_tokens or row.max_new_tokens,
        "batch_size": config.batch_size,
        "max_tokens": config.max_tokens,
        "dtype": config.dtype,
        "limit": config.limit,
        "chat_template_sha256": digest(str(template)),
        **backend_facts(config),
        "reference": reference,
        "judge": judge_settings(config.judge, prompt),
        "position_seed": config.seed,
        "length_control": control and control.data.model_dump(),
        "gamed_weight": control and control.gamed_weight,
    }


def _with_settings(outcome: Outcome, settings: Mapping[str, Any]) -> Outcome:
    harness = {"name": "activeuf", "version": importlib.metadata.version("activeuf")}
    return dataclasses.replace(
        outcome, settings=settings, harness=harness, task_version=TASK_VERSION
    )
