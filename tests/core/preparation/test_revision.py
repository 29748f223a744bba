"""Revisions: digests of files, and the record of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from activeuf_core.preparation.revision import Revision, digests_of, files_below


def test_digests_by_path_below_the_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    files = [tmp_path / "b" / "one", tmp_path / "a"]
    for path in files:
        path.write_text(path.name)
    expected = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a", "one")}
    assert digests_of(tmp_path, files) == {"a": expected["a"], "b/one": expected["one"]}


def test_hidden_files_are_no_part_of_a_data_set(tmp_path: Path) -> None:
    for name in (".cache/fetched", "main/train", ".gitattributes"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert files_below(tmp_path) == [tmp_path / "main" / "train"]


def test_record_is_plain_json() -> None:
    found = Revision("hf", "openai/gsm8k", "0" * 40, is_pinned=True, files={"a": "b"})
    record = found.as_record()
    assert json.loads(json.dumps(record)) == record
    assert (record["name"], record["files"]) == ("openai/gsm8k", {"a": "b"})
