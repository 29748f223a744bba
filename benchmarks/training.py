"""Time our trainings beside a bare script on TRL's trainers with the same settings.

In: a model folder; comparisons made here, each of about 2 x 90 tokens. Out: tokens per second of
the optimiser steps of our DPO and reward-model stages and of the bare script, in rounds that take
turns, each in a process of its own; the ratio of each round and its spread; and the seconds of
everything, imports, loading and saving included. The bare script is what one would write: load, one
TRL config with the same batch, LoRA, schedule and dtype, train, merge, save; it logs every step
too.
Cost: about five minutes on two cores with SmolLM2-135M.
Command: python -m benchmarks.training [--model DIR] [--rounds 3] [--pairs 24] [--only reward_model]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from activeuf_core.config import read_yaml
from activeuf_core.paths import METRICS, PREFERENCES, PROJECT, Layout
from activeuf_core.schemas import PREFERENCE, assistant_message, user_message, write_rows

ASSETS = ("dpo_model", "reward_model")
SIDES = ("bare", "ours")
WORDS = ("river", "stone", "window", "paper", "garden", "winter", "letter", "market", "bridge")
SETTINGS: dict[str, Any] = {
    "lora": {"rank": 16, "alpha": 32},
    "learning_rate": 5e-4,
    "lr_schedule": "linear",
    "warmup_fraction": 0.1,
    "epochs": 1,
    "batch_size": 4,
    "per_device_batch_size": 4,
    "max_tokens": 512,
    "gradient_checkpointing": False,
    "dtype": "float32",
}
"""The demo's, with one dtype on every machine."""


@dataclass(frozen=True)
class Timing:
    """One training: tokens of its optimiser steps, their seconds, and those of the process."""

    tokens: float
    train_s: float
    whole_s: float

    @property
    def tokens_per_s(self) -> float:
        """Throughput of the optimiser steps."""
        return self.tokens / self.train_s


def make_pairs(path: Path, count: int) -> None:
    """Write comparisons whose sides differ in length by a third."""
    draw = random.Random(0)
    rows = []
    for index in range(count):
        prompt, chosen, rejected = (
            " ".join(draw.choices(WORDS, k=number)) for number in (20, 45, 60)
        )
        rows.append(
            {
                "prompt_id": f"p{index}",
                "source": "made",
                "prompt": user_message(prompt),
                "chosen": assistant_message(chosen),
                "rejected": assistant_message(rejected),
                "chosen_model": "a",
                "rejected_model": "b",
                "chosen_score": 4.0,
                "rejected_score": 2.0,
                "batch_index": 0,
            }
        )
    write_rows(path / PREFERENCES, PREFERENCE, rows)


def ours(asset: str, model: Path, data: Path, folder: Path) -> Timing:
    """Run our stage as its command."""
    unit = {
        "asset": asset,
        "config": {"base_model": {"name": "model", "identity": "model"}, **SETTINGS},
        "inputs": {"preference_dataset": str(data)},
        "locations": {"model": str(model)},
    }
    file = folder.with_suffix(".json")
    file.write_text(json.dumps(unit))
    command = ["activeuf_core.training", "--config", str(file), "--run-dir", str(folder)]
    return _timed(command, folder / "output" / METRICS)


def bare(asset: str, model: Path, data: Path, folder: Path) -> Timing:
    """Run the bare script."""
    command = ["benchmarks.training", "--bare", asset, str(model), str(data), str(folder)]
    return _timed(command, folder / METRICS)


def _timed(command: Sequence[str], metrics: Path) -> Timing:
    began = time.perf_counter()
    # W&B is installed beside TRL, and bare scripts would pay for its import.
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    whole_s = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    last = [row for row in rows if "loss" in row][-1]
    return Timing(last["num_tokens"], last["seconds"], whole_s)


