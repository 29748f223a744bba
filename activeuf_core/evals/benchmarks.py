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
    that is scored, `hub` where its data lie by default, `metric` what the score is (always a
    fraction, higher is better), `in_mean` whether it enters the mean over its model's benchmarks.
    An `optional` one is left out of every experiment whose file has no section for it.
    """

    name: str
    title: str
    model: Literal["dpo_model", "reward_model"]
    metric: str
    hub: str
    num_fewshot: int
    max_new_tokens: int
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
    Benchmark("gsm8k", "GSM8K", "dpo_model", "exact_match", "openai/gsm8k", 8, 512),
    Benchmark(
        "minerva_math",
        "Minerva Math",
        "dpo_model",
        "exact_match",
        "EleutherAI/hendrycks_math",
        4,
        1024,
    ),
    Benchmark("ifeval", "IFEval", "dpo_model", "prompt_level_loose_acc", "google/IFEval", 0, 2048),
    Benchmark("truthfulqa", "TruthfulQA", "dpo_model", "mc2", "truthfulqa/truthful_qa", 6, 0),
    Benchmark(
        "alpaca_eval",
        "AlpacaEval 2",
        "dpo_model",
        "length_controlled_winrate",
        "tatsu-lab/alpaca_eval",
        0,
        2048,
        optional=True,
    ),
    Benchmark(
        "rewardbench2", "RewardBench 2", "reward_model", "mean", "allenai/reward-bench-2", 0, 0
    ),
    Benchmark(
        "rewardbench",
        "RewardBench",
        "reward_model",
        "mean",
        "allenai/reward-bench",
        0,
        0,
        in_mean=False,
        optional=True,
    ),
)


def benchmark(name: str) -> Benchmark:
    """Return a benchmark by name. Raises: ConfigError with the names that exist."""
    for row in BENCHMARKS:
        if row.name == name:
            return row
    raise ConfigError(
        f"unknown benchmark {name!r}; {choose_from(name, (row.name for row in BENCHMARKS))}."
    )
