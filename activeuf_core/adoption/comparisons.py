"""A saved data set of comparisons as a `preference_dataset`.

In: a folder that `datasets` wrote with save_to_disk, whose rows hold prompt, chosen and rejected
(texts, or conversations that begin with the prompt). Out: an offer with rows of
`schemas.PREFERENCE`. Verified: every row has both sides, they differ, chosen never has the lower
score, and the prompts are those of the experiment's candidate pool, where that is there. Not known:
whether the loop had ended, what it would have bought, its ENN and its metrics.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from activeuf_core.adoption.offers import Offer, Wanted, check, not_known
from activeuf_core.errors import DataError
from activeuf_core.paths import CANDIDATES
from activeuf_core.recipes import Node

STATE, SPLITS = "state.json", "dataset_dict.json"
WANTED_SPLITS = ("train_prefs", "train")
LENGTH_BIAS_LIMIT = 0.9


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a saved data set."""
    return (folder / STATE).is_file() or (folder / SPLITS).is_file()


def offer(folder: Path, wanted: Wanted) -> Offer:
    """Return what a saved data set has to offer."""
    node: Node = ("preference_dataset", wanted.experiment)
    try:
        wanted.require_made(node)
        rows = tuple(_row(row, number) for number, row in enumerate(_rows(_split(folder))))
        if not rows:
            raise DataError("it has no rows")
        _require_known_prompts(rows, wanted)
        checks = _checks(rows)
        failed = [one["name"] for one in checks if one["blocking"] and not one["passed"]]
        if failed:
            raise DataError(f"it fails {', '.join(failed)}")
    except DataError as error:
        return Offer(node, folder, "comparisons", problem=str(error))
    return Offer(
        node=node,
        source=folder,
        what="comparisons",
        rows=rows,
        metadata={"comparisons": len(rows)},
        checks=checks,
        not_known=not_known(node[0], *[one["name"] for one in checks]),
    )


def _split(folder: Path) -> Path:
    """Return the folder of the split with the training comparisons."""
    if (folder / STATE).is_file():
        return folder
    found = next((folder / name for name in WANTED_SPLITS if (folder / name).is_dir()), None)
    if found is None:
        raise DataError(f"it has none of the splits {', '.join(WANTED_SPLITS)}")
    return found


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split. Raises: DataError when a file is gone or cut short."""
    import pyarrow as pa

    try:
        names = [one["filename"] for one in json.loads((folder / STATE).read_text())["_data_files"]]
        for name in names:
            with pa.memory_map(str(folder / Path(name).name)) as source:
                for batch in pa.ipc.open_stream(source):
                    yield from batch.to_pylist()
    except (OSError, ValueError, KeyError, pa.ArrowInvalid) as error:
        raise DataError(f"it cannot be read ({error})") from error


def _row(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return a row of ours. Raises: DataError naming the row."""
    try:
        prompt = _conversation(row["prompt"], "user")
        return {
            "prompt_id": str(row["prompt_id"]),
            "source": row.get("source"),
            "prompt": prompt,
            "chosen": _answer(row["chosen"], prompt),
            "rejected": _answer(row["rejected"], prompt),
            "chosen_model": str(row["chosen_model"]),
            "rejected_model": str(row["rejected_model"]),
            "chosen_score": _number(row.get("chosen_score")),
            "rejected_score": _number(row.get("rejected_score")),
            "batch_index": None,
        }
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"row {number} is no comparison ({error!r})") from error


def _conversation(value: Any, role: str) -> list[dict[str, str]]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    return [{"role": one["role"], "content": one["content"]} for one in value]


def _answer(value: Any, prompt: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the turns after the prompt."""
    turns = _conversation(value, "assistant")
    rest = turns[len(prompt) :] if turns[: len(prompt)] == prompt else turns
    if not rest or rest[-1]["role"] != "assistant" or not rest[-1]["content"]:
        raise ValueError("a side has no answer")
    return rest


def _number(value: Any) -> float | None:
    return None if value is None or value == "" else float(value)


def _require_known_prompts(rows: tuple[dict[str, Any], ...], wanted: Wanted) -> None:
    """Refuse comparisons of prompts that are not in the pool, where the pool is there to tell."""
    recipe = wanted.own("preference_dataset")
    (fingerprint,) = recipe.inputs["candidate_pool"].values()
    if not wanted.book.store.inspect("candidate_pool", fingerprint).is_complete:
        return
    from activeuf_core.schemas import iterate_rows

    path = wanted.layout.artifact("candidate_pool", fingerprint) / CANDIDATES
    known = {row["prompt_id"] for row in iterate_rows(path, ["prompt_id"])}
    strange = [row["prompt_id"] for row in rows if row["prompt_id"] not in known]
    if strange:
        raise DataError(
            f"{len(strange)} of {len(rows)} prompts are not in the candidate pool, e.g. "
            f"{strange[0]!r}"
        )


def _checks(rows: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    equal = sum(row["chosen"] == row["rejected"] for row in rows)
    inverted = sum(
        row["chosen_score"] is not None
        and row["rejected_score"] is not None
        and row["chosen_score"] < row["rejected_score"]
        for row in rows
    )
    longer = sum(_length(row["chosen"]) > _length(row["rejected"]) for row in rows) / len(rows)
    asset = "preference_dataset"
    return (
        check(asset, "preferences_not_empty", True, rows=len(rows)),
        check(asset, "chosen_differs_from_rejected", not equal, equal=equal),
        check(asset, "chosen_scores_higher", not inverted, inverted=inverted),
        check(asset, "length_bias", longer <= LENGTH_BIAS_LIMIT, share=longer),
    )


def _length(turns: list[dict[str, str]]) -> int:
    return sum(len(turn["content"]) for turn in turns)
