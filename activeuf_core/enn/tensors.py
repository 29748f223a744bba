"""Tensors at the contract's border: features in, finite pairs, fitting states. Heavy: needs torch.

In: features and states from outside. Out: tensors, or an error that says what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from activeuf_core.enn.base import Features
from activeuf_core.errors import DataError


def as_tensor(features: Features) -> torch.Tensor:
    """Turn features into a tensor, copied only if they are read-only, as a tensor cannot be."""
    if isinstance(features, torch.Tensor):
        return features
    return torch.from_numpy(features if features.flags.writeable else features.copy())


def pieces(features: Features, size: int) -> Iterator[torch.Tensor]:
    """Cut features along the first axis; a memory map is read one piece at a time."""
    for start in range(0, len(features), size):
        yield as_tensor(features[start : start + size])


def require_pairs(
    chosen_ND: torch.Tensor, rejected_ND: torch.Tensor, pair_ids_N: NDArray[np.int64], size: int
) -> None:
    """Check the comparisons of an update.

    Raises: DataError when there are none, when the shapes differ from (N, size), or when a feature
        is not finite, naming the pair.
    """
    expected = (len(pair_ids_N), size)
    if (
        not len(pair_ids_N)
        or tuple(chosen_ND.shape) != expected
        or tuple(rejected_ND.shape) != expected
    ):
        raise DataError(
            f"an update got chosen features of shape {tuple(chosen_ND.shape)}, rejected features "
            f"of shape {tuple(rejected_ND.shape)} and {len(pair_ids_N)} pair ids; expected "
            f"(N, {size}), twice, and N ids, N at least 1."
        )
    for side, features_ND in (("chosen", chosen_ND), ("rejected", rejected_ND)):
        # The least and the greatest are finite exactly when all are: NaN makes both NaN.
        least, greatest = torch.aminmax(features_ND)
        if not (torch.isfinite(least) and torch.isfinite(greatest)):
            wrong = torch.nonzero(~torch.isfinite(features_ND).all(dim=1)).flatten()
            raise DataError(
                f"the {side} features of pair {pair_ids_N[int(wrong[0])]} are NaN or infinite "
                f"({len(wrong)} such pairs). Extract its features again."
            )


def require_same_layout(
    state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> None:
    """Check that a state has exactly the expected tensors.

    Raises: DataError naming a tensor that is missing, unknown or of another shape.
    """
    for name in sorted(expected.keys() ^ state.keys()):
        what = "lacks the" if name in expected else "has an unknown"
        raise DataError(
            f"the state of the reward model {what} tensor {name!r}; was its config changed?"
        )
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise DataError(
                f"tensor {name!r} in the state of the reward model has shape "
                f"{tuple(state[name].shape)}, expected {tuple(tensor.shape)}; was its config "
                "changed?"
            )
