"""Fixtures of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import tiny_models
from tests.fakes.stage_context import make_context

__all__ = ["make_context"]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny causal language model with a chat template."""
    return tiny_models.build(tmp_path_factory.mktemp("models") / "tiny")
