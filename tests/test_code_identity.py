"""The guard on code identity: what counts as a change, what it says, and the two ways out."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from activeuf_core.code_identity import CodeIdentity, main, raise_version, report
from activeuf_core.code_lock import COMMAND, HEADER, Entry, Lock
from activeuf_core.code_slice import CodeIndex, digest_of_slice
from activeuf_core.config import StrictModel
from activeuf_core.errors import ConfigError
from activeuf_core.stages import Stage, stage_of

FILES = {
    "__init__.py": "",
    "stages.py": """
        STAGES = (
            Stage(asset="bread", version="1", config=Plain),
            Stage(asset="cake", config=Plain, version="1"),  # für später
            *(Stage(asset=row.name, version="4") for row in ROWS),
        )
    """,
    "oven.py": """
        def bake(dough: str, degrees: int = 200) -> str:
            return f"{dough} at {degrees}"

        def clean() -> None:
            raise ValueError("nobody cleans the oven")
    """,
    "kitchen/__init__.py": '"""A room."""',
    "kitchen/__main__.py": """
        import sys
        from activeuf_core.stage import main

        if __name__ == "__main__":
            runs = {
                "bread": "activeuf_core.kitchen.bread:run",
                "cake": "activeuf_core.kitchen.cake:run",
            }
            sys.exit(main(runs))
    """,
    "kitchen/recipe.yaml": "flour: 500",
    "kitchen/bread.py": """
        from activeuf_core import oven
        from activeuf_core.kitchen.dough import FLOUR, knead

        def run(context):
            oven.bake(knead(FLOUR))
    """,
    "kitchen/dough.py": """
        import math
        import logging
        from typing import NamedTuple

        log = logging.getLogger(__name__)
        FLOUR = 500

        class Dough(NamedTuple):
            weight: float = 1.0

        def knead(flour):
            return Dough(math.floor(flour * factor()))

        def factor():
            return 1.5
    """,
    "kitchen/cake.py": """
        REGISTRY = {"sponge": "activeuf_core.kitchen.sponge:make"}

        def run(context):
            from activeuf_core.oven import bake
            return bake(REGISTRY)
    """,
    "kitchen/sponge.py": "def make(): return 1",
}


class Kitchen:
    """A project with two stages in one room, in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.root / "activeuf_core" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / "activeuf_core" / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def digest(self, asset: str = "bread") -> str:
        return digest_of_slice(CodeIndex(self.root).slice("activeuf_core.kitchen", asset))

    def pieces(self, asset: str) -> set[str]:
        found = CodeIndex(self.root).slice("activeuf_core.kitchen", asset)
        return {f"{Path(file).name}:{name}" for file, name in found}

    def identity(self, bread: str = "1", cake: str = "1") -> CodeIdentity:
        versions = {"bread": bread, "cake": cake}
        return CodeIdentity(self.root, [stage(asset, versions[asset]) for asset in versions])

    def run(self, *arguments: str, **versions: str) -> int:
        return main(arguments, self.identity(**versions))

    @property
    def lock(self) -> Lock:
        return Lock.load(self.root / "code.lock")


class Plain(StrictModel):
    """A config without keys."""


def stage(asset: str, version: str) -> Stage:
    return replace(
        stage_of("prompts"),
        asset=asset,
        module="activeuf_core.kitchen",
        version=version,
        config=Plain,
    )


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


@pytest.fixture
def locked(kitchen: Kitchen) -> Kitchen:
    assert kitchen.run("init") == 0
    return kitchen


def test_the_lock_of_this_project_holds() -> None:
    identity = CodeIdentity()
    changes = identity.changes(Lock.load(identity.lock_path))
    assert not changes, report(changes)


def test_a_slice_follows_names_across_modules(kitchen: Kitchen) -> None:
    bread = {
        "bread.py:run",
        "dough.py:FLOUR",
        "dough.py:knead",
        "dough.py:factor",
        "dough.py:Dough",
    }
    assert kitchen.pieces("bread") == {*bread, "oven.py:bake", "recipe.yaml:(content)"}


def test_a_slice_follows_names_in_texts_and_imports_in_functions(kitchen: Kitchen) -> None:
    cake = {"cake.py:run", "cake.py:REGISTRY", "sponge.py:make", "oven.py:bake"}
    assert kitchen.pieces("cake") == {*cake, "recipe.yaml:(content)"}


