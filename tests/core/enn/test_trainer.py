"""The ENN against a plain loop over heads with autograd; restoring; what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from activeuf_core.enn.base import RewardUncertainty
from activeuf_core.enn.bootstrap import bootstrap_weights
from activeuf_core.enn.config import ENNConfig, ExponentialDecay, LinearDecay
from activeuf_core.enn.trainer import EnsembleENN
from activeuf_core.errors import DataError
from activeuf_core.seeding import derive_seed
from tests.core.enn.conftest import Comparisons, make_comparisons

SMALL = ENNConfig(num_heads=3, hidden_sizes=(5, 4), learning_rate=0.01, batch_size=8)
VARIANTS = {
    "init": SMALL,
    "bootstrap": SMALL.model_copy(update={"head_diversity": "bootstrap"}),
    "prior": SMALL.model_copy(update={"head_diversity": "prior", "prior_scale": 0.7}),
    "strong_pull": SMALL.model_copy(
        update={"regularization": ExponentialDecay(initial_value=50.0, decay_base=0.999)}
    ),
    "mean_pull": SMALL.model_copy(
        update={"regularization": LinearDecay(initial_value=9.0, normalisation="mean")}
    ),
    "decay": SMALL.model_copy(update={"weight_decay": 0.1, "lr_schedule": "run"}),
    "clipped": SMALL.model_copy(update={"max_grad_norm": 0.05}),
}
every_variant = pytest.mark.parametrize("name", VARIANTS)


def train(model: RewardUncertainty, data: Comparisons, progress: float = 0.01) -> dict[str, float]:
    """Update on all pairs."""
    return model.update(
        data.chosen_ND, data.rejected_ND, pair_ids_N=data.pair_ids_N, progress=progress
    )


class Head:
    """One head as plain tensors: what the stacked module must agree with."""

    def __init__(self, state: dict[str, torch.Tensor], head: int, part: str = "network") -> None:
        self.weights = [
            state[f"{part}.weights.{layer}"][head].clone().requires_grad_() for layer in range(3)
        ]
        self.biases = [
            state[f"{part}.biases.{layer}"][head, :, 0].clone().requires_grad_()
            for layer in range(2)
        ]
        self.parameters = [*self.weights, *self.biases]
        self.start = [weight.detach().clone() for weight in self.parameters]

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        for weight, bias in zip(self.weights[:2], self.biases, strict=True):
            rows = torch.relu(rows @ weight.T + bias)
        return rows @ self.weights[2][0]

    def distance(self) -> torch.Tensor:
        """Sum of squares to the initial weights."""
        pairs = zip(self.parameters, self.start, strict=True)
        return torch.stack([(now - start).square().sum() for now, start in pairs]).sum()


def reference_weights(config: ENNConfig, data: Comparisons, progress: float) -> list[torch.Tensor]:
    """First-layer weights of every head after one update, one head and one pair at a time."""
    state = EnsembleENN(config, 6, seed=4).state_dict()
    heads = [Head(state, head) for head in range(config.num_heads)]
    priors = [Head(state, head, "prior") for head in range(config.num_heads) if config.prior_scale]
    weights = bootstrap_weights(derive_seed(4, "enn", "bootstrap"), data.pair_ids_N, 3)
    parameters = [parameter for head in heads for parameter in head.parameters]
    optimizer = torch.optim.AdamW(parameters, weight_decay=config.weight_decay)
    chosen, rejected = torch.from_numpy(data.chosen_ND), torch.from_numpy(data.rejected_ND)
    num_steps = -(-len(chosen) // config.batch_size)
    pull = config.regularization
    lam = pull.initial_value * (
        pull.decay_base ** (4308 * progress) if isinstance(pull, ExponentialDecay) else 1 - progress
    )
    for step in range(num_steps):
        rows = range(step * config.batch_size, min((step + 1) * config.batch_size, len(chosen)))
        loss = torch.zeros(())
        for e, head in enumerate(heads):
            for n in rows:
                scores = [
                    head(x) + (config.prior_scale * priors[e](x) if config.prior_scale else 0)
                    for x in (chosen[n], rejected[n])
                ]
                weight = weights[e, n] if config.head_diversity == "bootstrap" else 1.0
                loss = loss + weight * softplus(scores[1] - scores[0]) / len(rows) / 3
                loss = loss + 0.01 * (scores[0] + scores[1]) ** 2 / len(rows) / 3
            size = sum(p.numel() for p in head.parameters) if pull.normalisation == "mean" else 1
            loss = loss + lam * head.distance() / size / 3
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        done = progress if config.lr_schedule == "run" else step / num_steps
        optimizer.param_groups[0]["lr"] = 0.01 * 0.5 * (1 + np.cos(np.pi * done))
        optimizer.step()
    return [head.weights[0].detach() for head in heads]


@every_variant
def test_training_agrees_with_a_loop_over_heads(name: str) -> None:
    data, config = make_comparisons(20), VARIANTS[name]
    model = EnsembleENN(config, 6, seed=4)
    before = model.state_dict()["network.weights.0"]
    train(model, data, progress=0.002)
    after = model.state_dict()["network.weights.0"]
    assert (after - before).abs().max() > 1e-3
    expected = torch.stack(reference_weights(config, data, 0.002))
    torch.testing.assert_close(after, expected, atol=2e-5, rtol=1e-4)


@every_variant
def test_a_restored_model_goes_on_to_the_byte(
    name: str, comparisons: Comparisons, tmp_path: Path
) -> None:
    config = VARIANTS[name]
    model = EnsembleENN(config, 6, seed=4)
    train(model, comparisons)
    torch.save(model.state_dict(), tmp_path / "enn.pt")
    copy = EnsembleENN(config, 6, seed=99 if name == "init" else 4)
    copy.load_state_dict(torch.load(tmp_path / "enn.pt"))
    assert train(model, comparisons, 0.02) == train(copy, comparisons, 0.02)
    one, two = model.state_dict(), copy.state_dict()
    assert all(torch.equal(tensor, two[key]) for key, tensor in one.items())


def test_a_state_is_a_copy(comparisons: Comparisons) -> None:
    model = EnsembleENN(SMALL, 6, seed=4)
    state = model.state_dict()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    train(model, comparisons)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in state.items())


def test_the_same_seed_gives_the_same_model(comparisons: Comparisons) -> None:
    one, same, other = (EnsembleENN(SMALL, 6, seed) for seed in (4, 4, 5))
    assert train(one, comparisons) == train(same, comparisons)
    assert train(one, comparisons) != train(other, comparisons)


def test_bounds_are_mean_and_deviation_over_heads() -> None:
    features = np.random.default_rng(0).normal(size=(4, 3, 6)).astype(np.float16)
    estimate = EnsembleENN(SMALL.model_copy(update={"bound_scale": 2.0}), 6, seed=4).bounds(
        features
    )
    half = 2.0 * estimate.heads_EPC.std(axis=0, ddof=1)
    assert estimate.heads_EPC.shape == (3, 4, 3)
    assert estimate.mean_PC.dtype == np.float32
    np.testing.assert_allclose(estimate.mean_PC, estimate.heads_EPC.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(estimate.upper_PC - estimate.mean_PC, half, atol=1e-6)
    np.testing.assert_allclose(estimate.mean_PC - estimate.lower_PC, half, atol=1e-6)


def test_passes_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(0).normal(size=(5, 3, 6)).astype(np.float32)
    model = EnsembleENN(SMALL, 6, seed=4)
    whole = model.bounds(features).heads_EPC
    monkeypatch.setattr("activeuf_core.enn.trainer.ROWS_PER_PASS", 4)
    np.testing.assert_allclose(model.bounds(features).heads_EPC, whole, atol=1e-6)


def test_a_read_only_memory_map_is_read(tmp_path: Path, comparisons: Comparisons) -> None:
    np.save(tmp_path / "features.npy", comparisons.chosen_ND)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    model = EnsembleENN(SMALL, 6, seed=4)
    np.testing.assert_array_equal(
        model.bounds(mapped).mean_PC, model.bounds(comparisons.chosen_ND).mean_PC
    )


def test_updates_stop_at_max_steps(comparisons: Comparisons) -> None:
    config = SMALL.model_copy(update={"max_steps": 2})
    assert train(EnsembleENN(SMALL, 6, seed=4), comparisons)["train_steps"] == 7
    model, same = EnsembleENN(config, 6, seed=4), EnsembleENN(config, 6, seed=4)
    assert train(model, comparisons)["train_steps"] == 2
    first = slice(0, 16)
    train(same, Comparisons(comparisons.chosen_ND[first], comparisons.rejected_ND[first],
                            comparisons.pair_ids_N[first]))  # fmt: skip
    assert torch.equal(
        model.state_dict()["network.weights.0"], same.state_dict()["network.weights.0"]
    )


def test_training_learns_and_shrinks_the_loss() -> None:
    data = make_comparisons(400, signal=5.0)
    model = EnsembleENN(SMALL, 6, seed=4)
    first = train(model, data, progress=0.5)
    for _ in range(5):
        last = train(model, data, progress=0.5)
    assert last["loss"] < first["loss"]
    assert last["win_rate"] > 0.9
    assert last["reward_margin"] > first["reward_margin"]


def test_a_strong_pull_keeps_weights_near_their_start(comparisons: Comparisons) -> None:
    far, near = EnsembleENN(SMALL, 6, seed=4), EnsembleENN(VARIANTS["strong_pull"], 6, seed=4)
    for _ in range(5):
        train(far, comparisons, 0.5)
        metrics = train(near, comparisons, 0.0)
    moved = [
        (model.state_dict()["network.weights.0"] - model.state_dict()["initial.0"]).norm()
        for model in (far, near)
    ]
    assert moved[1] < 0.2 * moved[0]
    assert metrics["regularization_weight"] == 50.0
    assert metrics["loss_initial_weights"] > 0


def test_bfloat16_is_close_to_float32(comparisons: Comparisons) -> None:
    model = EnsembleENN(SMALL.model_copy(update={"dtype": "bfloat16"}), 6, seed=4)
    exact = EnsembleENN(SMALL, 6, seed=4)
    assert train(model, comparisons)["loss"] == pytest.approx(
        train(exact, comparisons)["loss"], 0.02
    )
    assert model.state_dict()["network.weights.0"].dtype == torch.float32


@pytest.mark.parametrize("side", ["chosen_ND", "rejected_ND"])
def test_features_that_are_not_finite_are_refused(comparisons: Comparisons, side: str) -> None:
    getattr(comparisons, side)[7, 2] = np.nan
    model = EnsembleENN(SMALL, 6, seed=4)
    before = model.state_dict()
    with pytest.raises(DataError, match=f"{side[:-3]} features of pair 107 are NaN"):
        train(model, comparisons)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_huge_features_are_not_taken_for_infinite(comparisons: Comparisons) -> None:
    huge = replace(comparisons, chosen_ND=np.full_like(comparisons.chosen_ND, 3e38))
    with pytest.raises(DataError, match="diverged"):
        train(EnsembleENN(SMALL, 6, seed=4), huge)


def test_shapes_and_emptiness_are_refused(comparisons: Comparisons) -> None:
    model = EnsembleENN(SMALL, 5, seed=4)
    with pytest.raises(DataError, match=r"shape \(50, 6\).* expected \(N, 5\)"):
        train(model, comparisons)
    with pytest.raises(DataError, match="N at least 1"):
        train(EnsembleENN(SMALL, 6, seed=4), make_comparisons(0))


def test_divergence_is_an_error(comparisons: Comparisons) -> None:
    wild = replace(comparisons, chosen_ND=comparisons.chosen_ND * np.float32(1e30))
    with pytest.raises(DataError, match=r"training the ENN diverged.*enn\.learning_rate"):
        train(EnsembleENN(SMALL, 6, seed=4), wild)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_sizes": (5, 5)}, "has shape"),
        ({"head_diversity": "prior", "prior_scale": 1.0}, "lacks the tensor 'prior"),
    ],
)
def test_a_state_of_another_config_is_refused(change: dict[str, object], message: str) -> None:
    state = EnsembleENN(SMALL, 6, seed=4).state_dict()
    other = EnsembleENN(SMALL.model_copy(update=change), 6, seed=4)
    with pytest.raises(DataError, match=message):
        other.load_state_dict(state)


def test_an_unknown_tensor_in_a_state_is_refused() -> None:
    model = EnsembleENN(SMALL, 6, seed=4)
    with pytest.raises(DataError, match="unknown tensor 'extra'"):
        model.load_state_dict(model.state_dict() | {"extra": torch.zeros(1)})
