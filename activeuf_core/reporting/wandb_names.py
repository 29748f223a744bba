"""The names that scores bear in Weights & Biases.

In: the content of scores.json. Out: key → value, fractions in [0, 1]; what is missing has no key.
Source: the run summaries of ActiveUltraFeedback, so that old and new runs stand in one table;
Minerva Math, which it left out, is added. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from activeuf_core.reporting.scores import FINAL_MEAN, MEAN_NAMES
from activeuf_core.stand_ins import LEFT_OUT

POLICY_KEYS: Mapping[str, str] = {
    "gsm8k": "DPO/GSM8K",
    "minerva_math": "DPO/Minerva Math",
    "ifeval": "DPO/IF Eval",
    "truthfulqa": "DPO/Truthful QA",
    "alpaca_eval": "DPO/Alpaca Eval",
}
REWARD_BENCHMARK = "rewardbench2"
REWARD_PREFIX = "Rewardbench/"
MEAN_OF_ALL = "Final Score/Mean (All)"
"""Mean of those means that there are."""


def summary(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return the keys and values of a run's summary. Args: scores: the content of scores.json."""
    benchmarks, means = scores["benchmarks"], scores["means"]
    named = {
        POLICY_KEYS[name]: entry["score"]
        for name, entry in benchmarks.items()
        if name in POLICY_KEYS
    }
    reward = benchmarks.get(REWARD_BENCHMARK, {"parts": {}})
    named |= {REWARD_PREFIX + domain: score for domain, score in reward["parts"].items()}
    named |= {name: means[name]["value"] for name in (*MEAN_NAMES.values(), FINAL_MEAN)}
    there = [named[name] for name in MEAN_NAMES.values() if named[name] is not None]
    named[MEAN_OF_ALL] = math.fsum(there) / len(there) if there else None
    return {key: value for key, value in named.items() if value is not None}


def titles(scores: Mapping[str, Any]) -> dict[str, str]:
    """Return what each key stands for: rows need not be the benchmark's own. For a run's config."""
    keys = {**POLICY_KEYS, REWARD_BENCHMARK: MEAN_NAMES["reward_model"]}
    return {
        f"title/{keys[name]}": entry["title"]
        for name, entry in scores["benchmarks"].items()
        if name in keys and entry["reason"] != LEFT_OUT
    }
