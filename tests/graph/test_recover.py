"""`activeuf recover` in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from activeuf_dagster.cli import app
from activeuf_dagster.project import Project
from tests.fakes.launcher import instant_launchers


@pytest.fixture(autouse=True)
def _instant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Project, "launchers", instant_launchers)


def activeuf(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, arguments)


def test_recover_makes_all_and_then_nothing(folder: Path) -> None:
    first = activeuf("recover", "exp-a")
    assert first.exit_code == 0, first.output
    assert "Nothing has to run." in activeuf("recover", "exp-a").output
