"""Which prompts a batch is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from activeuf_core.config import parse
from activeuf_core.loop.config import LoopConfig
from activeuf_core.loop.prompt_order import PromptOrder, widest_bounds

ADAPTIVE: dict[str, Any] = {"prompt_selection": "most_uncertain", "prompts_scored": 8}


def order_of(num_prompts: int = 20, **changes: Any) -> PromptOrder:
    raw = {"acquisition": {"method": "random"}, "batch_size": 3, **changes}
    return PromptOrder(parse(LoopConfig, raw, "test.yaml"), num_prompts)


def own_number(prompts: Any) -> Any:
    """Stand for an ENN that is the less sure the later a prompt stands in the pool."""
    return prompts.astype(np.float32)


def never(prompts: Any) -> Any:
    raise AssertionError("nothing is to be scored")


def all_batches(order: PromptOrder, uncertainty_of: Any) -> list[list[int]]:
    return [order.take(index, uncertainty_of).prompts.tolist() for index in range(7)]


@pytest.mark.parametrize("rule", ["shuffled", "in_order", "most_uncertain"])
def test_every_prompt_comes_once(rule: str) -> None:
    changes: dict[str, Any] = ADAPTIVE if rule == "most_uncertain" else {"prompt_selection": rule}
    batches = all_batches(order_of(**changes), own_number)
    assert [len(batch) for batch in batches] == [3, 3, 3, 3, 3, 3, 2]
    assert sorted(prompt for batch in batches for prompt in batch) == list(range(20))


def test_fixed_orders_score_nothing() -> None:
    assert all_batches(order_of(prompt_selection="in_order"), never)[1] == [3, 4, 5]
    shuffled = all_batches(order_of(), never)
    assert shuffled == all_batches(order_of(), never) != all_batches(order_of(seed=5), never)


def test_the_most_uncertain_of_those_scored_are_taken_the_least_sure_first() -> None:
    seen = []

    def noted(prompts: Any) -> Any:
        seen.append(prompts.tolist())
        return own_number(prompts)

    taken = order_of(**ADAPTIVE).take(0, noted)
    assert len(set(seen[0])) == 8
    assert taken.prompts.tolist() == sorted(seen[0], reverse=True)[:3]
    assert taken.metrics["prompts_scored"] == 8
    assert taken.metrics["mean_prompt_uncertainty_per_batch"] == np.mean(seen[0])
    assert taken.metrics["mean_taken_prompt_uncertainty_per_batch"] == taken.prompts.mean()


def test_prompts_scored_are_drawn_anew_for_each_batch() -> None:
    order, seen = order_of(100, **ADAPTIVE), []
    for index in range(3):
        order.take(index, lambda prompts: seen.append(set(prompts.tolist())) or own_number(prompts))
    assert len(seen[0] & seen[1]) < 5 and seen[1] != seen[2]


@pytest.mark.parametrize("num_done", [1, 2, 3, 4, 5, 6])
def test_a_restored_order_goes_on_alike(num_done: int) -> None:
    whole, first, second = (order_of(**ADAPTIVE) for _ in range(3))
    expected = all_batches(whole, own_number)
    for index in range(num_done):
        first.take(index, own_number)
    second.restore(first.state())
    rest = [second.take(index, own_number).prompts.tolist() for index in range(num_done, 7)]
    assert rest == expected[num_done:]


def test_fixed_orders_have_no_state() -> None:
    assert order_of().state() == order_of(prompt_selection="in_order").state() == {}


def test_uncertainty_is_the_widest_of_the_completions_that_exist() -> None:
    lower_PC, upper_PC = np.zeros((2, 3)), np.array([[1.0, 3.0, 2.0], [1.0, 2.0, 9.0]])
    mask_PC = np.array([[True, True, True], [True, True, False]])
    assert widest_bounds(lower_PC, upper_PC, mask_PC).tolist() == [3.0, 2.0]
