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
    "gsm8k": "GSM8K",
    "minerva_math": "Minerva Math",
    "ifeval": "IF Eval",
    "truthfulqa": "Truthful QA",
    "alpaca_eval": "Alpaca Eval",
}
"""What follows the policy's prefix."""
PREFIXES: Mapping[str, str] = {"ipo": "IPO/", "simpo": "SIMPO/"}
"""What precedes the names of a policy's scores, by `loss_type`; of every other one, `DPO/`."""
MEAN = "Mean"
CURVES: Mapping[str, str] = {
    "preference_dataset": "",
    "dpo_model": "dpo_model/",
    "reward_model": "reward_model/",
}
"""Assets that log as they go → what precedes the names of their metrics."""
REWARD_BENCHMARK = "rewardbench2"
REWARD_PREFIX = "Rewardbench/"
FIRST_REWARD_BENCHMARK = "rewardbench"
FIRST_REWARD_PREFIX = "Rewardbench 1/"
MEAN_OF_ALL = "Final Score/Mean (All)"
"""Mean of those means that there are."""


def summary(scores: Mapping[str, Any], loss_type: str = "sigmoid") -> dict[str, float]:
    """Return the keys and values of a run's summary.

    Args: scores: the content of scores.json. loss_type: that of the policy's training.
    """
    benchmarks, means = scores["benchmarks"], scores["means"]
    prefix = PREFIXES.get(loss_type, "DPO/")
    named = {
        prefix + POLICY_KEYS[name]: entry["score"]
        for name, entry in benchmarks.items()
        if name in POLICY_KEYS
    }
    reward = benchmarks.get(REWARD_BENCHMARK, {"parts": {}})
    named |= {REWARD_PREFIX + domain: score for domain, score in reward["parts"].items()}
    first = benchmarks.get(FIRST_REWARD_BENCHMARK, {"parts": {}, "score": None})
    named |= {FIRST_REWARD_PREFIX + part: score for part, score in first["parts"].items()}
    named[FIRST_REWARD_PREFIX + MEAN] = first["score"]
    of_kinds = {name: means[name]["value"] for name in MEAN_NAMES.values()}
    there = [value for value in of_kinds.values() if value is not None]
    named[prefix + MEAN] = of_kinds[MEAN_NAMES["dpo_model"]]
    named[REWARD_PREFIX + MEAN] = of_kinds[MEAN_NAMES["reward_model"]]
    named[FINAL_MEAN] = means[FINAL_MEAN]["value"]
    named[MEAN_OF_ALL] = math.fsum(there) / len(there) if there else None
    return {key: value for key, value in named.items() if value is not None}


def benchmarks_of_means(scores: Mapping[str, Any], loss_type: str = "sigmoid") -> dict[str, str]:
    """Return which benchmarks each mean is over: means over others do not compare, whatever they
    are called. For a run's config.
    """
    names = {MEAN_NAMES["dpo_model"]: PREFIXES.get(loss_type, "DPO/") + MEAN}
    return {
        f"over/{names.get(name, name)}": ", ".join(mean["over"])
        for name, mean in scores["means"].items()
        if mean["value"] is not None
    }


def titles(scores: Mapping[str, Any], loss_type: str = "sigmoid") -> dict[str, str]:
    """Return what each key stands for: rows need not be the benchmark's own. For a run's config."""
    prefix = PREFIXES.get(loss_type, "DPO/")
    keys = {name: prefix + key for name, key in POLICY_KEYS.items()}
    keys |= {
        REWARD_BENCHMARK: REWARD_PREFIX + MEAN,
        FIRST_REWARD_BENCHMARK: FIRST_REWARD_PREFIX + MEAN,
    }
    return {
        f"title/{keys[name]}": entry["title"]
        for name, entry in scores["benchmarks"].items()
        if name in keys and entry["reason"] != LEFT_OUT
    }
