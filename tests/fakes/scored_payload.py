#!/usr/bin/env python3
"""The payload that stands in for every stage, with curves and scores.

As `payload.py`, and besides: the loop and the trainings log three rows of `loss`, before they work
as long as they are told; `scores` gives the means that a sweep compares. Standard library only.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

spec = importlib.util.spec_from_file_location("payload", Path(__file__).with_name("payload.py"))
assert spec is not None and spec.loader is not None
payload = importlib.util.module_from_spec(spec)
spec.loader.exec_module(payload)
CURVES = ("preference_dataset", "dpo_model", "reward_model")
MEANS = {"DPO/Mean": 0.25, "Rewardbench/Mean": 0.75, "Final Score/Mean": 0.5}
plain_work = payload.work


def work(unit: dict[str, Any], folder: Path) -> bool:
    """Write curves and scores beside what the payload makes."""
    output = folder / "output"
    if unit["asset"] in CURVES:
        rows = [json.dumps({"step": step, "loss": 1.0 - step / 4}) for step in range(3)]
        (output / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    if unit["asset"] == "scores":
        means = {name: {"value": value, "over": []} for name, value in MEANS.items()}
        (output / "scores.json").write_text(json.dumps({"benchmarks": {}, "means": means}))
    return plain_work(unit, folder)


if __name__ == "__main__":
    vars(payload)["work"] = work
    sys.exit(payload.main())
