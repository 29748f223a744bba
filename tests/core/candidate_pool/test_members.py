"""Members: cursors that stay in step, and say when files do not belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from activeuf_core import paths
from activeuf_core.candidate_pool.members import Member, open_members
from activeuf_core.errors import DataError
from activeuf_core.schemas import ANNOTATION, COMPLETION, read_rows, write_rows

MakeMember = Callable[..., Path]
TWO = {"p0": ("x", 1.0), "p2": ("y", 2.0)}


def opened(folder: Path, annotations: Path | None = None) -> Member:
    return Member(folder / paths.COMPLETIONS, (annotations or folder) / paths.ANNOTATIONS)


def test_prompt_without_a_row_is_passed_over(make_member: MakeMember) -> None:
    member = opened(make_member("m", TWO))
    taken = [member.take(prompt_id) for prompt_id in ("p0", "p1", "p2")]
    assert [found and found[1]["overall_score"] for found in taken] == [1.0, None, 2.0]
    member.require_end()


def test_row_that_was_never_asked_for_is_named(make_member: MakeMember) -> None:
    member = opened(make_member("m", {"p2": ("y", 2.0), "p0": ("x", 1.0)}))
    for prompt_id in ("p0", "p1", "p2"):
        member.take(prompt_id)
    with pytest.raises(DataError, match=r"prompt 'p0' fits no prompt, or stands in another order"):
        member.require_end()


def test_annotations_of_other_completions_are_refused(make_member: MakeMember) -> None:
    ours, others = make_member("m", TWO), make_member("n", TWO)
    with pytest.raises(DataError, match=r"row 0 does not belong to the completion of 'm'"):
        opened(ours, others)


def test_missing_and_surplus_annotations_are_refused(make_member: MakeMember) -> None:
    two, one = make_member("m", TWO), make_member("m", {"p0": ("x", 1.0)}, "one")
    with pytest.raises(DataError, match=r"row 1 does not belong"):
        opened(two, one).take("p0")
    with pytest.raises(DataError, match="has more rows than"):
        opened(one, two).take("p0")


def test_second_completion_of_a_prompt_is_refused_by_name(make_member: MakeMember) -> None:
    folder = make_member("m", TWO)
    for name, schema in ((paths.COMPLETIONS, COMPLETION), (paths.ANNOTATIONS, ANNOTATION)):
        rows = read_rows(folder / name)
        write_rows(folder / name, schema, [rows[0], *rows])
    with pytest.raises(DataError, match=r"'m' has two completions of prompt 'p0'.*allowed is one"):
        opened(folder).take("p0")


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_score_that_is_no_number_is_refused_by_name(make_member: MakeMember, score: float) -> None:
    member = opened(make_member("m", {"p0": ("x", 1.0), "p1": ("y", score)}))
    with pytest.raises(
        DataError, match=rf"annotations\.parquet: row 1, of prompt 'p1' and model 'm'.*{score}"
    ):
        member.take("p0")


def test_members_come_in_alphabetical_order(make_member: MakeMember) -> None:
    folders = {name: make_member(name, TWO) for name in ("b", "a", "C")}
    assert [member.model for member in open_members(folders, folders)] == ["C", "a", "b"]


def test_partitions_without_annotations_are_named(make_member: MakeMember) -> None:
    folders = {name: make_member(name, TWO) for name in ("a", "b")}
    with pytest.raises(DataError, match=r"\['b'\] have completions and no annotations"):
        open_members(folders, {"a": folders["a"]})
    with pytest.raises(DataError, match=r"\['b'\] have annotations and no completions"):
        open_members({"a": folders["a"]}, folders)


def test_same_model_in_two_partitions_is_refused(make_member: MakeMember) -> None:
    folders = {"x": make_member("m", TWO), "y": make_member("m", TWO, "again")}
    with pytest.raises(DataError, match=r"'x' and 'y' both hold 'm'"):
        open_members(folders, folders)


def test_empty_member_is_refused(make_member: MakeMember) -> None:
    with pytest.raises(DataError, match="has no rows"):
        opened(make_member("m", {}))


def test_damaged_file_is_named(make_member: MakeMember) -> None:
    folder = make_member("m", TWO)
    (folder / paths.ANNOTATIONS).write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"annotations\.parquet: cannot be read"):
        opened(folder)
