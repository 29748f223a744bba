"""Properties that every acquisition function has, whatever its rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from activeuf_core.acquisition import config as settings
from activeuf_core.acquisition.base import Bounds
from activeuf_core.acquisition.registry import ACQUISITION_FUNCTIONS, build
from activeuf_core.errors import DataError

VARIANTS: list[settings.MethodConfig] = [
    *(method.config() for method in ACQUISITION_FUNCTIONS.values()),
    settings.DTSConfig(noise="uniform"),
    settings.DTSConfig(compat="upstream", max_iterations=3),
    settings.DRTSConfig(noise="uniform", compat="upstream", max_iterations=30),
    settings.InfoGainConfig(noise="uniform", ucb_beta=2.0),
    settings.IDSConfig(compat="upstream"),
    settings.RUCBConfig(compat="upstream"),
    settings.UltraFeedbackConfig(compat="upstream"),
    settings.DeltaQuantileConfig(quantile=0.3, epsilon=0.1),
]
DETERMINISTIC = [
    settings.MaxMinConfig(),
    settings.InfoMaxConfig(),
    settings.IDSConfig(),
    settings.IDSConfig(compat="upstream"),
    settings.MaxMinLCBConfig(),
    settings.DeltaUCBConfig(),
    settings.DeltaQuantileConfig(),
]
every_variant = pytest.mark.parametrize("config", VARIANTS, ids=str)


def take(bounds: Bounds, rows: np.ndarray, columns: np.ndarray | None = None) -> Bounds:
    """Some prompts of a batch, with their completions in another order."""
    columns = np.arange(bounds.mask_PC.shape[1]) if columns is None else columns
    arrays = {
        field: getattr(bounds, field)[..., rows, :][..., columns]
        for field in (field.name for field in dataclasses.fields(bounds))
        if field.endswith("C")
    }
    prompt_ids = np.array(bounds.prompt_ids)[rows].tolist()
    return Bounds(**arrays, prompt_ids=prompt_ids)


@every_variant
@pytest.mark.parametrize("keep", [1.0, 0.4])
def test_pairs_are_two_different_real_completions(
    bounds_of: Callable[..., Bounds],
    stream_of: Callable,
    config: settings.MethodConfig,
    keep: float,
) -> None:
    bounds = bounds_of(200, keep=keep)
    pairs_P2 = build(config).select(bounds, stream_of(bounds))
    assert pairs_P2.shape == (200, 2)
    assert pairs_P2.dtype == np.int64
    assert (pairs_P2[:, 0] != pairs_P2[:, 1]).all()
    assert np.take_along_axis(bounds.mask_PC, pairs_P2, axis=1).all()


@every_variant
def test_two_completions_leave_one_pair(
    bounds_of: Callable[..., Bounds], stream_of: Callable, config: settings.MethodConfig
) -> None:
    bounds = bounds_of(100, 2)
    pairs_P2 = build(config).select(bounds, stream_of(bounds))
    assert (np.sort(pairs_P2, axis=1) == [0, 1]).all()


@every_variant
def test_a_prompt_gets_the_same_pair_in_any_batch(
    bounds_of: Callable[..., Bounds], stream_of: Callable, config: settings.MethodConfig
) -> None:
    bounds = bounds_of(60, keep=0.6)
    whole = build(config).select(bounds, stream_of(bounds))
    rows = np.array([41, 3, 59, 8])
    part = take(bounds, rows)
    np.testing.assert_array_equal(build(config).select(part, stream_of(part)), whole[rows])


@every_variant
def test_padding_changes_nothing(
    bounds_of: Callable[..., Bounds], stream_of: Callable, config: settings.MethodConfig
) -> None:
    bounds = bounds_of(40)
    columns = np.r_[np.arange(8), [0, 3, 5]]
    padded = take(bounds, np.arange(40), columns)
    padded.mask_PC[:, 8:] = False
    wide = dataclasses.replace(padded, mean_PC=np.where(padded.mask_PC, padded.mean_PC, np.nan))
    np.testing.assert_array_equal(
        build(config).select(wide, stream_of(wide)), build(config).select(bounds, stream_of(bounds))
    )


@pytest.mark.parametrize("config", DETERMINISTIC, ids=str)
def test_deterministic_rules_follow_a_permutation_of_the_completions(
    bounds_of: Callable[..., Bounds], stream_of: Callable, config: settings.MethodConfig
) -> None:
    bounds = bounds_of(150)
    columns = np.random.default_rng(1).permutation(8)
    if config == settings.IDSConfig(compat="upstream"):
        columns[columns == 0], columns[0] = columns[0], 0  # completion 0 is special there
    moved = take(bounds, np.arange(150), columns)
    selected = columns[build(config).select(moved, stream_of(moved))]
    expected = build(config).select(bounds, stream_of(bounds))
    np.testing.assert_array_equal(np.sort(selected, axis=1), np.sort(expected, axis=1))


@pytest.mark.parametrize("config", DETERMINISTIC, ids=str)
def test_deterministic_rules_do_not_read_the_stream(
    bounds_of: Callable[..., Bounds], stream_of: Callable, config: settings.MethodConfig
) -> None:
    bounds = bounds_of(50)
    select = build(config).select
    np.testing.assert_array_equal(
        select(bounds, stream_of(bounds, 0)), select(bounds, stream_of(bounds, 1, 9))
    )


@pytest.mark.parametrize(
    "config",
    [settings.RandomConfig(), settings.DTSConfig(), settings.RUCBConfig()],
    ids=str,
)
def test_random_rules_follow_seed_and_batch(
    bounds_of: Callable[..., Bounds], stream_of: Callable, config: settings.MethodConfig
) -> None:
    bounds = bounds_of(200)
    select = build(config).select
    first = select(bounds, stream_of(bounds, 0))
    np.testing.assert_array_equal(select(bounds, stream_of(bounds, 0)), first)
    assert (select(bounds, stream_of(bounds, 1)) != first).any()
    assert (select(bounds, stream_of(bounds, 0, 1)) != first).any()


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (settings.DTSConfig(), "heads_EPC"),
        (settings.MaxMinConfig(), "overall_score_PC"),
        (settings.UltraFeedbackConfig(), "overall_score_PC"),
        (settings.DeltaQwenConfig(), "completion_models_PC"),
    ],
)
def test_a_missing_input_is_named(
    bounds_of: Callable[..., Bounds],
    stream_of: Callable,
    config: settings.MethodConfig,
    field: str,
) -> None:
    bounds = dataclasses.replace(bounds_of(3), **{field: None})
    with pytest.raises(DataError, match=f"needs Bounds.{field}"):
        build(config).select(bounds, stream_of(bounds))


def test_bounds_and_stream_must_agree(
    bounds_of: Callable[..., Bounds], stream_of: Callable
) -> None:
    with pytest.raises(DataError, match="stream is for 4 prompts, the bounds hold 3"):
        build(settings.RandomConfig()).select(bounds_of(3), stream_of(bounds_of(4)))


def test_names_and_configs_agree() -> None:
    for name, method in ACQUISITION_FUNCTIONS.items():
        assert method.config().method == name
        assert method.rule.__doc__
