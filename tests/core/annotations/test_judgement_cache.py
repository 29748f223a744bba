"""The cache of judgements: exact, shared by concurrent writers, and never believed when damaged."""

from __future__ import annotations

import json
import multiprocessing
import struct
from pathlib import Path

import pytest

from activeuf_core.annotations import judgement_cache
from activeuf_core.annotations.judgement_cache import RECORD, JudgementCache, key_of

JUDGE = {"model": "m", "procedure": "1"}
FIVE = (0.1, 0.2, 1e-300, 0.0, 1.0 / 3.0)


def keys(count: int, name: str = "") -> list[bytes]:
    return [key_of([name, number]) for number in range(count)]


def write(folder: Path, name: str, count: int) -> None:
    with JudgementCache(folder, JUDGE) as cache:
        for number, key in enumerate(keys(count, name)):
            cache.put({key: (float(number), 1.0, 2.0, 3.0, 4.0)})


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.judgements"))


def test_what_is_put_is_found_to_the_last_bit_by_others(tmp_path: Path) -> None:
    with JudgementCache(tmp_path, JUDGE) as cache:
        cache.put({key_of("a"): FIVE})
        assert cache.get([key_of("a"), key_of("b")]) == [FIVE, None]
    assert JudgementCache(tmp_path, JUDGE).get([key_of("b"), key_of("a")]) == [None, FIVE]


def test_judges_do_not_share(tmp_path: Path) -> None:
    write(tmp_path, "x", 1)
    assert JudgementCache(tmp_path, {**JUDGE, "model": "other"}).get(keys(1, "x")) == [None]
    about = [json.loads(path.read_text()) for path in tmp_path.rglob("judge.json")]
    assert JUDGE in about


def test_key_depends_on_every_part() -> None:
    question = [{"role": "user", "content": "a"}]
    others = [[{"role": "user", "content": "b"}], [{"role": "system", "content": "a"}], []]
    assert len({key_of(question), *map(key_of, others)}) == 4


def test_refresh_finds_what_others_added(tmp_path: Path) -> None:
    early = JudgementCache(tmp_path, JUDGE)
    write(tmp_path, "x", 3)
    assert early.get(keys(3, "x")) == [None] * 3
    early.refresh()
    assert None not in early.get(keys(3, "x"))


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    names = ["a", "b", "c", "d"]
    writers = [spawn.Process(target=write, args=(tmp_path, name, 500)) for name in names]
    reader = JudgementCache(tmp_path, JUDGE)
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        reader.refresh()
    assert [writer.exitcode for writer in writers] == [0] * 4
    reader.refresh()
    for name in names:
        assert [found[0] for found in reader.get(keys(500, name)) if found] == list(range(500))
    assert (len(files(tmp_path)), reader.num_damaged) == (4, 0)


@pytest.mark.parametrize("place", [0, 17, 40, 63])
def test_damaged_record_is_passed_over_and_the_others_kept(tmp_path: Path, place: int) -> None:
    write(tmp_path, "x", 5)
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    data[2 * RECORD.itemsize + place] ^= 0x10
    path.write_bytes(data)
    cache = JudgementCache(tmp_path, JUDGE)
    assert [found is None for found in cache.get(keys(5, "x"))] == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert cache.num_damaged == 1


def test_torn_end_and_zeros_are_no_records(tmp_path: Path) -> None:
    write(tmp_path, "x", 3)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert [f is None for f in JudgementCache(tmp_path, JUDGE).get(keys(3, "x"))] == [False] * 2 + [
        True
    ]
    path.write_bytes(whole + bytes(RECORD.itemsize))
    cache = JudgementCache(tmp_path, JUDGE)
    assert (len(cache), cache.num_damaged) == (3, 1)


def test_record_that_grows_while_it_is_read_is_read_later(tmp_path: Path) -> None:
    write(tmp_path, "x", 2)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    reader = JudgementCache(tmp_path, JUDGE)
    path.write_bytes(whole)
    reader.refresh()
    assert None not in reader.get(keys(2, "x"))
    assert reader.num_damaged == 0


def test_many_are_sorted_and_still_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement_cache, "RECENT_AT_MOST", 10)
    for name in "abc":
        write(tmp_path, name, 8)
    cache = JudgementCache(tmp_path, JUDGE)
    write(tmp_path, "d", 40)
    cache.refresh()
    for name in "abc":
        assert [found[0] for found in cache.get(keys(8, name)) if found] == list(range(8))
    assert cache.get([keys(40, "d")[39], key_of("?")]) == [(39.0, 1.0, 2.0, 3.0, 4.0), None]


def test_keys_that_agree_in_the_first_half_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judgement_cache, "RECENT_AT_MOST", 0)
    pair = [struct.pack("<QQ", 7, second) for second in (1, 2)]
    with JudgementCache(tmp_path, JUDGE) as cache:
        cache.put({key: (float(i),) * 5 for i, key in enumerate(pair)})
    found = JudgementCache(tmp_path, JUDGE).get([*pair, struct.pack("<QQ", 7, 3)])
    assert found == [(0.0,) * 5, (1.0,) * 5, None]
