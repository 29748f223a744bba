"""A plan as text: alike partitions on one row, sums, what is shared, what nobody refers to."""

from __future__ import annotations

from activeuf_core.plan import Change, Price, State, Status
from activeuf_core.survey import Orphaned
from activeuf_dagster.plan_text import columns, orphans_line, rows, sums

NO_PRICE = Price(0, 0, 0.0, 0.0, ())


def made(asset: str, partition: str, state: State, reason: str, print_: str = "") -> dict:
    node = (asset, partition)
    return {node: Status(node, state, reason, print_ or partition)}


def waiting(partition: str) -> dict:
    reason = f"reads dpo_model[{partition}], which is not fresh"
    return made("gsm8k_score", partition, "missing", reason)


def test_partitions_that_wait_for_the_same_are_one_row() -> None:
    found = rows(waiting("a") | waiting("b") | waiting("c") | made("scores", "a", "fresh", "fresh"))
    assert [(row.named, row.why) for row in found] == [
        ("a, b and 1 more", "reads dpo_model, which is not fresh"),
        ("a", ""),
    ]


def test_fingerprints_of_inputs_do_not_keep_rows_apart() -> None:
    found = {}
    for partition, old in (("a", "11111111"), ("b", "22222222")):
        changes = (Change("epochs", 1, 2), Change("preference_dataset", old, "33333333"))
        reason = "; ".join(map(str, changes))
        node = ("dpo_model", partition)
        found[node] = Status(node, "stale", reason, partition, changes)
    (row,) = rows(found)
    assert row.why == "epochs: 1 → 2; another preference_dataset"


def test_on_request_every_partition_has_its_row() -> None:
    found = rows(waiting("a") | waiting("b"), apart=True)
    assert [row.named for row in found] == ["a", "b"]
    assert found[0].why == "reads dpo_model[a], which is not fresh"


def test_sums_say_what_is_shared() -> None:
    found = made("dpo_model", "a", "fresh", "", "one") | made("dpo_model", "b", "fresh", "", "one")
    found |= made("scores", "a", "stale", "", "two") | made("scores", "b", "stale", "", "two")
    text = "\n".join(sums(found, Price(2, 1, 1.5, 3.0, ("scores",))))
    assert "4 asset partitions: 2 fresh, 2 stale." in text
    assert "there are 1 artifact for 2 partitions (1 share one with another" in text
    assert "would make 1 artifact for 2 partitions" in text
    assert "1.50 hours of jobs, 3.00 GPU-hours" in text
    assert "never made here: scores" in text


def test_nothing_to_run_is_said() -> None:
    assert list(sums({}, NO_PRICE)) == ["0 asset partitions: none.", "Nothing has to run."]


def test_orphans_are_counted_with_their_size_and_what_to_do() -> None:
    assert "2 orphaned artifacts (3.0 MB) belong" in orphans_line(Orphaned(2, 3_000_000))
    assert "1 orphaned artifact (43 bytes) belongs" in orphans_line(Orphaned(1, 43))
    assert "`activeuf gc`" in orphans_line(Orphaned(1, 43))
    assert orphans_line(Orphaned(0, 0)) == ""


def test_columns_are_aligned() -> None:
    assert list(columns([("a", "bb", "c"), ("aaa", "b", "")])) == ["a    bb  c", "aaa  b"]
