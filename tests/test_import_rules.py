"""Who may import whom, read from the files; and what a fresh interpreter then really loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from activeuf_core.paths import PROJECT

HEAVY = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "lm_eval", "vllm")
SLOW = (*HEAVY, "wandb", "pandas", "matplotlib", "scipy", "sklearn")
LIGHT_MODULES = (
    "activeuf_core.stages",
    "activeuf_core.catalog",
    "activeuf_core.recipes",
    "activeuf_core.stand_in_stage",
    "activeuf_core.task",
    "activeuf_core.launchers.local",
    "activeuf_dagster.engine",
)
ROOMS = sorted(p.parent.name for p in (PROJECT / "activeuf_core").glob("*/__init__.py"))
LIBRARIES = ("acquisition", "adoption", "enn", "launchers", "rewards", "slurm")
"""Rooms without a command of their own."""
MAY_READ = {
    ("adoption", "activeuf_core.evals.benchmarks"),
    ("evals", "activeuf_core.annotations"),
    ("launchers", "activeuf_core.slurm"),
    ("loop", "activeuf_core.acquisition"),
    ("loop", "activeuf_core.annotations"),
    ("loop", "activeuf_core.enn"),
    ("loop", "activeuf_core.features.precision"),
    ("preparation", "activeuf_core.rewards"),
    ("reporting", "activeuf_core.evals.benchmarks"),
    ("rewards", "activeuf_core.annotations"),
}
"""Room and what it may import of another one."""
TABLES = (
    *("stages", "catalog", "catalog_baselines", "catalog_benchmarks", "catalog_files", "recipes"),
    *("view", "code_identity", "stand_in_stage"),
)
"""Shared modules that look into rooms: at their configs and tables, never at their work."""


def python_files(folder: str) -> list[Path]:
    return sorted((PROJECT / folder).rglob("*.py"))


def imports_of(path: Path, *, at_top: bool = False) -> Iterator[str]:
    """Yield the dotted names that a file imports; `at_top`: only what runs when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{item.name}" for item in node.names)
        elif at_top and (isinstance(node, ast.FunctionDef) or is_for_types(node)):
            continue
        pending += ast.iter_child_nodes(node)


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def breaches(folder: str, banned: tuple[str, ...], *, at_top: bool = False) -> list[str]:
    return [
        f"{path.relative_to(PROJECT)}: {name}"
        for path in python_files(folder)
        for name in imports_of(path, at_top=at_top)
        if name.split(".")[0] in banned
    ]


def loaded_by(*modules: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter holds after importing some modules."""
    code = f"import sys, {', '.join(modules)}; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_core_knows_nothing_of_the_graph() -> None:
    assert breaches("activeuf_core", ("dagster", "dagster_wandb", "activeuf_dagster")) == []


def test_the_graph_never_imports_what_the_orchestrator_lacks() -> None:
    assert breaches("activeuf_dagster", HEAVY) == []


def test_heavy_imports_at_the_top_stand_in_modules_that_say_so() -> None:
    silent = [
        line
        for line in breaches("activeuf_core", HEAVY, at_top=True)
        if "heavy" not in (PROJECT / line.split(":")[0]).read_text("utf-8").split('"""')[1].lower()
    ]
    assert silent == []


def test_configs_are_light() -> None:
    allowed = {"activeuf_core", "pydantic", "annotated_types", *sys.stdlib_module_names}
    found = [
        f"{path.relative_to(PROJECT)}: {name}"
        for path in python_files("activeuf_core")
        if path.name == "config.py"
        for name in imports_of(path)
        if name.split(".")[0] not in allowed | {"yaml"}
    ]
    assert found == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_leaves_the_other_rooms_alone(room: str) -> None:
    others = tuple(f"activeuf_core.{other}" for other in ROOMS if other not in (room, "launchers"))
    allowed = tuple(name for reader, name in MAY_READ if reader == room)
    found = [
        f"{path.relative_to(PROJECT)}: {name}"
        for path in python_files(f"activeuf_core/{room}")
        for name in imports_of(path)
        if f"{name}.".startswith(tuple(f"{other}." for other in others))
        and not f"{name}.".startswith(tuple(f"{one}." for one in allowed))
    ]
    assert found == []


def test_shared_modules_do_not_look_into_rooms() -> None:
    rooms = tuple(f"activeuf_core.{room}." for room in ROOMS if room not in LIBRARIES)
    found = [
        f"{path.name}: {name}"
        for path in sorted((PROJECT / "activeuf_core").glob("*.py"))
        if path.stem not in TABLES
        for name in imports_of(path)
        if name.startswith(rooms)
    ]
    assert found == []


def test_the_tables_load_nothing_slow() -> None:
    assert loaded_by(*LIGHT_MODULES).isdisjoint({*SLOW, "dagster"})


def test_every_import_is_declared() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = [line for group in groups for line in group]
    declared = {re.split(r"[\[<>=! ]", line)[0].lower().replace("_", "-") for line in wanted}
    own = {"activeuf_core", "activeuf_dagster", "scripts", "studies", "tests"}
    known = {*sys.stdlib_module_names, *own}
    names = {
        name.split(".")[0]
        for folder in sorted(own)
        for path in python_files(folder)
        for name in imports_of(path)
    }
    owners = packages_distributions()
    undeclared = [
        name
        for name in sorted(names - known)
        if declared.isdisjoint(
            owner.lower().replace("_", "-") for owner in owners.get(name, [name])
        )
    ]
    assert undeclared == []
