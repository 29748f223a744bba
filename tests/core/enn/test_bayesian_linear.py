"""The Bayesian linear head against brute-force numpy; restoring; what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from activeuf_core.enn.bayesian_linear import BayesianLinear
from activeuf_core.enn.config import BayesianLinearConfig
from activeuf_core.errors import DataError
from tests.core.enn.conftest import Comparisons, make_comparisons

CONFIG = BayesianLinearConfig(prior_precision=0.5, bound_scale=2.0)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def brute_force(data: Comparisons, precision: float) -> tuple[np.ndarray, np.ndarray]:
    """Mode and inverse Hessian by many small gradient steps."""
    z = unit(data.chosen_ND.astype(float)) - unit(data.rejected_ND.astype(float))
    mode = np.zeros(z.shape[1])
    for _ in range(20000):
        mode -= 0.01 * (precision * mode - z.T @ (1 / (1 + np.exp(z @ mode))))
    p = 1 / (1 + np.exp(-z @ mode))
    return mode, np.linalg.inv(z.T @ np.diag(p * (1 - p)) @ z + precision * np.eye(len(mode)))


def fitted(data: Comparisons, config: BayesianLinearConfig = CONFIG) -> BayesianLinear:
    """A model after one update."""
    model = BayesianLinear(config, data.chosen_ND.shape[1], seed=4)
    model.update(data.chosen_ND, data.rejected_ND, pair_ids_N=data.pair_ids_N, progress=0.0)
    return model


def test_posterior_agrees_with_brute_force(comparisons: Comparisons) -> None:
    mode, covariance = brute_force(comparisons, 0.5)
    state = fitted(comparisons).state_dict()
    np.testing.assert_allclose(state["mode"], mode, atol=1e-4)
    factor = state["precision_factor"].numpy()
    np.testing.assert_allclose(np.linalg.inv(factor @ factor.T), covariance, rtol=1e-3, atol=1e-5)


def test_bounds_are_those_of_the_difference_to_the_prompts_mean(comparisons: Comparisons) -> None:
    features = np.random.default_rng(1).normal(size=(3, 4, 6)).astype(np.float32)
    mode, covariance = brute_force(comparisons, 0.5)
    x = unit(features) - unit(features).mean(axis=1, keepdims=True)
    half = 2.0 * np.sqrt(np.einsum("pcd,de,pce->pc", x, covariance, x))
    estimate = fitted(comparisons).bounds(features)
    np.testing.assert_allclose(estimate.mean_PC, x @ mode, atol=1e-4)
    np.testing.assert_allclose(estimate.upper_PC, x @ mode + half, atol=1e-3)
    np.testing.assert_allclose(estimate.lower_PC, x @ mode - half, atol=1e-3)


def test_padding_does_not_enter_the_prompts_mean(comparisons: Comparisons) -> None:
    features = np.random.default_rng(1).normal(size=(2, 4, 6)).astype(np.float32)
    padded = np.concatenate([features, np.full((2, 2, 6), np.nan, dtype=np.float32)], axis=1)
    mask = np.arange(6) < np.full((2, 1), 4)
    model = fitted(comparisons)
    expected, estimate = model.bounds(features), model.bounds(padded, mask)
    np.testing.assert_allclose(estimate.upper_PC[:, :4], expected.upper_PC, atol=1e-6)
    np.testing.assert_allclose(estimate.heads_EPC[..., :4], expected.heads_EPC, atol=1e-6)
    assert np.isfinite(estimate.upper_PC).all()


def test_draws_have_the_posteriors_mean_and_width(comparisons: Comparisons) -> None:
    features = np.random.default_rng(1).normal(size=(2, 3, 6)).astype(np.float32)
    many = fitted(comparisons, CONFIG.model_copy(update={"num_draws": 20000}))
    estimate = many.bounds(features)
    half = (estimate.upper_PC - estimate.lower_PC) / 2
    np.testing.assert_allclose(estimate.heads_EPC.mean(axis=0), estimate.mean_PC, atol=0.04)
    np.testing.assert_allclose(2.0 * estimate.heads_EPC.std(axis=0), half, rtol=0.03)


def test_draws_are_fixed_between_updates_and_new_after_one(comparisons: Comparisons) -> None:
    features = np.random.default_rng(1).normal(size=(2, 3, 6)).astype(np.float32)
    model = fitted(comparisons)
    first = model.bounds(features).heads_EPC
    np.testing.assert_array_equal(model.bounds(features[:1]).heads_EPC, first[:, :1])
    data = comparisons
    model.update(data.chosen_ND, data.rejected_ND, pair_ids_N=data.pair_ids_N, progress=0.0)
    assert (model.bounds(features).heads_EPC != first).any()


def test_more_pairs_mean_narrower_bounds() -> None:
    features = np.random.default_rng(1).normal(size=(3, 4, 6)).astype(np.float32)
    widths = [
        fitted(make_comparisons(num)).bounds(features).upper_PC
        - fitted(make_comparisons(num)).bounds(features).lower_PC
        for num in (20, 200, 2000)
    ]
    assert (widths[0] > widths[1]).all()
    assert (widths[1] > widths[2]).all()


def test_an_untrained_model_has_the_priors_bounds() -> None:
    estimate = BayesianLinear(CONFIG, 2, seed=0).bounds(np.eye(2, dtype=np.float32)[None])
    # The two unit vectors lie sqrt(1/2) from their mean; the prior's deviation is 1 / sqrt(0.5).
    np.testing.assert_allclose(estimate.upper_PC, [[2.0, 2.0]], rtol=1e-6)
    assert not estimate.mean_PC.any()


def test_an_update_converges_and_says_so(comparisons: Comparisons) -> None:
    model = BayesianLinear(CONFIG, 6, seed=4)
    arguments = (comparisons.chosen_ND, comparisons.rejected_ND)
    first = model.update(*arguments, pair_ids_N=comparisons.pair_ids_N, progress=0.0)
    again = model.update(*arguments, pair_ids_N=comparisons.pair_ids_N, progress=0.5)
    assert 0 < first["train_steps"] < 10
    assert again["train_steps"] == 0
    assert first["newton_decrement"] < CONFIG.tolerance
    assert first["loss"] < np.log(2)


def test_separable_pairs_have_a_finite_mode() -> None:
    chosen = np.tile(np.eye(2, dtype=np.float32)[0], (500, 1))
    data = Comparisons(chosen, chosen[:, ::-1].copy(), np.arange(500))
    state = fitted(data, BayesianLinearConfig(prior_precision=1e-4)).state_dict()
    assert torch.isfinite(state["mode"]).all()
    assert state["mode"][0] > 3


def test_an_update_finds_its_way_from_a_mode_far_off(comparisons: Comparisons) -> None:
    model = BayesianLinear(CONFIG, 6, seed=4)
    far = model.state_dict()["mode"] + 200.0
    model.load_state_dict(model.state_dict() | {"mode": far})
    arguments = (comparisons.chosen_ND, comparisons.rejected_ND)
    metrics = model.update(*arguments, pair_ids_N=comparisons.pair_ids_N, progress=0.0)
    assert metrics["newton_decrement"] < CONFIG.tolerance
    mode, _ = brute_force(comparisons, 0.5)
    np.testing.assert_allclose(model.state_dict()["mode"], mode, atol=1e-3)


def test_a_restored_model_goes_on_to_the_byte(comparisons: Comparisons) -> None:
    model, copy = fitted(comparisons), BayesianLinear(CONFIG, 6, seed=4)
    copy.load_state_dict(model.state_dict())
    more = make_comparisons(80)
    for one in (model, copy):
        one.update(more.chosen_ND, more.rejected_ND, pair_ids_N=more.pair_ids_N, progress=0.1)
    state, other = model.state_dict(), copy.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in state.items())
    features = np.random.default_rng(1).normal(size=(2, 3, 6)).astype(np.float32)
    np.testing.assert_array_equal(model.bounds(features).heads_EPC, copy.bounds(features).heads_EPC)


def test_bad_input_is_refused(comparisons: Comparisons) -> None:
    comparisons.rejected_ND[3, 0] = np.inf
    with pytest.raises(DataError, match="rejected features of pair 103"):
        fitted(comparisons)
    with pytest.raises(DataError, match="lacks the tensor 'mode'"):
        BayesianLinear(CONFIG, 6, seed=4).load_state_dict({})
