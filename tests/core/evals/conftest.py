"""Fixtures of this room: tiny models, and rows in each benchmark's format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.evals.benchmarks import benchmark
from activeuf_core.stage import StageContext
from tests.fakes import tiny_models
from tests.fakes.stage_context import MakeContext, make_context

__all__ = ["make_context"]

WriteRows = Callable[..., Path]
MakeScore = Callable[..., StageContext]

ROWS: Mapping[str, list[dict[str, Any]]] = {
    "gsm8k": [
        {"question": "What is 2 + 3?", "answer": "2 + 3 = 5\n#### 5"},
        {"question": "What is 900 + 100?", "answer": "That is 1,000.\n#### 1,000"},
        {"question": "Seven less three?", "answer": "7 - 3 = 4\n#### 4"},
    ],
    "minerva_math": [
        {"problem": "$1 + 1$?", "solution": r"It is $\boxed{2}$.", "type": "Algebra"},
        {"problem": "$2 + 2$?", "solution": r"It is $\boxed{4}$.", "type": "Algebra"},
        {"problem": "Half of 1?", "solution": r"$\boxed{\frac{1}{2}}$", "type": "Geometry"},
    ],
    "ifeval": [
        {
            "key": 7,
            "prompt": "Say something without a comma.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
        },
        {
            "key": 8,
            "prompt": "Name a model in less than 99 words.",
            "instruction_id_list": ["keywords:existence", "length_constraints:number_words"],
            "kwargs": [{"keywords": ["model"]}, {"relation": "less than", "num_words": 99}],
        },
    ],
    "truthfulqa": [
        {
            "question": "What does a model do?",
            "mc2_targets": {"choices": ["It answers.", "It rates.", "No."], "labels": [1, 1, 0]},
        },
        {
            "question": "Who rates it?",
            "mc2_targets": {"choices": ["A user.", "A completion, always."], "labels": [1, 0]},
        },
    ],
    "alpaca_eval": [
        {"instruction": "Name a colour.", "generator": "us", "output": "Blue."},
        {"instruction": "Say why.", "generator": "us", "output": "Because it is so."},
        {"instruction": "Count.", "generator": "us", "output": "One, two, three, four, five."},
    ],
    "rewardbench2": [
        {"id": "f1", "prompt": "a", "chosen": ["b"], "rejected": ["c", "d"], "subset": "Focus"},
        {"id": "m1", "prompt": "1+1", "chosen": ["2"], "rejected": ["3"], "subset": "Math"},
        {"id": "ref:0", "prompt": "e", "chosen": ["f"], "rejected": ["g"], "subset": "Ties"},
        {"id": "tied:0", "prompt": "h", "chosen": ["i", "j"], "rejected": ["k"], "subset": "Ties"},
    ],
    "rewardbench": [
        {"prompt": "a", "chosen": "b", "rejected": "c", "subset": "alpacaeval-easy"},
        {"prompt": "1+1", "chosen": "2", "rejected": "3", "subset": "math-prm"},
        {"prompt": "def", "chosen": "a model", "rejected": "x", "subset": "hep-go"},
        {"prompt": "e", "chosen": "f", "rejected": "f", "subset": "our own"},
    ],
}


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model with room for worked examples in its context."""
    return tiny_models.build(tmp_path_factory.mktemp("models") / "policy", context=2048)


@pytest.fixture(scope="session")
def tiny_reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model."""
    folder = tmp_path_factory.mktemp("models") / "reward"
    return tiny_models.build(folder, "LlamaForSequenceClassification")


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """Return a writer of a JSONL file."""

    def write(rows: list[Any], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_score(
    make_context: MakeContext, write_rows: WriteRows, tiny_policy: Path, tiny_reward_model: Path
) -> MakeScore:
    """Return a maker of contexts of score assets; keywords change the config."""
    models = {"dpo_model": tiny_policy, "reward_model": tiny_reward_model}

    def make(
        name: str, rows: list[Any] | None = None, model: Path | None = None, **changes: Any
    ) -> StageContext:
        row = benchmark(name)
        data = write_rows(ROWS[name] if rows is None else rows, f"{name}.jsonl")
        fast = {"max_new_tokens": 6, "dtype": "float32", "batch_size": 2}
        config = {"benchmark": name, "data": {"name": "rows", "identity": "1"}, **fast, **changes}
        inputs = {row.model: {"test": model or models[row.model]}}
        return make_context(row.asset, config, inputs, {"rows": data})

    return make


@pytest.fixture(autouse=True)
def no_loaded_model() -> Iterator[None]:
    """Forget the model that a test loaded."""
    from activeuf_core.evals import models

    yield
    models.release()
