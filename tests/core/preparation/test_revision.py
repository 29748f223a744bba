"""Revisions: digests of files, and the record of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from activeuf_core.preparation.revision import Revision, digests_of


def test_digests_by_path_below_the_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    files = [tmp_path / "b" / "one", tmp_path / "a"]
    for path in files:
        path.write_text(path.name)
    expected = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a", "one")}
    assert digests_of(tmp_path, files) == {"a": expected["a"], "b/one": expected["one"]}


def test_record_is_plain_json() -> None:
    found = Revision("hf", "openai/gsm8k", "0" * 40, is_pinned=True, files={"a": "b"})
    record = found.as_record()
    assert json.loads(json.dumps(record)) == record
    assert (record["name"], record["files"]) == ("openai/gsm8k", {"a": "b"})
