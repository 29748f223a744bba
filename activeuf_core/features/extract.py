"""The stage `features`: a frozen model's last hidden state for every (prompt, completion).

In: `candidates.parquet`; a model of which only the backbone is used. Out: `features.npy`, shape (C,
D), rows in the order of the candidates; `index.parquet` (INDEX); a histogram of token counts. The
feature is the last hidden state of the last token of the conversation under the model's chat
template. A conversation beyond max_tokens is cut on the right and flagged: its feature is that of
its middle.
Source: ActiveUltraFeedback, arXiv 2603.09692: frozen features under an ensemble of small heads.
Candidates are read in chunks, sorted by length within a chunk, and padded on the right, which a
causal model does not see. Several processes take chunks by turns, of a small pool batches: batches
are the same ones, and so are the features. What is finished is on disk every 20 s, and an
interrupted run goes on there, with any number of processes.
Cost: one forward pass per candidate. SmolLM2-135M in float32 on one core: 500 to 600 tokens per
second; memory is flat but for the model (30 completions of 60,000 prompts at D = 2560 in float16
are 9.2 GB on disk).
Command: `python -m activeuf_core.features --config … --run-dir …`. Heavy: imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from activeuf_core import paths, pretrained, processes
from activeuf_core.errors import DataError
from activeuf_core.features.config import FeaturesConfig
from activeuf_core.features.precision import decode, encode
from activeuf_core.features.store import FeatureStore
from activeuf_core.figures import histogram
from activeuf_core.processes import Processes
from activeuf_core.schemas import assistant_message, count_rows, iterate_rows, write_rows
from activeuf_core.stage import PREVIEW_ROWS, StageContext

CHUNK_ROWS = 2048
"""Candidates that are tokenized and sorted by length together."""
CHUNKS_EACH = 8
"""From so many chunks per process on they are dealt out whole: their number is uneven by one at
most."""
SCAN_ROWS = 8192
MAX_SHARE_TRUNCATED = 0.05
"""`features_not_truncated` fails above this."""
NAMED_ROWS = 5

INDEX = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("num_tokens", pa.int32(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
    ]
)
"""Which candidate a row of the matrix belongs to, and how much of it the model saw."""

Row = Mapping[str, Any]


def run(context: StageContext) -> None:
    """Make the artifact `features`."""
    config = context.config(FeaturesConfig)
    candidates = context.input("candidate_pool") / paths.CANDIDATES
    num_rows = count_rows(candidates)
    if not num_rows:
        raise DataError(f"{candidates}: has no rows. Materialize candidate_pool with candidates.")
    ours = processes.current()
    extractor = Extractor(config, context.locate(config.model))
    store = _open(context, config, num_rows, extractor.size)
    num_resumed = store.num_done
    with store:
        for done in _fill(extractor, store, candidates, ours):
            context.progress(done, num_rows, "candidates")
    speed = processes.add_up(speed=extractor.speed)["speed"]  # all have finished: they meet here
    if not ours.is_first:
        return
    store.absorb()
    write_rows(context.output / paths.FEATURE_INDEX, INDEX, _index(candidates, store))
    context.add_metadata(resumed_candidates=num_resumed, tokens_per_second=round(speed, 1))
    _report(context, extractor, store)
    store.publish(context.output / paths.FEATURES)


def _open(context: StageContext, config: FeaturesConfig, num_rows: int, size: int) -> FeatureStore:
    """Open this process's store, once the first has taken over what an earlier attempt's left."""
    ours = processes.current()

    def opened() -> FeatureStore:
        return FeatureStore(context.checkpoints, num_rows, size, config.storage, ours.rank)

    if ours.is_first:
        store = opened()
        store.absorb()
        processes.gather(store.num_tokens_C > 0)
        return store
    is_done_C = processes.gather(None)[0]
    store = opened()
    store.leave(is_done_C)
    return store


def _fill(
    extractor: Extractor, store: FeatureStore, candidates: Path, ours: Processes
) -> Iterator[int]:
    """Extract this process's share; yield how far in the pool it has come.

    Every chunk that a process takes part in is tokenized by it, so chunks are dealt out whole where
    there are enough of them.
    """
    many = len(store.num_tokens_C) >= CHUNKS_EACH * CHUNK_ROWS * ours.count
    of_chunks, of_batches = (ours, Processes()) if many else (Processes(), ours)
    for number, (start, chunk) in enumerate(_chunks(candidates)):
        if of_chunks.owns(number):
            yield from extractor.fill(store, start, chunk, of_batches)


class Extractor:
    """A loaded backbone, and what it has done so far."""

    def __init__(self, config: FeaturesConfig, location: str) -> None:
        """Load tokenizer and backbone. Raises: DataError when the model folder is not whole."""
        self._config = config
        self._tokenizer = pretrained.load_tokenizer(location)
        self._model = pretrained.load_model("AutoModel", location, config.dtype)
        self._model.config.use_cache = False
        self.max_tokens = min(config.max_tokens, pretrained.context_length(self._model))
        self.size: int = self._model.config.get_text_config().hidden_size
        self.is_plain = self._tokenizer.is_plain
        self.num_tokens = 0
        self.num_padded = 0
        self.seconds = 0.0

    @property
    def speed(self) -> float:
        """Tokens per second so far."""
        return self.num_tokens / self.seconds if self.seconds else 0.0

    def fill(
        self, store: FeatureStore, start: int, chunk: Sequence[Row], ours: Processes
    ) -> Iterator[int]:
        """Put the features of a chunk into the store; yield after every batch how many rows are
        done.

        Args: start: row of the chunk's first candidate. ours: whose batches to compute.
        """
        if all(store.is_done(start + offset) for offset in range(len(chunk))):
            yield start + len(chunk)
            return
        whole = self._tokenizer.encode(
            [[*row["prompt"], *assistant_message(row["completion"])] for row in chunk]
        )
        cut = [ids[: self.max_tokens] for ids in whole]
        lengths = [len(ids) for ids in cut]
        done = start
        batches = pretrained.batches_by_length(lengths, self._config.batch_size)
        for number, batch in enumerate(batches):
            done += len(batch)
            rows = [start + offset for offset in batch]
            if ours.owns(number) and not all(map(store.is_done, rows)):
                features_BD = self._features([cut[offset] for offset in batch])
                stored_BD = self._checked(features_BD, rows, [chunk[offset] for offset in batch])
                truncated = [len(whole[offset]) > self.max_tokens for offset in batch]
                store.add(rows, stored_BD, [lengths[offset] for offset in batch], truncated)
            yield done

    def _features(self, token_ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Return the hidden state of each row's last real token, float32, shape (B, D)."""
        started = time.monotonic()
        ids_BT, mask_BT = pretrained.pad(token_ids, self._tokenizer.pad_id, "right")
        last_B = mask_BT.sum(-1) - 1
        with torch.inference_mode():
            hidden_BTD = self._model(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
        each_B = torch.arange(len(token_ids), device=hidden_BTD.device)
        features_BD = hidden_BTD[each_B, last_B].float().cpu().numpy()
        self.seconds += time.monotonic() - started
        self.num_tokens += int(mask_BT.sum())
        self.num_padded += mask_BT.numel()
        return features_BD

    def _checked(
        self, features_BD: np.ndarray, rows: Sequence[int], candidates: Sequence[Row]
    ) -> np.ndarray:
        """Return features in the precision of the disk.

        Raises: DataError naming the rows whose features are not finite, before or after.
        """
        stored_BD = encode(features_BD, self._config.storage)
        wrong = np.flatnonzero(~np.isfinite(decode(stored_BD)).all(axis=1)).tolist()
        if not wrong:
            return stored_BD
        named = ", ".join(
            f"row {rows[i]} (prompt {candidates[i]['prompt_id']!r}, {candidates[i]['model']!r})"
            for i in wrong[:NAMED_ROWS]
        )
        if np.isfinite(features_BD[wrong]).all():
            largest = float(np.abs(features_BD[wrong]).max())
            raise DataError(
                f"features of {len(wrong)} candidates do not fit {self._config.storage} (largest "
                f"value {largest:.4g}): {named}. Set storage: bfloat16 or float32."
            )
        raise DataError(
            f"features of {len(wrong)} candidates are NaN or infinite: {named}. The model's "
            f"weights are damaged, or dtype {self._config.dtype} is too narrow for it: try dtype: "
            "float32."
        )


def _chunks(candidates: Path) -> Iterator[tuple[int, Sequence[Row]]]:
    rows = iterate_rows(candidates, ["prompt_id", "prompt", "model", "completion"])
    start = 0
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield start, chunk
        start += len(chunk)


def _index(candidates: Path, store: FeatureStore) -> Iterator[Row]:
    for number, row in enumerate(iterate_rows(candidates, ["prompt_id", "model"])):
        yield {
            "row": number,
            **row,
            "num_tokens": int(store.num_tokens_C[number]),
            "truncated": bool(store.truncated_C[number]),
        }


def _report(context: StageContext, extractor: Extractor, store: FeatureStore) -> None:
    num_rows = len(store.num_tokens_C)
    num_truncated = int(store.truncated_C.sum())
    num_wrong, mean_norm = _scan(store.features_CD)
    padding = 1.0 - extractor.num_tokens / extractor.num_padded if extractor.num_padded else 0.0
    context.add_metadata(
        candidates=num_rows,
        feature_size=extractor.size,
        megabytes=round(store.features_CD.nbytes / 1e6, 1),
        tokens=int(store.num_tokens_C.sum()),
        padding_share=round(padding, 4),
        truncated=num_truncated,
        max_tokens=extractor.max_tokens,
        mean_norm=round(mean_norm, 4),
        plain_chat_template=extractor.is_plain,
    )
    context.add_table(
        "preview", islice(iterate_rows(context.output / paths.FEATURE_INDEX), PREVIEW_ROWS)
    )
    plot = histogram(
        context.output / paths.FEATURE_LENGTHS,
        store.num_tokens_C.tolist(),
        "Length of prompt and completion",
        "tokens",
        log_scale=True,
    )
    context.add_plot("lengths", plot)
    _check(context, extractor, num_rows, num_wrong, num_truncated)


def _check(
    context: StageContext, extractor: Extractor, num_rows: int, num_wrong: int, num_truncated: int
) -> None:
    context.check(
        "features_finite",
        num_wrong == 0,
        f"{num_wrong} of {num_rows} candidates have a feature that is NaN, infinite or all zero.",
        blocking=True,
        wrong=num_wrong,
    )
    share = num_truncated / num_rows
    context.check(
        "features_not_truncated",
        share <= MAX_SHARE_TRUNCATED,
        f"{share:.1%} of the conversations were cut at {extractor.max_tokens} tokens.",
        share_truncated=share,
    )


def _scan(features_CD: np.ndarray) -> tuple[int, float]:
    """Read the matrix back: how many rows are not finite or zero, and the mean Euclidean norm."""
    num_wrong, total = 0, 0.0
    for start in range(0, len(features_CD), SCAN_ROWS):
        features_BD = decode(features_CD[start : start + SCAN_ROWS]).astype(np.float32)
        norms = np.linalg.norm(features_BD, axis=1)
        is_sound = np.isfinite(norms) & (norms > 0)
        num_wrong += int((~is_sound).sum())
        total += float(norms[is_sound].sum())
    return num_wrong, total / max(len(features_CD) - num_wrong, 1)
