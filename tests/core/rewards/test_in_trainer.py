"""The rewards in a real GRPO training of a tiny model: names, weights, rows without a reward."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.rewards.config import Reward, RewardsConfig
from activeuf_core.rewards.registry import Suite, build
from tests.fakes import tiny_models

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Suite, list[dict[str, Any]]]:
    """Return a suite, and the metrics of two steps with it."""
    pytest.importorskip("trl")
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    folder = tmp_path_factory.mktemp("grpo")
    model = tiny_models.build(folder / "model")
    extra = (Reward(name="rubric_overlap", weight=0.0),)
    suite = build(RewardsConfig(set="strict", weights={"format_approx": 0.5}, extra=extra))
    prompt = [{"role": "user", "content": "2 + 2?"}]
    rows = {"prompt": [prompt] * 4, "answer": ["4", None, "4", None], "rubric": [None] * 4}
    arguments = GRPOConfig(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=8,
        max_steps=2,
        logging_steps=1,
        reward_weights=list(suite.weights),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
    )
    trainer = GRPOTrainer(
        model=str(model),
        reward_funcs=list(suite.functions),
        args=arguments,
        train_dataset=Dataset.from_dict(rows),
    )
    trainer.train()
    return suite, [row for row in trainer.state.log_history if "reward" in row]


def test_every_reward_is_a_metric_by_its_name(trained: tuple[Suite, list[dict[str, Any]]]) -> None:
    suite, rows = trained
    assert len(rows) == 2
    assert all(f"rewards/{name}/mean" in rows[0] for name in suite.names)


def test_noise_has_the_lowest_rewards(trained: tuple[Suite, list[dict[str, Any]]]) -> None:
    _, rows = trained
    for row in rows:
        assert row["rewards/format_exact/mean"] == 0.0
        assert row["rewards/format_approx/mean"] == -2.5


def test_rows_without_an_answer_are_left_out_of_the_mean(
    trained: tuple[Suite, list[dict[str, Any]]],
) -> None:
    _, rows = trained
    assert all(-2.25 <= row["reward"] <= -1.25 for row in rows)
