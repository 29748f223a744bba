"""What safetensors files hold, from their headers alone: names, types and shapes of tensors.

In: a model folder. Out: its tensors, or why its weights are not whole: a file that the index names
is gone, a tensor is in none of them, a file ends before its last tensor. Cost: a few kB per file.
Source: the safetensors format, a little-endian u64 length, a JSON header, then the data.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activeuf_core.errors import DataError

INDEX = "model.safetensors.index.json"
MAX_HEADER = 100_000_000
BLOCK = 1 << 20


@dataclass(frozen=True)
class Tensor:
    """One tensor: where its bytes lie in which file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    first: int
    last: int


def read_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one file. Raises: DataError when it is not whole."""
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > min(MAX_HEADER, size):
                raise ValueError(f"its header would have {length} bytes")
            header: dict[str, Any] = json.loads(handle.read(length))
        header.pop("__metadata__", None)
        start = 8 + length
        found = {
            name: Tensor(
                path,
                str(one["dtype"]),
                tuple(map(int, one["shape"])),
                start + int(one["data_offsets"][0]),
                start + int(one["data_offsets"][1]),
            )
            for name, one in header.items()
        }
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise DataError(f"{path.name} is no whole safetensors file ({error})") from error
    end = max((tensor.last for tensor in found.values()), default=start)
    if end != size:
        raise DataError(f"{path.name} has {size} bytes, its header says {end}")
    return found


def read_folder(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a model folder, by name.

    Raises: DataError when weights are missing, or not whole.
    """
    index = folder / INDEX
    if not index.exists():
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise DataError("there are no weights (*.safetensors): was it ever saved whole?")
        return {name: one for path in files for name, one in read_header(path).items()}
    try:
        places: Mapping[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(places.values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{INDEX} cannot be read ({error})") from error
    files = {name: folder / Path(name).name for name in names}
    gone = [name for name, path in files.items() if not path.is_file()]
    if gone:
        raise DataError(f"{len(gone)} of {len(names)} weight files are gone, e.g. {gone[0]}")
    headers = {name: read_header(path) for name, path in files.items()}
    lost = [tensor for tensor, name in places.items() if tensor not in headers[name]]
    if lost:
        raise DataError(f"{len(lost)} tensors of {INDEX} are in no file, e.g. {lost[0]}")
    return {tensor: headers[name][tensor] for tensor, name in places.items()}


def first_difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool | None:
    """Return whether a tensor that both have differs in its bytes; None when that cannot be said,
    because they are stored in other types. Reads up to the first difference.
    """
    comparable = False
    for name in sorted(ours.keys() & theirs.keys()):
        one, other = ours[name], theirs[name]
        if one.dtype == other.dtype and one.shape == other.shape:
            comparable = True
            if _differ(one, other):
                return True
    return False if comparable else None


def parameters(tensors: Mapping[str, Tensor]) -> int:
    """Return the number of values."""
    return sum(math.prod(tensor.shape) for tensor in tensors.values())


def _differ(one: Tensor, other: Tensor) -> bool:
    with one.file.open("rb") as ours, other.file.open("rb") as theirs:
        ours.seek(one.first)
        theirs.seek(other.first)
        left = one.last - one.first
        while left > 0:
            size = min(BLOCK, left)
            if ours.read(size) != theirs.read(size):
                return True
            left -= size
    return False
