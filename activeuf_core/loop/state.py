"""What must survive a restart of the loop, beside the ENN: the batch index, the comparisons, the
budget, the metrics.

In: one `BatchRecord` per batch. Out: a `LoopState` whose digest is chained over all batches: two
runs with the same digest took the same path. The replay buffer is not here, because it is the tail
of the comparisons; random streams are not here, because they are counter-based.
Shapes: N comparisons.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

COMPARISON = np.dtype(
    [
        ("chosen_row", "<i8"),
        ("rejected_row", "<i8"),
        ("batch_index", "<i4"),
        ("is_tied", "?"),
        ("chosen_probability", "<f4"),
    ]
)
"""One comparison: rows of the candidate pool; whether the overall scores are equal; and the
probability that the ENN gave to the chosen side before it was trained on it."""

COUNTS = ("annotations", "judgements", "ties", "missing", "identical")

Comparisons = NDArray[np.void]
Metrics = Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class BatchRecord:
    """What one batch adds to the state."""

    batch_index: int
    comparisons: Comparisons
    """Structured array of `COMPARISON`."""
    annotations: int
    """Annotations bought."""
    judgements: int
    """Completions whose overall score was looked at, by the acquisition function or by the
    oracle."""
    ties: int
    missing: int
    """Prompts that were passed over because an overall score is missing."""
    identical: int
    """Prompts that were passed over because both selected completions have the same text."""
    metrics: Metrics
    """One line of metrics.jsonl; None where a value does not exist."""

    def counts(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in COUNTS}

    def digest(self, previous: str) -> str:
        """Return the digest of this batch on top of all earlier ones."""
        facts = [previous, self.batch_index, self.counts(), dict(self.metrics)]
        body = json.dumps(facts, sort_keys=True, allow_nan=False)
        return hashlib.sha256(body.encode() + self.comparisons.tobytes()).hexdigest()


@dataclass
class LoopState:
    """Everything that the batches so far have left behind."""

    digest: str
    """Chained over all batches; begins as the digest of the loop's recipe."""
    records: list[BatchRecord] = field(default_factory=list)

    def append(self, record: BatchRecord) -> None:
        """Go on by one batch."""
        assert record.batch_index == self.next_batch, "batches are numbered without a gap"
        self.digest = record.digest(self.digest)
        self.records.append(record)

    @property
    def next_batch(self) -> int:
        """Index of the first batch that is not done."""
        return len(self.records)

    def total(self, count: str) -> int:
        """Sum a count of `BatchRecord` over all batches."""
        return sum(getattr(record, count) for record in self.records)

    @property
    def annotations(self) -> int:
        """Annotations bought so far."""
        return self.total("annotations")

    @property
    def num_comparisons(self) -> int:
        """Comparisons so far."""
        return sum(len(record.comparisons) for record in self.records)

    def comparisons(self) -> Comparisons:
        """Return all comparisons in the order of labelling."""
        parts = [record.comparisons for record in self.records]
        return np.concatenate(parts) if parts else np.empty(0, dtype=COMPARISON)

    def to_json(self) -> dict[str, Any]:
        """Return the state without the comparisons, of which the number per batch is kept."""
        batches = [
            {
                "comparisons": len(record.comparisons),
                "metrics": dict(record.metrics),
                **record.counts(),
            }
            for record in self.records
        ]
        return {"digest": self.digest, "batches": batches}


def restore(recipe: str, body: Mapping[str, Any], comparisons: Comparisons) -> LoopState:
    """Build a state from `LoopState.to_json` and its comparisons, batch by batch.

    Args: recipe: digest of the loop's recipe, the first link of the chain.
    Raises: ValueError when the chain does not end in the digest that was written down.
    """
    state = LoopState(recipe)
    first = 0
    for index, batch in enumerate(body["batches"]):
        last = first + batch.pop("comparisons")
        state.append(BatchRecord(index, comparisons[first:last], **batch))
        first = last
    if state.digest != body["digest"] or first != len(comparisons):
        raise ValueError(
            f"the chain of {state.next_batch} batches ends in {state.digest}, not {body['digest']}"
        )
    return state
