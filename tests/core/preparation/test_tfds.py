"""TFDS: rows as texts, and what is said when they cannot be had."""

from __future__ import annotations

import sys
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.errors import ConfigError, DataError
from activeuf_core.preparation.config import SplitNames, TfdsSource
from activeuf_core.preparation.tfds import Tfds
from tests.core.preparation.conftest import TEST, TRAIN, as_jsonl


def source(builder: str = "sums", version: str = "1.0.0", test: str = "test") -> Tfds:
    return Tfds(TfdsSource(builder=builder, version=version, splits=SplitNames(test=test)))


@pytest.mark.usefixtures("tfds")
def test_rows_are_texts_in_the_librarys_order() -> None:
    found = [row.values for row in source().rows("test")]
    assert found == TEST[::-1]


@pytest.mark.usefixtures("tfds")
def test_revision_is_the_version_with_digests() -> None:
    found = source().resolve_revision()
    assert (found.name, found.revision, found.is_pinned) == ("sums", "1.0.0", True)
    assert set(found.files) == {"train.jsonl", "test.jsonl"}


@pytest.mark.usefixtures("tfds")
def test_unknown_version_and_split() -> None:
    with pytest.raises(DataError, match=r"sums:2.0.0 cannot be opened .*version 2.0.0"):
        source(version="2.0.0").resolve_revision()
    with pytest.raises(DataError, match=r"source\.splits\.test"):
        list(source(test="validation").rows("test"))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'activeuf\[sources\]'.*source.kind: hf"):
        source().resolve_revision()


def test_the_library_itself_reads_what_it_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorflow_datasets", reason="the extra `sources` is not installed")
    raw = tmp_path / "raw.jsonl"
    raw.write_text(as_jsonl(TRAIN))
    manager = "tensorflow_datasets.core.download.DownloadManager"

    def fetched(_: Any, urls: dict[str, str]) -> dict[str, Path]:
        return dict.fromkeys(urls, raw)

    monkeypatch.setattr(f"{manager}.download_and_extract", fetched)
    monkeypatch.setattr(f"{manager}.download", fetched)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    rows = [row.values for row in source("gsm8k").rows("test")]
    kept = [{name: row[name] for name in ("question", "answer")} for row in rows]
    by_question = itemgetter("question")
    assert sorted(kept, key=by_question) == sorted(TRAIN, key=by_question)
