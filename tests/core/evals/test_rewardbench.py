"""RewardBench 2 of a reward model, scored for real with a tiny one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activeuf_core.artifacts import read_json
from activeuf_core.errors import DataError
from activeuf_core.evals import rewardbench, rewardbench_rewards
from activeuf_core.evals.config import ScoreConfig
from activeuf_core.evals.models import LoadedModel
from activeuf_core.evals.rewardbench import run
from activeuf_core.evals.rows import DOMAINS
from activeuf_core.paths import PREDICTIONS, SCORE
from activeuf_core.stage import StageContext
from tests.core.evals.conftest import ROWS, MakeScore
from tests.fakes import tiny_models
from tests.fakes.stage_context import passed

ROWS_OF_ALL = [
    *ROWS["rewardbench2"],
    *({**ROWS["rewardbench2"][0], "id": d, "subset": d} for d in DOMAINS if d != "Ties"),
]


def scored(context: StageContext) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run the score asset; return its record and its predictions."""
    run(context)
    lines = (context.output / PREDICTIONS).read_text(encoding="utf-8").splitlines()
    return read_json(context.output / SCORE), [json.loads(line) for line in lines]


def rewards_of(predictions: list[dict[str, Any]]) -> list[float]:
    """Return all rewards in the order of the file."""
    both = ("chosen_rewards", "rejected_rewards")
    return [reward for p in predictions for name in both for reward in p["extra"][name]]


def test_a_domain_without_rows_has_no_score(make_score: MakeScore) -> None:
    record, _ = scored(make_score("rewardbench2"))
    parts = record["details"]["parts"]
    assert list(parts) == list(DOMAINS)
    assert parts["Safety"] == {"score": None, "stderr": None, "n": 0}
    assert record["details"]["missing_parts"] == ["Factuality", "Precise IF", "Safety"]
    there = [part["score"] for part in parts.values() if part["score"] is not None]
    assert record["score"] == pytest.approx(sum(there) / 3)


def test_the_score_is_the_plain_mean_of_six(make_score: MakeScore) -> None:
    record, _ = scored(make_score("rewardbench2", rows=ROWS_OF_ALL))
    scores = [part["score"] for part in record["details"]["parts"].values()]
    assert record["details"]["missing_parts"] == []
    assert record["score"] == pytest.approx(sum(scores) / 6)


def test_domains_are_summed_up_by_hand() -> None:
    rows = [
        {"id": "a", "prompt": "", "chosen": ["x"], "rejected": ["y"] * 3, "subset": "Focus"},
        {"id": "b", "prompt": "", "chosen": ["x"], "rejected": ["y"] * 3, "subset": "Focus"},
        {"id": "c", "prompt": "", "chosen": ["x"], "rejected": ["y"] * 3, "subset": "Math"},
        {"id": "ref:0", "prompt": "", "chosen": ["x"], "rejected": ["y"], "subset": "Ties"},
        {"id": "tied:0", "prompt": "", "chosen": ["x", "z"], "rejected": ["y"], "subset": "Ties"},
    ]
    rewards = [[2, 2, 1, 0], [0, 1, 0, 0], [3, 2, 1, 0], [5, 4], [3, 2, 0]]
    found = [np.array(values, dtype=float) for values in rewards]
    config = ScoreConfig(benchmark="rewardbench2", data={"name": "rows", "identity": "1"})
    outcome = rewardbench.summarise(rows, found, [np.ones(len(v), int) for v in found], config)
    assert outcome.parts["Focus"].score == pytest.approx((1 / 2 + 0) / 2)
    assert outcome.parts["Math"].score == 1.0
    # Both right; the gap of 2 is above the spread of 1, with the reference's gap of 1 it is not.
    ties = 0.3 + 0.3 + 0.2 + 0.0 + 0.01 * np.tanh(1 / 1 - 1)
    assert outcome.parts["Ties"].score == pytest.approx(ties)
    assert outcome.score == pytest.approx((1 / 4 + 1 + ties) / 3)


def forget(context: StageContext) -> None:
    """Throw away what is finished."""
    for path in (context.checkpoints / "rows").iterdir():
        path.unlink()


def test_batches_do_not_change_rewards(make_score: MakeScore) -> None:
    context = make_score("rewardbench2", batch_size=1)
    one = scored(context)[1]
    forget(context)
    all_at_once = scored(make_score("rewardbench2", batch_size=64))[1]
    assert rewards_of(one) == pytest.approx(rewards_of(all_at_once), abs=1e-5)
    assert [p["id"] for p in one] == [row["id"] for row in ROWS["rewardbench2"]]


