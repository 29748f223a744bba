"""Where a result came from, and the memory that it took."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from activeuf_core.provenance import peak_memory

EATS = "import sys, time; eaten = bytearray(100_000_000); print(flush=True); sys.stdin.read()"


def test_the_memory_of_a_living_child_counts() -> None:
    before = peak_memory()["peak_memory_mb"]
    with subprocess.Popen(
        [sys.executable, "-c", EATS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert peak_memory()["peak_memory_mb"] > before + 90


def test_it_is_what_the_kernel_says_of_this_process() -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    assert peak_memory()["peak_memory_mb"] >= round(kilobytes / 1024, 1)


def test_the_fullest_gpu_is_reported_where_torch_uses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: 2,
        max_memory_allocated=lambda device: (device + 1) * 2**30,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert peak_memory()["peak_gpu_memory_mb"] == 2048.0


def test_without_torch_nothing_is_said_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert set(peak_memory()) == {"peak_memory_mb"}
