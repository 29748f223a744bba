"""What the lock holds of pip's report, and how an install says how far it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from activeuf_core.paths import PROJECT
from scripts import install, lock


def installed(name: str, version: str) -> dict[str, dict[str, str]]:
    return {"metadata": {"name": name, "version": version}}


def test_the_lock_is_sorted_and_without_the_project_itself() -> None:
    report = [installed("Zope.x_y", "1"), installed("activeuf", "0.1.0"), installed("abc", "2")]
    assert lock.pins_of(report) == ["abc==2", "zope-x-y==1"]


def test_torch_is_locked_without_its_build() -> None:
    report = [installed("torch", "2.13.0+cpu"), installed("nvidia-cublas-cu12", "12")]
    assert lock.pins_of([*report, installed("triton", "3.4")]) == ["torch==2.13.0"]


def test_the_lock_holds_every_requirement_of_the_project_and_no_address() -> None:
    text = lock.LOCK.read_text(encoding="utf-8")
    pins = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    groups = [project["dependencies"], *(extras[name] for name in lock.EXTRAS.split(","))]
    wanted = {re.split(r"[\[<>=]", line)[0] for group in groups for line in group}
    assert wanted <= {pin.partition("==")[0] for pin in pins}


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", "0 of 3 packages fetched"),
        ("Collecting a==1\n  Using cached\nCollecting b==2\n", "2 of 3 packages fetched"),
        ("Collecting a\nInstalling collected packages: a\n", "3 of 3 packages installed"),
    ],
)
def test_progress_is_read_from_pips_log(tmp_path: Path, log: str, said: str) -> None:
    path = tmp_path / "install.log"
    path.write_text(log, encoding="utf-8")
    assert install.progress(path, 3) == said
