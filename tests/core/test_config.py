"""What a wrong config is told: the key, its value, and where it should have stood."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.config import parse
from activeuf_core.errors import ConfigError
from activeuf_core.loop.config import LoopConfig


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            {"acquisition": {"method": "dtss"}},
            "key 'acquisition.method' has the value 'dtss'; did you mean 'dts'? allowed: ",
        ),
        (
            {"acquisition": {"noise": "heads"}},
            "key 'acquisition.method' is missing: it says which settings 'acquisition' takes.",
        ),
        (
            {"acquisition": {"method": "dts", "ucb_bta": 1}},
            "unknown key 'acquisition.ucb_bta' (value 1); did you mean 'ucb_beta'? allowed: ",
        ),
        (
            {"acquisition": {"method": "dts"}, "enn": {"decay_base": 0.9}},
            "unknown key 'enn.decay_base' (value 0.9); did you mean 'enn.regularization.",
        ),
    ],
)
def test_a_wrong_key_is_told_the_right_one(body: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(LoopConfig, body, "sweep.yaml (loop)")
    assert str(caught.value).startswith(f"sweep.yaml (loop): {told}")