def run_bare(asset: str, model: str, data: str, folder: str) -> None:
    """Train as a person with TRL's documentation would: the other process of `bare`."""
    import pyarrow.parquet as pq
    import torch
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    is_dpo = asset == "dpo_model"
    tokenizer = AutoTokenizer.from_pretrained(model)
    loader: Any = AutoModelForCausalLM if is_dpo else AutoModelForSequenceClassification
    options = {} if is_dpo else {"num_labels": 1, "pad_token_id": tokenizer.pad_token_id}
    base = loader.from_pretrained(model, dtype=torch.float32, **options)
    rows = pq.read_table(Path(data) / PREFERENCES, columns=["prompt", "chosen", "rejected"])
    kind: Any = trl.DPOConfig if is_dpo else trl.RewardConfig
    arguments = kind(
        output_dir=folder,
        num_train_epochs=SETTINGS["epochs"],
        learning_rate=SETTINGS["learning_rate"],
        lr_scheduler_type=SETTINGS["lr_schedule"],
        warmup_steps=SETTINGS["warmup_fraction"],
        per_device_train_batch_size=SETTINGS["per_device_batch_size"],
        gradient_checkpointing=SETTINGS["gradient_checkpointing"],
        max_length=SETTINGS["max_tokens"],
        bf16=False,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to=[],
    )
    lora = LoraConfig(
        task_type="CAUSAL_LM" if is_dpo else "SEQ_CLS",
        r=SETTINGS["lora"]["rank"],
        lora_alpha=SETTINGS["lora"]["alpha"],
        target_modules="all-linear",
        modules_to_save=None if is_dpo else ["score"],
    )
    trainer: Any = (trl.DPOTrainer if is_dpo else trl.RewardTrainer)(
        model=base,
        args=arguments,
        train_dataset=Dataset.from_list(rows.to_pylist()),
        processing_class=tokenizer,
        peft_config=lora,
    )
    began = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - began
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    trainer.model.merge_and_unload().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    line = {"loss": steps[-1]["loss"], "num_tokens": steps[-1]["num_tokens"], "seconds": seconds}
    (Path(folder) / METRICS).write_text(json.dumps(line) + "\n")


def compare(asset: str, model: Path, data: Path, rounds: int, folder: Path) -> None:
    """Take turns, who goes first changing with the round, and print a table."""
    found: dict[str, list[Timing]] = {side: [] for side in SIDES}
    for index in range(rounds):
        for side in SIDES if index % 2 == 0 else SIDES[::-1]:
            run = {"ours": ours, "bare": bare}[side]
            found[side].append(run(asset, model, data, folder / f"{asset}-{side}-{index}"))
    ratios = [
        mine.tokens_per_s / other.tokens_per_s
        for mine, other in zip(found["ours"], found["bare"], strict=True)
    ]
    _say(f"\n{asset}, {found['ours'][0].tokens:.0f} tokens; seconds are medians of {rounds}")
    _say(f"{'':6}{'tokens/s':>10}{'steps s':>10}{'end to end s':>14}")
    for side in SIDES:
        rows = found[side]
        speed, train_s, whole_s = (
            median(getattr(row, name) for row in rows)
            for name in ("tokens_per_s", "train_s", "whole_s")
        )
        _say(f"{side:6}{speed:10.1f}{train_s:10.1f}{whole_s:14.1f}")
    shown = " ".join(f"{ratio:.3f}" for ratio in sorted(ratios))
    _say(f"ours / bare, tokens per second: median {median(ratios):.3f} (rounds: {shown})")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def demo_model() -> Path:
    """Return where `make model` puts the model that the demo trains."""
    name = read_yaml(PROJECT / "configs" / "defaults" / "demo.yaml")["dpo_model"]["base_model"]
    path = read_yaml(PROJECT / "configs" / "models.yaml")[name]["path"]
    return Path(path.replace("$ACTIVEUF_HOME", str(Layout.default().home)))


def main(arguments: Sequence[str]) -> int:
    """Measure, and print."""
    if arguments[:1] == ["--bare"]:
        run_bare(*arguments[1:])
        return 0
    parser = argparse.ArgumentParser(description="Our trainings beside a bare TRL script.")
    parser.add_argument("--model", type=Path, default=demo_model(), help="default: the demo's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--only", choices=ASSETS)
    options = parser.parse_args(arguments)
    if not (options.model / "config.json").is_file():
        raise SystemExit(f"no model in {options.model}: run make model, or give --model DIR")
    _say(f"load before {os.getloadavg()[0]:.2f}, cores {os.cpu_count()}, model {options.model}")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        make_pairs(data, options.pairs)
        for asset in [options.only] if options.only else ASSETS:
            compare(asset, options.model.absolute(), data, options.rounds, Path(folder))
    _say(f"\nload after {os.getloadavg()[0]:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
