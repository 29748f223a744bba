"""The state and its chain of digests."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from activeuf_core.loop.state import COMPARISON, BatchRecord, LoopState, restore


def record(index: int, num: int = 2, **changes: Any) -> BatchRecord:
    comparisons = np.zeros(num, dtype=COMPARISON)
    comparisons["chosen_row"] = np.arange(num) + 10 * index
    comparisons["chosen_probability"] = 0.1 + index
    made = BatchRecord(index, comparisons, 2 * num, 2 * num, 1, 0, 0, {"loss": 0.1, "gap": None})
    return replace(made, **changes)


def state(*records: BatchRecord) -> LoopState:
    made = LoopState("recipe")
    for item in records:
        made.append(item)
    return made


def test_totals_are_sums_over_batches() -> None:
    made = state(record(0), record(1, num=3))
    assert (made.next_batch, made.annotations, made.total("ties")) == (2, 10, 2)
    assert made.comparisons()["chosen_row"].tolist() == [0, 1, 10, 11, 12]


def test_empty_state_has_no_comparisons() -> None:
    assert state().comparisons().dtype == COMPARISON


def test_state_survives_json_with_its_digest() -> None:
    made = state(record(0), record(1, num=0), record(2))
    again = restore("recipe", json.loads(json.dumps(made.to_json())), made.comparisons())
    assert again.digest == made.digest
    assert again.records[2].metrics == made.records[2].metrics
    assert np.array_equal(again.comparisons(), made.comparisons())


@pytest.mark.parametrize(
    "change",
    [{"metrics": {"loss": 0.1000000001, "gap": None}}, {"ties": 0}, {"annotations": 6}],
)
def test_digest_depends_on_every_earlier_batch(change: dict[str, Any]) -> None:
    assert state(record(0, **change), record(1)).digest != state(record(0), record(1)).digest


def test_digest_depends_on_the_comparisons() -> None:
    assert state(record(0, num=3, annotations=4)).digest != state(record(0)).digest


def test_altered_state_breaks_the_chain() -> None:
    made = state(record(0), record(1))
    body = made.to_json()
    body["batches"][0]["ties"] = 5
    with pytest.raises(ValueError, match="the chain of 2 batches ends in"):
        restore("recipe", body, made.comparisons())


def test_state_of_another_recipe_breaks_the_chain() -> None:
    made = state(record(0))
    with pytest.raises(ValueError, match="chain"):
        restore("other", made.to_json(), made.comparisons())
