"""THE table of benchmarks: one row, one score asset. To add a benchmark: add a row, and its task.

Source of the settings: the `::tulu` suite (ActiveUltraFeedback's), and RewardBench 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from activeuf_core.errors import ConfigError, choose_from


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    `name` is the key in configs and results, `title` the name in tables and W&B, `model` the asset
    that is scored, `task` what scores it (a task of the files in `tasks/`, or a module of this
    room), `metric` what the score is (always a fraction), `hub` where its data lie by default,
    `num_fewshot` the worked examples in the context, `max_new_tokens` the limit of an output,
    `in_mean` whether it enters the mean over its model's benchmarks. An `optional` one is left out
    of every experiment whose file has no section for it.
    """

    name: str
    title: str
    model: Literal["dpo_model", "reward_model"]
    task: str
    metric: str
    hub: str
    num_fewshot: int = 0
    max_new_tokens: int = 0
    higher_is_better: bool = True
    in_mean: bool = True
    optional: bool = False

    @property
    def asset(self) -> str:
        """Name of the score asset."""
        return f"{self.name}_score"

    def called(self, title: str | None, limit: int | None) -> str:
        """Return what a score is called: by its own title or the benchmark's, and never as if it
        were of all rows when only the first were scored.
        """
        whole = title or self.title
        return whole if limit is None else f"{whole} (first {limit})"


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        name="gsm8k",
        title="GSM8K",
        model="dpo_model",
        task="activeuf_gsm8k",
        metric="exact_match",
        hub="openai/gsm8k",
        num_fewshot=8,
        max_new_tokens=512,
    ),
    Benchmark(
        name="minerva_math",
        title="Minerva Math",
        model="dpo_model",
        task="activeuf_minerva_math_algebra",
        metric="exact_match",
        hub="EleutherAI/hendrycks_math",
        num_fewshot=4,
        max_new_tokens=1024,
    ),
    Benchmark(
        name="ifeval",
        title="IFEval",
        model="dpo_model",
        task="activeuf_ifeval",
        metric="prompt_level_loose_acc",
        hub="google/IFEval",
        max_new_tokens=2048,
    ),
    Benchmark(
        name="truthfulqa",
        title="TruthfulQA",
        model="dpo_model",
        task="activeuf_truthfulqa",
        metric="mc2",
        hub="truthfulqa/truthful_qa",
        num_fewshot=6,
    ),
    Benchmark(
        name="alpaca_eval",
        title="AlpacaEval 2",
        model="dpo_model",
        task="alpaca",
        metric="length_controlled_winrate",
        hub="tatsu-lab/alpaca_eval",
        max_new_tokens=2048,
        optional=True,
    ),
    Benchmark(
        name="rewardbench2",
        title="RewardBench 2",
        model="reward_model",
        task="rewardbench",
        metric="mean",
        hub="allenai/reward-bench-2",
    ),
    Benchmark(
        name="rewardbench",
        title="RewardBench",
        model="reward_model",
        task="rewardbench_pairs",
        metric="mean",
        hub="allenai/reward-bench",
        in_mean=False,
        optional=True,
    ),
)
"""Minerva Math's subjects differ in nothing but their rows: all are answered as one task."""


def benchmark(name: str) -> Benchmark:
    """Return a benchmark by name. Raises: ConfigError with the names that exist."""
    for row in BENCHMARKS:
        if row.name == name:
            return row
    raise ConfigError(
        f"unknown benchmark {name!r}; {choose_from(name, (row.name for row in BENCHMARKS))}."
    )
