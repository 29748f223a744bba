"""A base model that is scored as it is: found through the artifact that refers to it.

In: the folder of a trained model, or of what stands in for an untrained one (base_model.json). Out:
the folder with the weights; as a reward model, the base model with a new head, drawn with the
baseline's seed, as the trainings draw theirs before the first step.
Heavy inside functions: torch and transformers. Cost: a model on the hub is fetched once; the files
of one on this machine are read once more, to know that they are the same.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import read_json
from activeuf_core.digests import content_digest
from activeuf_core.errors import DataError
from activeuf_core.paths import BASE_MODEL
from activeuf_core.pretrained import fetch

HEAD = "score.weight"
DEFAULT_STD = 0.02


def weights_folder(folder: Path) -> Path:
    """Return where a model's weights are: the folder itself, or that of the base model that it
    refers to. Raises: DataError when the base model is not there, or is another one by now.
    """
    if not (folder / BASE_MODEL).is_file():
        return folder
    record = read_json(folder / BASE_MODEL)
    location = str(record["location"])
    if Path(location).exists():
        if _content(location) != record["identity"]:
            raise DataError(
                f"{folder}: the base model in {location} is not the one that the baseline is of. "
                "Put that one back, or materialize the baseline again: other weights are another "
                "artifact."
            )
        return Path(location)
    repository, at, revision = location.rpartition("@")
    if not at or Path(location).is_absolute():
        raise DataError(
            f"{folder}: refers to the base model {location}, which is not there. Put it back, or "
            "force the baseline's models to be made again where it is."
        )
    return fetch(repository, revision)


def head_seed(folder: Path) -> int | None:
    """Return the seed of an untrained reward model's head, None for a trained one."""
    if not (folder / BASE_MODEL).is_file():
        return None
    return int(read_json(folder / BASE_MODEL)["seed"])


def load_with_new_head(folder: Path, dtype: str, seed: int) -> Any:
    """Return a base model with a new reward head: normal, with the model's own initial width.

    Raises: DataError when other weights are missing too.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    from activeuf_core.pretrained import device

    model, loading = AutoModelForSequenceClassification.from_pretrained(
        folder,
        num_labels=1,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    missing = sorted(set(loading["missing_keys"]) - {HEAD})
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} weights are not in its files, e.g. {missing[0]!r}; they "
            "would be random numbers. Fetch or save the base model again."
        )
    if HEAD in loading["missing_keys"]:  # drawn here: alike in every dtype and on every device
        width = getattr(model.config, "initializer_range", DEFAULT_STD)
        drawn = torch.empty(model.score.weight.shape)
        drawn.normal_(0.0, width, generator=torch.Generator().manual_seed(seed))
        model.score.weight.data.copy_(drawn)
    return model.eval().to(device())


@functools.cache
def _content(location: str) -> str:
    """Return the digest of a base model: read whole, once per process."""
    return content_digest(Path(location))
