"""Headers of safetensors files: whole, cut short, with an index."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from activeuf_core.adoption.safetensors_files import (
    INDEX,
    first_difference,
    parameters,
    read_folder,
    read_header,
)
from activeuf_core.errors import DataError


def write(path: Path, values: dict[str, list[int]], dtype: str = "U8") -> None:
    """Write a file of vectors of bytes."""
    header, data = {}, b""
    for name, one in values.items():
        offsets = [len(data), len(data) + len(one)]
        header[name] = {"dtype": dtype, "shape": [len(one)], "data_offsets": offsets}
        data += bytes(one)
    text = json.dumps({"__metadata__": {}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def index(folder: Path, places: dict[str, str]) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))


def test_a_header_says_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", {"a": [1, 2], "b": [3]})
    found = read_folder(tmp_path)
    assert found["a"].shape == (2,) and parameters(found) == 3


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"\xff" * 20, struct.pack("<Q", 2) + b"[]"])
def test_other_bytes_are_no_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no whole safetensors file"):
        read_header(path)


def test_the_index_names_files_and_tensors_that_have_to_be_there(tmp_path: Path) -> None:
    write(tmp_path / "one.safetensors", {"a": [1]})
    index(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    with pytest.raises(DataError, match="1 of 2 weight files are gone"):
        read_folder(tmp_path)
    write(tmp_path / "two.safetensors", {"c": [1]})
    with pytest.raises(DataError, match=r"1 tensors of .* are in no file, e\.g\. b"):
        read_folder(tmp_path)
    index(tmp_path, {"a": "one.safetensors", "c": "two.safetensors"})
    assert read_folder(tmp_path).keys() == {"a", "c"}


@pytest.mark.parametrize(
    ("other", "dtype", "differs"), [([1, 2], "U8", False), ([1, 3], "U8", True), ([1], "F16", None)]
)
def test_whether_weights_differ(
    tmp_path: Path, other: list[int], dtype: str, differs: bool | None
) -> None:
    write(tmp_path / "one", {"a": [1, 2]})
    write(tmp_path / "two", {"a": other}, dtype)
    found = first_difference(read_header(tmp_path / "one"), read_header(tmp_path / "two"))
    assert found is differs
