"""Pickled weights as safetensors: read as tensors only, so that no code in them runs.

In: pytorch_model*.bin files. Out: model*.safetensors with an index, in a folder. Heavy: imports
torch inside the function. Cost: the memory of the largest file, twice.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from activeuf_core.adoption.safetensors_files import INDEX
from activeuf_core.artifacts import write_json
from activeuf_core.errors import DataError


def convert(files: Sequence[Path], folder: Path) -> None:
    """Write the tensors of some files as safetensors. Raises: DataError when one holds more than
    tensors, or cannot be read.
    """
    import torch
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    total = 0
    for number, path in enumerate(files, start=1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        try:
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            first = str(error).partition("\n")[0]
            raise DataError(f"{path}: cannot be read as tensors only ({first})") from error
        tensors = {key: value.contiguous().clone() for key, value in found.items()}
        save_file(tensors, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, name)
        total += sum(value.numel() * value.element_size() for value in tensors.values())
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})
