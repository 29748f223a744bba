"""Read a pool of judged completions, and deal it into candidate pools for the loop.

In: JSON lines, plain or xz, one prompt a line: `prompt_id`, `prompt`, `completions`, each with
`model`, `response` and `ae2_pref`, a judge's probability that it beats a reference. Out:
`JudgedPool`; per seed a `Deal`: the loop's candidate table without texts, and a split of prompts.
Cost: a few seconds and a hundred megabytes for 805 prompts and 48 models.
Shapes: P prompts, M models, R rows (completions), H hands.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import lzma
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activeuf_core.errors import DataError
from activeuf_core.loop.candidates import CandidateTable
from activeuf_core.seeding import generator

CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1; beyond it the judge's figures are rounding."""
ATTACKS = ("NullModel", "gpt4_gamed")
"""Submissions that attack the judge instead of answering."""
VARIANTS = ("_concise", "_verbose", "-togetherai")
"""Endings of names of models that are there already, under another prompt or host."""

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class JudgedPool:
    """Completions with the judge's latent scores; a prompt's rows are adjacent."""

    prompt_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    models: tuple[str, ...]
    prompt_R: Ints
    model_R: NDArray[np.int32]
    text_R: tuple[str, ...]
    score_R: NDArray[np.float64]
    """Log-odds of the judge's preference over the reference, clipped."""

    @property
    def length_R(self) -> NDArray[np.float64]:
        """Characters of each completion."""
        return np.array([len(text) for text in self.text_R], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Deal:
    """One seed's view of the pool: hands to buy comparisons in, and prompts held out."""

    table: CandidateTable
    """A hand is a prompt of the loop; its rows are those of `source_R`."""
    source_R: Ints
    """Row of the judged pool of each row of `table`."""
    held_out_R: Ints
    """Rows of the judged pool that belong to held-out prompts."""


def log_odds(probability: Floats) -> NDArray[np.float64]:
    """Return log(p / (1 - p)) of probabilities that are clipped first."""
    kept = np.clip(np.asarray(probability, dtype=np.float64), CLIP, 1.0 - CLIP)
    return np.log(kept) - np.log1p(-kept)


def is_ordinary(model: str) -> bool:
    """Tell whether a model simply answers."""
    return model not in ATTACKS and not model.endswith(VARIANTS)


def read_pool(path: Path, max_prompts: int | None = None) -> JudgedPool:
    """Read the ordinary models' judged completions.

    Raises: DataError when the file is absent, is no such file, or has no judged completion.
    """
    rows = []
    try:
        for number, line in enumerate(_lines(path)):
            if max_prompts is not None and number >= max_prompts:
                break
            rows.append(json.loads(line))
        return _pool(rows)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; name the pool with --pool.") from None
    except (ValueError, KeyError, lzma.LZMAError) as error:
        raise DataError(
            f"{path}: cannot be read as a pool of judged completions ({error!r}); expected JSON "
            "lines with prompt_id, prompt, completions of model, response, ae2_pref."
        ) from error


def _lines(path: Path) -> Iterator[str]:
    with contextlib.ExitStack() as opened:
        raw = opened.enter_context(path.open("rb"))
        plain = opened.enter_context(lzma.open(raw)) if path.suffix == ".xz" else raw
        yield from (line.decode("utf-8") for line in plain)


def _pool(rows: Sequence[dict[str, Any]]) -> JudgedPool:
    kept = [
        (place, completion)
        for place, row in enumerate(rows)
        for completion in row["completions"]
        if completion.get("ae2_pref") is not None and is_ordinary(completion["model"])
    ]
    if not kept:
        raise ValueError("no completion of an ordinary model has an ae2_pref")
    models = tuple(sorted({completion["model"] for _, completion in kept}))
    place = {model: number for number, model in enumerate(models)}
    return JudgedPool(
        prompt_ids=tuple(str(row["prompt_id"]) for row in rows),
        prompts=tuple(row["prompt"] for row in rows),
        models=models,
        prompt_R=np.array([number for number, _ in kept], dtype=np.int64),
        model_R=np.array([place[completion["model"]] for _, completion in kept], dtype=np.int32),
        text_R=tuple(completion["response"] for _, completion in kept),
        score_R=log_odds(np.array([completion["ae2_pref"] for _, completion in kept])),
    )


def deal(
    pool: JudgedPool,
    seed: int,
    *,
    hand_size: int,
    held_out_share: float,
    anchors: Sequence[str],
    only_anchored: bool = False,
) -> Deal:
    """Split the prompts, and cut each training prompt's completions into hands at random.

    Args:
        anchors: models that sit in a prompt's first hand, so that the rule that pairs them by name
            finds both. A last hand with fewer than `hand_size` completions is left out.
        only_anchored: deal the same, but keep only the hands that hold all anchors.
    Raises: DataError when no hand is left.
    """
    rng = generator(seed, "study", "deal")
    prompts = rng.permutation(len(pool.prompt_ids))
    num_held_out = max(1, round(held_out_share * len(prompts)))
    start_P = np.searchsorted(pool.prompt_R, np.arange(len(prompts) + 1))
    is_anchor_R = np.isin(np.array(pool.models)[pool.model_R], anchors)
    hands: dict[str, Ints] = {}
    for prompt in prompts[num_held_out:]:
        rows = start_P[prompt] + rng.permutation(start_P[prompt + 1] - start_P[prompt])
        rows = np.concatenate([rows[is_anchor_R[rows]], rows[~is_anchor_R[rows]]])
        for number in range(len(rows) // hand_size):
            hand = rng.permutation(rows[number * hand_size : (number + 1) * hand_size])
            if not only_anchored or is_anchor_R[hand].sum() == len(anchors):
                hands[f"{pool.prompt_ids[prompt]}/{number}"] = hand
    if not hands:
        raise DataError(
            f"no training prompt has a hand of {hand_size} completions"
            + (f" with all of {', '.join(anchors)}." if only_anchored else ".")
        )
    source_R = np.concatenate(list(hands.values()))
    table = CandidateTable(
        prompt_ids=tuple(hands),
        start_P=np.arange(len(hands) + 1, dtype=np.int64) * hand_size,
        model_R=pool.model_R[source_R],
        models=pool.models,
        score_R=pool.score_R[source_R],
        text_R=_digests(pool.text_R[row] for row in source_R),
    )
    held_out_R = np.flatnonzero(np.isin(pool.prompt_R, prompts[:num_held_out]))
    return Deal(table, source_R, held_out_R)


def _digests(texts: Iterable[str]) -> Ints:
    parts = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(parts), dtype="<i8")
