"""The set-up of a checkout, with a stand-in for Python: installs once, and again when it must."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from activeuf_core.paths import PROJECT

STAND_IN = """\
#!/bin/bash
case "$1 $2" in
    "-c "*) exit 0 ;;
    "--version "*) echo "Python 3.11.0" ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *) echo "$*" >>calls; exit "$(cat status 2>/dev/null || echo 0)" ;;
esac
"""


class Checkout:
    """A checkout whose folder has a space in its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "my checkout"
        (self.folder / "scripts").mkdir(parents=True)
        shutil.copy(PROJECT / "scripts" / "setup.sh", self.folder / "scripts")
        for name in ("requirements.lock", "pyproject.toml", "scripts/install.py"):
            (self.folder / name).write_text("first", encoding="utf-8")
        self.python = folder / "python3.11"
        self.python.write_text(STAND_IN, encoding="utf-8")
        self.python.chmod(0o755)

    def setup(self, python: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "PYTHON": python or str(self.python)}
        command = [str(self.folder / "scripts" / "setup.sh")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    @property
    def installs(self) -> int:
        calls = self.folder / "calls"
        return len(calls.read_text("utf-8").splitlines()) if calls.exists() else 0


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_first_set_up_makes_an_environment_and_installs(checkout: Checkout) -> None:
    done = checkout.setup()
    assert done.returncode == 0, done.stderr
    assert (checkout.folder / ".venv" / "complete").exists()
    assert checkout.installs == 1


def test_the_second_one_has_nothing_to_do_and_says_nothing(checkout: Checkout) -> None:
    checkout.setup()
    assert checkout.setup().stdout == ""
    assert checkout.installs == 1


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_another_lock_or_project_is_installed(checkout: Checkout, name: str) -> None:
    checkout.setup()
    (checkout.folder / name).write_text("second", encoding="utf-8")
    checkout.setup()
    assert checkout.installs == 2


def test_a_failed_install_is_no_set_up(checkout: Checkout) -> None:
    (checkout.folder / "status").write_text("3", encoding="utf-8")
    assert checkout.setup().returncode == 3
    (checkout.folder / "status").unlink()
    assert checkout.setup().returncode == 0
    assert checkout.installs == 2


def test_a_checkout_that_moved_gets_a_new_environment(checkout: Checkout) -> None:
    checkout.setup()
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("moved"))
    assert "making .venv" in checkout.setup().stdout


def test_without_a_python_it_says_what_to_install(checkout: Checkout) -> None:
    done = checkout.setup(python="/nowhere/python")
    assert done.returncode == 1
    assert "apt-get install python3 python3-venv" in done.stderr
    assert not (checkout.folder / ".venv").exists()
