"""The project keeps to its budgets, and the measure that says so sees what it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from activeuf_core.paths import PROJECT
from scripts.style_metrics import MAX_FILE, MAX_FUNCTION, main, measure, table

FOLDERS = ("activeuf_core", "activeuf_dagster", "scripts", "studies", "tests")


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_breaks_a_limit(folder: str) -> None:
    breaches = measure([PROJECT / folder]).breaches
    assert not breaches, "\n".join([f"{len(breaches)} breaches:", *breaches[:40]])


HEAD = '"""A module."""\n'
BREACHES = [
    ("x = 1\n", "the module has no docstring"),
    (f"{HEAD}def f() -> None:\n    pass\n", "f has no docstring"),
    (f"{HEAD}class A:\n    pass\n", "A has no docstring"),
    (f'{HEAD}class A:\n    """A."""\n    def f(self) -> None: ...\n', "f has no docstring"),
    (f"{HEAD}def _f(a) -> None: ...\n", "_f: a has no annotation"),
    (f"{HEAD}def _f(*a) -> None: ...\n", "_f: a has no annotation"),
    (f"{HEAD}def _f(): ...\n", "_f says not what it returns"),
    (f"{HEAD}print(1)\n", "print"),
    (f"{HEAD}from math import *\n", "star import"),
    (f"{HEAD}try:\n    x = 1\nexcept Exception:\n    x = 2\n", "broad except without a reason"),
    (f"{HEAD}try:\n    x = 1\nexcept:\n    x = 2\n", "broad except without a reason"),
    (f"{HEAD}x = '{'x' * 100}'\n", "the line has 106 characters"),
    (HEAD + "x = 1\n" * MAX_FILE, "501 lines"),
    (f"{HEAD}def _f() -> None:\n" + "    x = 1\n" * MAX_FUNCTION, "_f has 61 lines"),
]


@pytest.mark.parametrize(("source", "said"), BREACHES)
def test_a_breach_is_seen(tmp_path: Path, source: str, said: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert [line for line in measure([path]).breaches if said in line]


FINE = [
    f"{HEAD}try:\n    x = 1\nexcept Exception:  # noqa: BLE001 - a boundary\n    x = 2\n",
    f"{HEAD}def _f(a: int, *b: int, c: int = 0) -> None:\n    def g() -> None: ...\n",
    f'{HEAD}def f() -> None:\n    """{"Text." + chr(10) * MAX_FUNCTION}"""\n',
]


@pytest.mark.parametrize("source", FINE)
def test_what_is_allowed_is_no_breach(tmp_path: Path, source: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert measure([path]).breaches == []


def test_test_cases_are_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "tests" / "test_it.py"
    path.parent.mkdir()
    path.write_text("def test_it():\n    assert True\n", encoding="utf-8")
    figures = measure([path])
    assert (figures.case_lines, figures.test_lines, figures.code_lines) == ([2], 2, 0)
    assert figures.breaches == []


def test_the_command_fails_on_a_breach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "module.py"
    path.write_text("x = 1\n", encoding="utf-8")
    assert main([str(path)]) == 1
    assert f"{path}:1: the module has no docstring" in capsys.readouterr().out


def test_nothing_measured_is_still_a_table() -> None:
    assert "median 0" in table(measure([]))
