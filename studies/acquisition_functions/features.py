"""Cheap features of completions, without a pass through a language model: words, and form.

In: prompts and completions; optionally a model's folder, of which the input embeddings are used.
Out: float32 rows, cached as one .npy. Two parts: words (hashed n-grams in random directions, or
tokens in the directions of their embeddings), weighted by rarity, centred per prompt, rotated to
their main directions; and counts of form, log-length among them. No judgement is looked at. They
are weaker than a language model's hidden states; what a study finds holds for such features.
Cost: half a minute on one core for 38,640 completions.
Shapes: R rows (completions), D feature size, B buckets or tokens, K directions.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activeuf_core.errors import DataError
from studies.acquisition_functions.pool import JudgedPool

NUM_BUCKETS = 1 << 15
NUM_DIRECTIONS = 512
NUM_COMPONENTS = 64
WORDS_WEIGHT = 0.3
"""Scale of a word component (mean variance one) beside a count of form (variance one)."""
WORD = re.compile(r"\w+|[^\w\s]")
VERSION = "1"

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

REFUSAL = re.compile(r"\b(?:sorry|as an ai|i cannot|i can't|unable to|apolog)", re.I)
FORMS: tuple[tuple[str, Callable[[str, frozenset[str]], float]], ...] = (
    ("log_characters", lambda text, _: np.log1p(len(text))),
    ("log_lines", lambda text, _: np.log1p(text.count("\n"))),
    ("log_list_items", lambda text, _: np.log1p(len(re.findall(r"(?m)^\s*(?:[-*•]|\d+\.)", text)))),
    ("log_bold", lambda text, _: np.log1p(text.count("**"))),
    ("log_headings", lambda text, _: np.log1p(len(re.findall(r"(?m)^#+ ", text)))),
    ("has_code", lambda text, _: float("```" in text)),
    ("refuses", lambda text, _: float(bool(REFUSAL.search(text[:300])))),
    ("ends_sentence", lambda text, _: float(text.rstrip()[-1:] in tuple(".!?`)\"'"))),
    ("asks", lambda text, _: np.log1p(text.count("?"))),
    ("digit_share", lambda text, _: _share(text, str.isdigit)),
    ("capital_share", lambda text, _: _share(text, str.isupper)),
    ("distinct_words", lambda text, _: _distinct(text)),
    ("word_length", lambda text, _: _word_length(text)),
    ("prompt_overlap", lambda text, asked: _overlap(text, asked)),
    ("is_empty", lambda text, _: float(not text.strip())),
)
"""Counts of form by name: functions of a completion and the prompt's words."""


def load_features(pool: JudgedPool, cache: Path, model: Path | None = None) -> Floats:
    """Return the features of all completions, from the cache where it belongs to this pool."""
    digest = hashlib.sha256(f"{VERSION} {model.resolve() if model else 'hashed'}".encode())
    for text in (*pool.prompts, *pool.text_R):
        digest.update(text.encode())
    path = cache / f"features-{digest.hexdigest()[:16]}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    features = extract(pool, model)
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npy")
    np.save(partial, features)
    partial.replace(path)
    return features


def extract(pool: JudgedPool, model: Path | None = None) -> Floats:
    """Compute the features of all completions: (R, D)."""
    rows, directions_BK = _embedded(pool.text_R, model) if model else _hashed(pool.text_R)
    words = _main_directions(_centred(_projected(rows, directions_BK), pool.prompt_R))
    form = _centred(_form(pool), pool.prompt_R)
    form /= np.maximum(form.std(axis=0), 1e-6)
    return np.concatenate([WORDS_WEIGHT * words, form], axis=1).astype(np.float32)


