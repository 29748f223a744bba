"""Links in the documents lead somewhere, and the commands that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from activeuf_core.paths import PROJECT

FOLDERS = (".", "docs", "docs/adr", "slurm", "configs", "demo", "activeuf_core", "activeuf_dagster")
DOCUMENTS = sorted(path for folder in FOLDERS for path in (PROJECT / folder).glob("*.md"))
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)[^)]*\)")
CODE = re.compile(r"```.*?```|`[^`]*`", re.S)
MAKE = re.compile(r"\bmake +([a-z][a-z-]*)")
PATH = re.compile(r"(?:activeuf_core|activeuf_dagster|configs|docs|scripts|slurm|tests)/[\w./-]*\w")


def by_name(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def targets() -> dict[str, str]:
    """Return the targets of the Makefile with their descriptions."""
    lines = (PROJECT / "Makefile").read_text(encoding="utf-8").splitlines()
    rules = [re.match(r"([a-z][a-z-]*):(?:[^#]*## (.*))?", line) for line in lines]
    return {rule[1]: rule[2] or "" for rule in rules if rule}


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ +(.*)$", path.read_text(encoding="utf-8"), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_relative_links_resolve(document: Path) -> None:
    text = CODE.sub("", document.read_text(encoding="utf-8"))
    broken = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        path = document.parent / name if name else document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_make_targets_in_code_exist(document: Path) -> None:
    code = "\n".join(CODE.findall(document.read_text(encoding="utf-8")))
    assert set(MAKE.findall(code)) <= set(targets())


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_files_in_code_exist(document: Path) -> None:
    code = "\n".join(re.findall(r"`[^`\n]*`", document.read_text(encoding="utf-8")))
    named = {name for name in PATH.findall(code) if "." in Path(name).name}
    assert [name for name in sorted(named) if not (PROJECT / name).exists()] == []


def test_every_target_is_described_and_phony() -> None:
    text = (PROJECT / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"^\.PHONY: (.*)$", text, re.M)
    assert sorted(" ".join(phony).split()) == sorted(targets())
    assert [name for name, description in targets().items() if not description] == []


def test_continuous_integration_calls_the_door_and_nothing_else() -> None:
    lines = (PROJECT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    work = [line for line in lines if line and not line.startswith(("#", "set ", "cd ", "printf "))]
    assert work == ["make test"]
