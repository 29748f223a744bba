"""Whether the C library is asked to keep memory, and that its absence is no error."""

from __future__ import annotations

import ctypes
import platform
from types import SimpleNamespace

import pytest

from activeuf_core.training.memory import M_MMAP_MAX, M_TRIM_THRESHOLD, keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_this_machines_library_takes_the_settings() -> None:
    assert keep_freed_memory()


def test_freed_blocks_are_neither_mapped_nor_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, int] = {}

    def mallopt(name: int, value: int) -> int:
        asked[name] = value
        return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    assert keep_freed_memory()
    assert asked[M_MMAP_MAX] == 0
    assert asked[M_TRIM_THRESHOLD] > 2**30


def test_library_without_the_call_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not keep_freed_memory()
