"""What the training libraries are kept from."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest
from transformers.integrations.integration_utils import is_wandb_available

from activeuf_core.training.libraries import TRACKER, lean_libraries


def test_tracker_counts_as_not_installed_within_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, TRACKER, raising=False)
    with lean_libraries():
        assert not is_wandb_available()
        assert importlib.util.find_spec(TRACKER) is None
    assert TRACKER not in sys.modules


def test_tracker_that_is_in_use_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, TRACKER, os)
    with lean_libraries():
        assert sys.modules[TRACKER] is os
    assert sys.modules[TRACKER] is os


def test_nothing_is_announced_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    with lean_libraries():
        assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