COSMETIC = [
    ("kitchen/dough.py", "def factor():", "# warm hands\n\ndef factor() -> float:"),
    ("kitchen/dough.py", "return 1.5", '"""Say how much."""\n    return (\n  1.5)'),
    ("kitchen/dough.py", "return Dough", 'log.info("kneading")\n    return Dough'),
    ("kitchen/dough.py", "FLOUR = 500", "FLOUR: int = 500"),
    ("kitchen/dough.py", "import math", "import math\nfrom os import path"),
    ("oven.py", "dough: str", "dough: object"),
    ("oven.py", "nobody cleans", "somebody cleans"),
    ("kitchen/cake.py", "return bake", "return 1 + bake"),
    ("oven.py", "def clean", "def unused(): pass\n\ndef clean"),
    ("kitchen/bread.py", "def run", "if TYPE_CHECKING:\n    import torch\n\ndef run"),
]


@pytest.mark.parametrize(("file", "old", "new"), COSMETIC)
def test_what_cannot_change_the_result_leaves_the_digest(
    kitchen: Kitchen, file: str, old: str, new: str
) -> None:
    before = kitchen.digest()
    kitchen.edit(file, old, new)
    assert kitchen.digest() == before


MEANINGFUL = [
    ("kitchen/dough.py", "return 1.5", "return 1.6"),
    ("kitchen/dough.py", "FLOUR = 500", "FLOUR = 501"),
    ("kitchen/dough.py", "weight: float = 1.0", "weight: int = 1.0"),
    ("kitchen/dough.py", "weight: float = 1.0", "weight: float = 2.0"),
    ("kitchen/dough.py", "import math", "import cmath as math"),
    ("kitchen/dough.py", "FLOUR = 500", "FLOUR = 500\nmath.tau = 6"),
    ("oven.py", "degrees: int = 200", "degrees: int = 210"),
    ("kitchen/recipe.yaml", "500", "501"),
    ("kitchen/__main__.py", "kitchen.bread:run", "kitchen.cake:run"),
]


@pytest.mark.parametrize(("file", "old", "new"), MEANINGFUL)
def test_what_can_change_the_result_changes_the_digest(
    kitchen: Kitchen, file: str, old: str, new: str
) -> None:
    before = kitchen.digest()
    kitchen.edit(file, old, new)
    assert kitchen.digest() != before


def test_the_wording_of_an_error_is_no_change_but_its_class_is(kitchen: Kitchen) -> None:
    kitchen.edit("kitchen/dough.py", "return 1.5", 'raise ValueError("no flour")')
    before = kitchen.digest()
    kitchen.edit("kitchen/dough.py", "no flour", "no flour at all")
    assert kitchen.digest() == before
    kitchen.edit("kitchen/dough.py", "ValueError", "KeyError")
    assert kitchen.digest() != before


def test_a_module_that_is_handed_around_counts_whole(kitchen: Kitchen) -> None:
    kitchen.edit("kitchen/bread.py", "oven.bake(knead(FLOUR))", "start(oven)")
    assert "oven.py:clean" in kitchen.pieces("bread")


def test_a_room_that_does_not_name_its_stage_counts_whole(kitchen: Kitchen) -> None:
    kitchen.edit("kitchen/__main__.py", '"bread"', "name()")
    assert {"bread.py:run", "cake.py:run"} <= kitchen.pieces("bread")


def test_names_in_data_files_are_followed(kitchen: Kitchen) -> None:
    kitchen.edit("kitchen/recipe.yaml", "500", "!function activeuf_core.kitchen.sponge.make")
    assert "sponge.py:make" in kitchen.pieces("bread")


def test_infrastructure_is_left_out(kitchen: Kitchen) -> None:
    index = CodeIndex(kitchen.root, ["activeuf_core.oven"])
    files = {Path(file).name for file, _ in index.slice("activeuf_core.kitchen", "bread")}
    assert "oven.py" not in files


def test_the_lock_reads_back_as_it_was_written(tmp_path: Path) -> None:
    lock = Lock({"bread": Entry("1", "ab", ('say "why"',))}, {("a.py", "(module level)"): "cd"})
    (tmp_path / "code.lock").write_text(lock.text(), encoding="utf-8")
    assert Lock.load(tmp_path / "code.lock") == lock


@pytest.mark.parametrize(("text", "said"), [(None, "init"), ("[stages", "git"), (HEADER, "git")])
def test_a_bad_lock_is_refused_with_a_way_out(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "code.lock").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        Lock.load(tmp_path / "code.lock")


def test_check_passes_when_nothing_changed(locked: Kitchen) -> None:
    assert locked.run("check") == 0


def test_check_names_the_stage_the_function_and_the_ways_out(
    locked: Kitchen, capsys: pytest.CaptureFixture[str]
) -> None:
    locked.edit("kitchen/dough.py", "1.5", "1.6")
    assert locked.run("check") == 1
    said = capsys.readouterr().out
    assert "changed  activeuf_core/kitchen/dough.py: factor" in said
    assert f"{COMMAND} bump bread\n" in said
    assert f"{COMMAND} accept bread --because" in said
    assert "cake" not in said