def _hashed(texts: Sequence[str]) -> tuple[list[Ints], Floats]:
    """Return words and pairs of words as hash buckets, and a random direction of each bucket."""
    buckets: dict[str, int] = {}
    rows = []
    for text in texts:
        words = WORD.findall(text.lower())
        tokens = words + [f"{a} {b}" for a, b in itertools.pairwise(words)]
        for token in tokens:
            if token not in buckets:
                buckets[token] = zlib.crc32(token.encode()) % NUM_BUCKETS
        rows.append(np.array([buckets[token] for token in tokens], dtype=np.int64))
    directions_BK = np.random.default_rng(0).standard_normal((NUM_BUCKETS, NUM_DIRECTIONS))
    return rows, directions_BK.astype(np.float32)


def _embedded(texts: Sequence[str], model: Path) -> tuple[list[Ints], Floats]:
    """Return the tokens of texts, and a language model's input embedding of each token.

    Raises: DataError when the folder holds no model with input embeddings.
    """
    from safetensors import SafetensorError, safe_open
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
        with safe_open(model / "model.safetensors", "pt") as file:
            names = list(file.keys())
            (name,) = [name for name in names if name.endswith("embed_tokens.weight")]
            directions_BK = file.get_tensor(name).float().numpy()
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(
            f"{model}: no tokenizer with a model.safetensors that holds embed_tokens.weight "
            f"({error}). Name another folder, or leave --model out."
        ) from error
    rows = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [np.array(row, dtype=np.int64) for row in rows], directions_BK


def _projected(rows: Sequence[Ints], directions_BK: Floats) -> Floats:
    """Sum the directions of a text's tokens by log count times rarity, at unit length: (R, K)."""
    counted = [np.unique(row, return_counts=True) for row in rows]
    seen_B = np.bincount(np.concatenate([ids for ids, _ in counted]), minlength=len(directions_BK))
    rarity_B = np.log((1.0 + len(rows)) / (1.0 + seen_B))
    projected_RK = np.zeros((len(rows), directions_BK.shape[1]), dtype=np.float32)
    for row, (ids, counts) in enumerate(counted):
        weights = (np.log1p(counts) * rarity_B[ids]).astype(np.float32)
        total = weights.sum()
        if total > 0.0:
            projected_RK[row] = (weights / total) @ directions_BK[ids]
    return projected_RK


def _centred(value_RK: Floats, prompt_R: NDArray[np.int64]) -> Floats:
    """Subtract the prompt's mean: only differences within a prompt are ever compared."""
    count_P = np.maximum(np.bincount(prompt_R), 1)[:, None]
    total_PK = np.zeros((len(count_P), value_RK.shape[1]))
    np.add.at(total_PK, prompt_R, value_RK)
    return (value_RK - (total_PK / count_P)[prompt_R]).astype(np.float32)


def _main_directions(value_RK: Floats) -> Floats:
    """Rotate to the directions of largest variance, scaled to mean variance one: (R, D')."""
    covariance = (value_RK.T @ value_RK).astype(np.float64) / len(value_RK)
    variances, vectors = np.linalg.eigh(covariance)
    kept = slice(-1, -min(NUM_COMPONENTS, len(variances)) - 1, -1)
    scale = 1.0 / np.sqrt(max(float(variances[kept].mean()), 1e-12))
    return (value_RK @ (vectors[:, kept] * scale)).astype(np.float32)


def _form(pool: JudgedPool) -> Floats:
    asked = [frozenset(WORD.findall(prompt.lower())) for prompt in pool.prompts]
    rows = [
        [count(text, asked[prompt]) for _, count in FORMS]
        for text, prompt in zip(pool.text_R, pool.prompt_R, strict=True)
    ]
    return np.array(rows, dtype=np.float32)


def _share(text: str, belongs: Callable[[str], bool]) -> float:
    return sum(map(belongs, text)) / max(1, len(text))


def _distinct(text: str) -> float:
    words = WORD.findall(text.lower())
    return len(set(words)) / max(1, len(words))


def _word_length(text: str) -> float:
    words = re.findall(r"\w+", text)
    return sum(map(len, words)) / max(1, len(words))


def _overlap(text: str, asked: frozenset[str]) -> float:
    return len(asked & set(WORD.findall(text.lower()))) / max(1, len(asked))
