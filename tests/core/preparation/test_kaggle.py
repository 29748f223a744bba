"""Kaggle: pinned versions from kagglehub's cache, and what is said when they cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from activeuf_core.errors import ConfigError, DataError
from activeuf_core.preparation.config import KaggleSource, SplitNames
from activeuf_core.preparation.kaggle import Kaggle
from tests.core.preparation.conftest import TEST, TRAIN

FILES = SplitNames(train="main_train.csv", test="main_test.csv")


def source(version: int = 3, files: SplitNames = FILES) -> Kaggle:
    return Kaggle(KaggleSource(dataset="own/sums", version=version, files=files))


@pytest.mark.usefixtures("kaggle")
def test_rows_of_a_version_in_the_cache() -> None:
    assert source().splits == ("train", "test")
    assert [row.values for row in source().rows("train")] == TRAIN
    assert [row.values for row in source().rows("test")] == TEST


@pytest.mark.usefixtures("kaggle")
def test_revision_is_the_version_with_digests_of_what_is_read() -> None:
    found = source(files=SplitNames(train="main_train.csv")).resolve_revision()
    assert (found.name, found.revision, list(found.files)) == ("own/sums", "3", ["main_train.csv"])
    assert found.is_pinned


@pytest.mark.usefixtures("kaggle")
def test_a_version_that_cannot_be_fetched() -> None:
    with pytest.raises(DataError, match=r"own/sums/versions/4 cannot be fetched.*KAGGLE_KEY"):
        source(version=4).resolve_revision()


@pytest.mark.usefixtures("kaggle")
@pytest.mark.parametrize("name", ["train.csv", "../3/main_train.csv/..", "../../../3.complete"])
def test_a_file_that_the_version_lacks(name: str) -> None:
    with pytest.raises(DataError, match=r"split train\); it has: main_test.csv, main_train.csv"):
        source(files=SplitNames(train=name)).rows("train")


def test_without_kagglehub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(ConfigError, match=r"pip install 'activeuf\[sources\]'"):
        source().resolve_revision()


def test_the_library_itself_finds_what_the_stand_in_finds(
    tmp_path: Path, kaggle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "kagglehub")
    pytest.importorskip("kagglehub", reason="the extra `sources` is not installed")
    assert [row.values for row in source().rows("train")] == TRAIN
    assert next(source().rows("test")).where.startswith(str(kaggle))