def test_check_names_new_and_lost_functions(
    locked: Kitchen, capsys: pytest.CaptureFixture[str]
) -> None:
    locked.edit("kitchen/dough.py", "factor()", "share()")
    assert locked.run("check") == 1
    said = capsys.readouterr().out
    assert "new      activeuf_core/kitchen/dough.py: share" in said
    assert "gone     activeuf_core/kitchen/dough.py: factor" in said


def test_accepting_adds_one_line_with_the_reason(locked: Kitchen) -> None:
    before = locked.lock.stages["bread"].digest
    locked.edit("kitchen/dough.py", "1.5", "3 / 2")
    assert locked.run("accept", "bread", "--because", "the same number") == 0
    entry = locked.lock.stages["bread"]
    (line,) = entry.accepted
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d {before} → {entry.digest}: the same number", line)
    assert entry.version == "1"
    assert locked.run("check") == 0


def test_accepting_one_stage_leaves_the_other_to_decide(
    locked: Kitchen, capsys: pytest.CaptureFixture[str]
) -> None:
    locked.edit("oven.py", "at {degrees}", "at {degrees:d}")
    assert locked.run("accept", "bread", "--because", "an int prints the same") == 0
    assert locked.run("check") == 1
    said = capsys.readouterr().out
    assert "changed  activeuf_core/oven.py: bake" in said
    assert f"{COMMAND} bump cake\n" in said


def test_bumping_raises_the_version_in_the_table_and_the_lock(locked: Kitchen) -> None:
    locked.edit("kitchen/dough.py", "1.5", "1.6")
    assert locked.run("bump", "bread") == 0
    stages = (locked.root / "activeuf_core/stages.py").read_text("utf-8")
    assert 'asset="bread", version="2"' in stages
    assert locked.lock.stages["bread"].version == "2"
    assert locked.run("check", bread="2") == 0


def test_bumping_forgets_what_was_accepted_before(locked: Kitchen) -> None:
    locked.edit("kitchen/dough.py", "1.5", "3 / 2")
    locked.run("accept", "bread", "--because", "equal")
    locked.edit("kitchen/dough.py", "3 / 2", "2")
    assert locked.run("bump", "bread") == 0
    assert locked.lock.stages["bread"].accepted == ()


def test_a_version_raised_by_hand_is_recorded_and_not_raised_again(locked: Kitchen) -> None:
    assert locked.run("check", bread="7") == 1
    assert locked.run("bump", "bread", bread="7") == 0
    assert locked.lock.stages["bread"].version == "7"
    assert 'asset="bread", version="1"' in (locked.root / "activeuf_core/stages.py").read_text()


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("accept", "bread", "--because", "why not"), "nothing to accept"),
    (("accept", "bread", "--because", " "), "--because is empty"),
    (("bump", "bred"), "did you mean 'bread'"),
    (("show", "pie"), "allowed: bread, cake"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_a_wrong_request_is_refused(
    locked: Kitchen, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert locked.run(*arguments) == 2
    assert said in capsys.readouterr().err


def test_show_lists_the_code_of_a_stage(
    kitchen: Kitchen, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kitchen.run("show", "cake") == 0
    assert "activeuf_core/kitchen/sponge.py: make" in capsys.readouterr().out


def test_a_stage_that_the_lock_does_not_know_is_new(
    locked: Kitchen, capsys: pytest.CaptureFixture[str]
) -> None:
    path = locked.root / "code.lock"
    path.write_text(path.read_text("utf-8").replace("stages.cake", "stages.pie"), "utf-8")
    assert locked.run("check") == 1
    said = capsys.readouterr().out
    assert "cake: is new" in said
    assert "pie: the lock names it" in said


def test_a_version_is_raised_where_it_stands() -> None:
    source = textwrap.dedent(FILES["stages.py"])
    text, version, is_shared = raise_version(source, "cake")
    assert text == source.replace('Plain, version="1"', 'Plain, version="2"')
    assert (version, is_shared) == ("2", False)


def test_stages_that_a_function_builds_share_their_version() -> None:
    text, version, is_shared = raise_version(textwrap.dedent(FILES["stages.py"]), "tart")
    assert 'asset=row.name, version="5"' in text
    assert (version, is_shared) == ("5", True)


def test_a_version_in_words_is_left_to_people() -> None:
    with pytest.raises(ConfigError, match="by hand"):
        raise_version('Stage(asset="cake", version="one")', "cake")
