"""The reward model as judge, on a tiny random model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from activeuf_core import paths, pretrained
from activeuf_core.annotations.reward_judge import rewards
from activeuf_core.errors import DataError
from activeuf_core.schemas import assistant_message, read_rows, user_message
from activeuf_core.stage import StageContext
from tests.fakes import tiny_models

Judged = Callable[..., StageContext]
TEXTS = [{"completion": text} for text in ("short", "a longer completion", "x")]


def judge(**settings: Any) -> dict[str, Any]:
    model = {"name": "model", "identity": "x"}
    return {"mode": "reward_model", "model": model, "batch_size": 2, **settings}


def scores(context: StageContext) -> list[float]:
    return [row["overall_score"] for row in read_rows(context.output / paths.ANNOTATIONS)]


def encoded(folder: Path) -> list[list[int]]:
    tokenizer = pretrained.load_tokenizer(str(folder))
    prompt = user_message("a prompt")
    return tokenizer.encode([[*prompt, *assistant_message(row["completion"])] for row in TEXTS])


def test_reward_of_a_batch_is_the_reward_of_each_alone(judged: Judged, reward_model: Path) -> None:
    context = judged(judge(), [{}] * 3, TEXTS, reward_model)
    model = pretrained.load_model(
        "AutoModelForSequenceClassification", str(reward_model), "float32"
    )
    model.config.pad_token_id = None
    alone = [
        float(model(torch.tensor([ids])).logits[0, 0].detach()) for ids in encoded(reward_model)
    ]
    assert scores(context) == pytest.approx(alone, abs=1e-5)
    assert len(set(alone)) == 3


def test_last_token_counts_even_where_it_is_the_pad_token(reward_model: Path) -> None:
    model = pretrained.load_model(
        "AutoModelForSequenceClassification", str(reward_model), "float32"
    )
    ids = encoded(reward_model)[0]
    cut, whole = rewards(model, [ids[:-1]]), rewards(model, [ids, ids + ids])
    assert whole[0] != pytest.approx(cut[0], abs=1e-5)


def test_cut_conversations_are_counted(judged: Judged, reward_model: Path) -> None:
    context = judged(judge(max_tokens=16), [{}] * 3, TEXTS, reward_model)
    assert context.metadata["completions_cut"] == 1


def test_classifier_is_no_reward_model(judged: Judged, tmp_path: Path) -> None:
    folder = tiny_models.build(tmp_path / "c", "LlamaForSequenceClassification", num_labels=3)
    with pytest.raises(DataError, match="has 3 outputs, a reward model has 1"):
        judged(judge(), [{}], [{}], folder)


def test_nan_reward_names_the_prompt(judged: Judged, reward_model: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(reward_model, tmp_path / "damaged")
    tiny_models.poison(damaged, "score.weight")
    with pytest.raises(DataError, match=r"no finite reward for 'm' on the prompts \['p0'\]"):
        judged(judge(), [{}], [{}], damaged)