def test_every_completion_is_read_once(make_score: MakeScore) -> None:
    record, predictions = scored(make_score("rewardbench2"))
    count = sum(len(row["chosen"]) + len(row["rejected"]) for row in ROWS["rewardbench2"])
    assert record["details"]["completions"] == len(rewards_of(predictions)) == count


def test_scoring_goes_on_where_it_was_interrupted(
    make_score: MakeScore, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_score("rewardbench2", batch_size=1)
    expected = scored(context)[1]
    forget(context)
    original, sizes = rewardbench_rewards.rewards_of, []

    def interrupted(loaded: LoadedModel, token_ids: Sequence[Sequence[int]]) -> list[float]:
        sizes.append(len(token_ids))
        if len(sizes) == 3:
            raise KeyboardInterrupt
        return original(loaded, token_ids)

    monkeypatch.setattr(rewardbench_rewards, "rewards_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(context)
    assert scored(make_score("rewardbench2", batch_size=1))[1] == expected
    assert sum(sizes) - sizes[2] == len(rewards_of(expected))


def test_reward_is_read_at_the_last_token_whatever_the_model_calls_padding(
    make_score: MakeScore, tmp_path: Path
) -> None:
    other = tiny_models.build(tmp_path / "other", "LlamaForSequenceClassification")
    about = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**about, "pad_token_id": 319}))
    context = make_score("rewardbench2", model=other, batch_size=64)
    _, together = scored(context)
    forget(context)
    _, alone = scored(make_score("rewardbench2", model=other, batch_size=1))
    assert rewards_of(together) == pytest.approx(rewards_of(alone), abs=1e-5)


def test_passes_are_equally_large() -> None:
    lengths = [400, 10, 90, 100, 110, 10, 10, 70]
    found = rewardbench_rewards.passes(lengths, batch_size=2)
    assert found == [[0], [4], [3, 2], [7, 1], [5, 6]]  # at most 200 tokens, padding included


def test_nan_reward_names_the_completion(make_score: MakeScore, tmp_path: Path) -> None:
    def nan(loaded: LoadedModel, token_ids: Sequence[Sequence[int]]) -> list[float]:
        return [float("nan")] * len(token_ids)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewardbench_rewards, "rewards_of", nan)
        with pytest.raises(DataError, match=r"not finite in float32, first that of completion \d"):
            run(make_score("rewardbench2"))


def test_long_completions_keep_their_end(make_score: MakeScore) -> None:
    row = {**ROWS["rewardbench2"][0], "chosen": ["a model answers " * 40 + "b"]}
    context = make_score("rewardbench2", rows=[row], max_tokens=64)
    _, predictions = scored(context)
    assert predictions[0]["is_truncated"]
    assert not passed(context)["outputs_not_truncated"]


def test_a_model_that_makes_no_difference_is_noticed(make_score: MakeScore, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    dead = tiny_models.build(tmp_path / "dead", "LlamaForSequenceClassification")
    weights = load_file(dead / "model.safetensors")
    weights["score.weight"].zero_()
    save_file(weights, dead / "model.safetensors", metadata={"format": "pt"})
    context = make_score("rewardbench2", model=dead)
    record, _ = scored(context)
    assert not passed(context)["outputs_not_empty"]
    assert record["details"]["parts"]["Focus"]["score"] == pytest.approx(1 / 3)


def test_a_language_model_is_refused(make_score: MakeScore, tiny_policy: Path) -> None:
    with pytest.raises(DataError, match=r"score\.weight"):
        run(make_score("rewardbench2", model=tiny_policy))


def test_no_domain_at_all_is_an_error(make_score: MakeScore) -> None:
    with pytest.raises(DataError, match="no domain has a score"):
        run(make_score("rewardbench2", rows=ROWS["rewardbench2"][2:3]))


def test_real_ties_rows_are_scored(make_score: MakeScore, shared_data: Path) -> None:
    path = shared_data / "rewardbench" / "rb2_format_from_real_sources.jsonl.xz"
    rows = rewardbench.load_rows("rewardbench2", str(path))
    ties = [row for row in rows if row["subset"] == "Ties"]
    record, _ = scored(make_score("rewardbench2", rows=ties, batch_size=32))
    assert record["details"]["parts"]["Ties"]["n"] == 6
    assert -0.01 <= record["score"] <= 1.01
