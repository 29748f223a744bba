"""Features on disk: bfloat16 is torch's, the others are NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from activeuf_core.features.precision import BFLOAT16, decode, encode, precision_of


def numbers() -> np.ndarray:
    drawn = np.random.default_rng(0).standard_normal(4096).astype(np.float32)
    edges = [0.0, -0.0, 1.00390625, 1.01171875, 3.4e38, 1e-40, np.inf, -np.inf, np.nan]
    return np.concatenate([drawn, drawn * 1e30, np.array(edges, dtype=np.float32)])


def test_bfloat16_is_rounded_as_torch_does() -> None:
    values = numbers()
    expected = torch.from_numpy(values).bfloat16()
    np.testing.assert_array_equal(decode(encode(values, "bfloat16")), expected.float().numpy())


def test_a_value_beyond_the_precision_becomes_infinite() -> None:
    assert np.isinf(encode(np.float32([7e4]), "float16"))
    assert np.isinf(decode(encode(np.float32([3.4e38]), "bfloat16")))


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_type_on_disk_tells_its_precision(precision: str) -> None:
    stored = encode(np.ones(3, dtype=np.float32), precision)
    assert precision_of(stored.dtype) == precision
    np.testing.assert_array_equal(decode(stored), np.ones(3))


def test_no_other_type_is_of_features() -> None:
    assert precision_of(np.dtype(np.float64)) is None
    assert precision_of(BFLOAT16) == "bfloat16"
