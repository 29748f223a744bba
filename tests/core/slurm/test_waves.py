"""The ledger of submissions: every step leaves a file, written once."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from activeuf_core.paths import Layout
from activeuf_core.slurm.waves import Ledger, Owner, Wave, new_token

OWNER = Owner("host", 1, "5")
WAVE = Wave("activeuf-prompts-0123456789", "far", ("a", "b"), {"cpus": 2}, OWNER, 12.5)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger with one wave."""
    ledger = Ledger(Layout(tmp_path))
    ledger.open(WAVE, ["/runs/a", "/runs/b"])
    return ledger


def test_an_intent_is_read_back(ledger: Ledger) -> None:
    assert ledger.read(WAVE.token) == WAVE
    assert ledger.read("never") is None
    assert ledger.layout.wave(WAVE.token).jobs.read_text() == "/runs/a\n/runs/b\n"


def test_the_first_id_stands(ledger: Ledger) -> None:
    assert ledger.slurm_id(WAVE.token) is None
    assert ledger.mark_submitted(WAVE.token, 7) == 7
    assert ledger.mark_submitted(WAVE.token, 8) == 7
    assert ledger.slurm_id(WAVE.token) == 7


def test_closing_removes_the_secrets(ledger: Ledger) -> None:
    secrets = ledger.layout.wave(WAVE.token).secrets
    secrets.write_text("{}")
    ledger.close(WAVE.token, "done")
    assert not secrets.exists()
    assert ledger.closed_because(WAVE.token) == "done"


def test_open_waves_are_those_with_an_intent_and_no_end(ledger: Ledger) -> None:
    other = dataclasses.replace(WAVE, token=new_token("prompts"))
    ledger.open(other, [])
    ledger.layout.wave("activeuf-half").path.mkdir()
    ledger.close(WAVE.token, "done")
    assert list(ledger.open_waves()) == [other]


def test_an_empty_home_has_no_waves(tmp_path: Path) -> None:
    assert list(Ledger(Layout(tmp_path / "none")).open_waves()) == []


def test_tokens_differ_and_fit_a_job_name() -> None:
    tokens = {new_token("preference_dataset") for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) <= 64 for token in tokens)


def test_an_owner_is_gone_when_its_process_is() -> None:
    ours = Owner.this_process()
    assert not ours.is_gone()
    assert dataclasses.replace(ours, started="0").is_gone()  # the pid is another's by now
    with subprocess.Popen(["true"]) as child:
        child.wait()
    assert dataclasses.replace(ours, pid=child.pid).is_gone()


def test_of_another_machine_s_owner_nothing_is_known() -> None:
    assert not Owner("another-host", os.getpid(), "0").is_gone()
