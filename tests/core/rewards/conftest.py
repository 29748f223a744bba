"""Fixtures of this room."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from activeuf_core.paths import PROJECT

SHARED = Path(os.environ.get("ACTIVEUF_SHARED_DATA") or PROJECT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def gsm8k() -> list[dict[str, str]]:
    """Return the real test questions of GSM8K with their worked answers."""
    path = SHARED / "gsm8k" / "test.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there; set ACTIVEUF_SHARED_DATA")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
