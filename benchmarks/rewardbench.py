"""Time the scoring of a reward model beside a loop over the file in its order.

In: a causal language model's folder, which gets a random reward head; rows in RewardBench 2's
format: those of the shared data where they are (a random choice, in the order of the file), else
the demo's. Out: CPU-seconds of both on one thread, with the same model, type, `batch_size` and
rewards (the largest difference is printed); and the share of padding in the whole file, which
tells how the ratio changes with the number of rows and with `batch_size`.
The loop is what one writes first: batches of `batch_size` completions as they come, padded to the
longest of each. Both are run in halves that alternate, so that a change of the machine's load meets
both.
Cost: about two minutes and 1.5 GB with SmolLM2-135M and 10 rows.
Command: python -m benchmarks.rewardbench --model DIR [--rows 10] [--batch-size 8]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from activeuf_core.evals.config import ScoreConfig
from activeuf_core.evals.models import LoadedModel
from activeuf_core.evals.rewardbench import conversations_of
from activeuf_core.evals.rewardbench_rewards import passes, rate
from activeuf_core.evals.rows import Row, load_rows
from activeuf_core.jobs import Unit
from activeuf_core.paths import PROJECT, UnitFolder
from activeuf_core.pretrained import Messages, load_tokenizer, pad
from activeuf_core.seeding import generator
from activeuf_core.stage import StageContext

NAME = "rewardbench2"
SHARED = Path("rewardbench/rb2_format_from_real_sources.jsonl.xz")
MAX_TOKENS = 2048
SIZES = (8, 64)


def say(line: str) -> None:
    """Print a line of the result."""
    sys.stdout.write(f"{line}\n")


def rows_file() -> Path:
    """Return the shared data's rows, or the demo's."""
    shared = Path(os.environ.get("ACTIVEUF_SHARED_DATA") or PROJECT.parent / "shared" / "data")
    found = shared / SHARED
    return found if found.exists() else PROJECT / "demo" / "benchmarks" / f"{NAME}.jsonl"


def load(folder: str) -> LoadedModel:
    """Return a language model with a random reward head."""
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1, dtype=torch.float32
    )
    chat = load_tokenizer(folder)
    model.config.pad_token_id = chat.pad_id
    return LoadedModel(model.eval(), chat, Path(folder))


def all_conversations(rows: Sequence[Row]) -> list[Messages]:
    """Return every completion with its prompt, in the order of the file."""
    return [conversation for row in rows for conversation in conversations_of(row)]


def in_file_order(count: int, batch_size: int) -> Iterator[range]:
    """Return the batches of the plain loop."""
    for start in range(0, count, batch_size):
        yield range(start, min(start + batch_size, count))


def plain_loop(
    loaded: LoadedModel, conversations: Sequence[Messages], batch_size: int
) -> np.ndarray:
    """Return the rewards by a loop over the file."""
    encoded = [tokens[-MAX_TOKENS:] for tokens in loaded.chat.encode(conversations)]
    rewards: list[float] = []
    for batch in in_file_order(len(encoded), batch_size):
        ids, mask = pad([encoded[i] for i in batch], loaded.chat.pad_id, "right")
        with torch.inference_mode():
            logits = loaded.model(input_ids=ids, attention_mask=mask).logits
        rewards += logits.squeeze(-1).float().tolist()
    return np.array(rewards)


def ours(loaded: LoadedModel, conversations: Sequence[Messages], config: ScoreConfig) -> np.ndarray:
    """Return the rewards as the stage finds them, with all that it writes meanwhile."""
    with tempfile.TemporaryDirectory() as place:
        unit = Unit(f"{NAME}_score", "benchmark", "", "", 0, {}, {}, {})
        folder = UnitFolder(Path(place) / "unit")
        folder.output.mkdir(parents=True)
        context = StageContext(unit, folder, Path(place) / "checkpoints")
        return rate(context, loaded, conversations, config)[0]


def padding(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Return tokens with their padding as a multiple of the tokens."""
    return sum(len(b) * max(lengths[i] for i in b) for b in batches) / sum(lengths)


def tell_padding(loaded: LoadedModel, rows: Sequence[Row]) -> None:
    """Print what the whole file's padding is, by either way."""
    encoded = loaded.chat.encode(all_conversations(rows))
    lengths = [min(len(tokens), MAX_TOKENS) for tokens in encoded]
    say(f"\nwhole file: {len(lengths)} completions of {np.mean(lengths):.0f} tokens on average")
    for size in SIZES:
        plain = padding(lengths, list(in_file_order(len(lengths), size)))
        divided = padding(lengths, passes(lengths, size))
        say(
            f"  batch_size {size}: padded to {plain:.2f} times its tokens in its order, "
            f"{divided:.3f} times here; ratio {plain / divided:.2f}"
        )


def compare(loaded: LoadedModel, rows: Sequence[Row], config: ScoreConfig) -> float:
    """Run both in halves; print seconds and return the ratio."""
    conversations = all_conversations(rows)
    plain_loop(loaded, conversations[:1], 1)  # what is loaded at the first pass
    seconds = {"plain": 0.0, "ours": 0.0}
    largest = 0.0
    for half in (
        conversations[: len(conversations) // 2],
        conversations[len(conversations) // 2 :],
    ):
        started = time.process_time()
        expected = plain_loop(loaded, half, config.batch_size)
        between = time.process_time()
        found = ours(loaded, half, config)
        seconds["plain"] += between - started
        seconds["ours"] += time.process_time() - between
        largest = max(largest, float(np.abs(found - expected).max()))
    ratio = seconds["plain"] / seconds["ours"]
    say(f"{len(rows)} rows, {len(conversations)} completions, batch_size {config.batch_size}")
    say(f"  in the order of the file  {seconds['plain']:7.1f} CPU-s")
    say(f"  our scoring               {seconds['ours']:7.1f} CPU-s")
    say(f"  ratio                     {ratio:7.2f}   (goal: 1.5)")
    say(f"  rewards differ by at most {largest:.1e}")
    return ratio


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="folder of a causal language model")
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=8)
    arguments = parser.parse_args()
    path = rows_file()
    rows = load_rows(NAME, str(path))
    loaded = load(arguments.model)
    config = ScoreConfig.model_validate(
        {
            "benchmark": NAME,
            "data": {"name": path.name, "identity": ""},
            "batch_size": arguments.batch_size,
            "max_tokens": MAX_TOKENS,
            "dtype": "float32",
        }
    )
    count = min(arguments.rows, len(rows))
    chosen = sorted(generator(0, "benchmark").choice(len(rows), count, replace=False).tolist())
    say(f"{path.name}: load {os.getloadavg()[0]:.1f}")
    compare(loaded, [rows[i] for i in chosen], config)
    tell_padding(loaded, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
