"""Fingerprints: what counts, and what does not."""

from __future__ import annotations

import pytest

from activeuf_core.fingerprint import canonical_json, fingerprint

BASE = ("dpo_model", "1", {"lr": 0.1}, {"preference_dataset": ["p"]})


def test_equal_recipes_have_equal_fingerprints() -> None:
    assert fingerprint(*BASE) == fingerprint(
        "dpo_model", "1", {"lr": 0.1}, {"preference_dataset": ["p"]}
    )


@pytest.mark.parametrize(
    "other",
    [
        ("reward_model", "1", {"lr": 0.1}, {"preference_dataset": ["p"]}),
        ("dpo_model", "2", {"lr": 0.1}, {"preference_dataset": ["p"]}),
        ("dpo_model", "1", {"lr": 0.2}, {"preference_dataset": ["p"]}),
        ("dpo_model", "1", {"lr": 0.1}, {"preference_dataset": ["q"]}),
        ("dpo_model", "1", {"lr": 0.1}, {"preference_dataset": ["p"]}, 1),
    ],
)
def test_every_part_of_a_recipe_counts(other: tuple) -> None:
    assert fingerprint(*BASE) != fingerprint(*other)


def test_order_does_not_count() -> None:
    one = fingerprint("a", "1", {"x": 1, "y": 2}, {"completions": ["p", "q"]})
    assert one == fingerprint("a", "1", {"y": 2, "x": 1}, {"completions": ["q", "p"]})


def test_nan_has_no_identity() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"lr": float("nan")})
