"""Benchmarks are run by hand, and must still fit the code when somebody does."""

from __future__ import annotations

import importlib

import pytest

from activeuf_core.paths import PROJECT

FOLDER = PROJECT / "benchmarks"
MODULES = sorted(
    ".".join(path.relative_to(PROJECT).with_suffix("").parts)
    for path in FOLDER.rglob("*.py")
    if path.stem != "__main__"
)


@pytest.mark.parametrize("module", MODULES)
def test_a_benchmark_loads(module: str) -> None:
    assert importlib.import_module(module).__doc__
