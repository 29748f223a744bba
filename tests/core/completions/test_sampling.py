"""Sampling: the right distribution, and draws that do not depend on neighbours."""

from __future__ import annotations

import pytest
import torch

from activeuf_core.completions.sampling import OwnNumbers, choose_tokens, uniforms
from activeuf_core.errors import DataError

MASS_V = torch.tensor([0.1, 0.0, 0.5, 0.4])
LOGITS_V = MASS_V.log()


def choose(numbers: list[float], temperature: float = 1.0, top_p: float = 1.0) -> list[int]:
    numbers_B = torch.tensor(numbers, dtype=torch.float64)
    return choose_tokens(LOGITS_V.expand(len(numbers), -1), numbers_B, temperature, top_p).tolist()


def test_number_picks_the_token_at_its_place_in_the_distribution() -> None:
    assert choose([0.0, 0.09, 0.11, 0.59, 0.61, 0.999]) == [0, 0, 2, 2, 3, 3]


def test_top_p_leaves_the_fewest_likeliest_tokens() -> None:
    assert set(choose([i / 100 for i in range(100)], top_p=0.45)) == {2}
    assert set(choose([i / 100 for i in range(100)], top_p=0.6)) == {2, 3}


def test_zero_temperature_is_greedy_and_a_high_one_flattens() -> None:
    assert choose([0.0, 0.99], temperature=0.0) == [2, 2]
    assert choose([0.3], temperature=100.0) == [0]


def test_frequencies_follow_the_distribution() -> None:
    numbers = uniforms(0, "m", ["p"], 20_000)[0].tolist()
    shares_V = torch.bincount(torch.tensor(choose(numbers)), minlength=4) / len(numbers)
    assert torch.allclose(shares_V, MASS_V, atol=0.01)


def test_numbers_belong_to_the_prompt_not_to_the_batch() -> None:
    together, alone = uniforms(0, "m", ["p", "q"], 8), uniforms(0, "m", ["q"], 5)
    assert torch.equal(together[1, :5], alone[0])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(uniforms(0, "other", ["q"], 5), alone)


def test_processor_leaves_one_token() -> None:
    chooser = OwnNumbers(torch.tensor([[0.9, 0.05]]), prompt_width=3, temperature=1.0, top_p=1.0)
    first = chooser(torch.zeros(1, 3), LOGITS_V[None])
    second = chooser(torch.zeros(1, 4), LOGITS_V[None])
    assert [scores.isfinite().nonzero()[0, 1].item() for scores in (first, second)] == [3, 0]


def test_nan_logits_are_refused() -> None:
    with pytest.raises(DataError, match="NaN instead of logits"):
        choose_tokens(torch.tensor([[0.0, float("nan")]]), torch.zeros(1), 0.0, 1.0)
