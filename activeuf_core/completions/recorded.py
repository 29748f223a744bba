"""Recorded completions: one member's answers out of a pool file.

In: rows {prompt_id, completions: [{model, response, …}]}; the text may also stand under
`response_text` or `completion`, and finish_reason, principle and system_prompt are kept where a
record has them. Out: COMPLETION rows by prompt id. A record without a text counts as missing. Cost:
the whole file is read for one member, 70 MB/s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from activeuf_core.completions.config import CompletionsConfig
from activeuf_core.errors import DataError, choose_from
from activeuf_core.sources import SourceRow, identifier

TEXT_FIELDS = ("response", "response_text", "completion")
KEPT_FIELDS = ("principle", "system_prompt", "finish_reason")


def pick_member(
    rows: Iterable[SourceRow], config: CompletionsConfig, prompt_ids: set[str]
) -> dict[str, dict[str, Any]]:
    """Return the member's COMPLETION rows by prompt id, of those prompts that are wanted.

    Raises: DataError when no row knows the member (naming those that exist), when it answers a
    prompt twice, or when a row has another form.
    """
    name = config.recorded_as or config.member
    found: dict[str, dict[str, Any]] = {}
    members: set[str] = set()
    for row in rows:
        prompt_id = identifier(row.values.get("prompt_id"), row.where, "prompt_id")
        for record in _records(row):
            members.add(str(record.get("model")))
            if record.get("model") != name or prompt_id not in prompt_ids:
                continue
            completion = _completion(record, prompt_id, row.where, config)
            if prompt_id in found:
                raise DataError(
                    f"{row.where}: {name!r} answers prompt {prompt_id!r} a second time. Keep one."
                )
            if completion:
                found[prompt_id] = completion
    if name not in members:
        raise DataError(f"no completion of {name!r} in the source; {choose_from(name, members)}.")
    return found


def given_rating(value: Any, where: str, column: str) -> float | None:
    """Return a recorded judgement as a number, None where there is none: null, '' or NaN.

    Raises: DataError when it is anything else but a finite number.
    """
    if value is None or value == "":
        return None
    try:
        rating = float(value)
    except (TypeError, ValueError):
        rating = math.inf
    if math.isnan(rating):
        return None
    if math.isinf(rating) or isinstance(value, bool):
        raise DataError(f"{where}: {column} is {value!r}, expected a finite number or nothing.")
    return rating


def _records(row: SourceRow) -> Iterable[Mapping[str, Any]]:
    records = row.values.get("completions")
    if isinstance(records, list) and all(isinstance(record, dict) for record in records):
        return records
    raise DataError(
        f"{row.where}: completions is {records!r:.200}, expected a list of objects with model and "
        "response."
    )


def _completion(
    record: Mapping[str, Any], prompt_id: str, where: str, config: CompletionsConfig
) -> dict[str, Any] | None:
    texts = [record[name] for name in TEXT_FIELDS if name in record]
    if not texts:
        fields = ", ".join(sorted(record))
        raise DataError(
            f"{where}: the completion of {config.member!r} has no text (it has: {fields}). "
            f"Expected one of {', '.join(TEXT_FIELDS)}."
        )
    if texts[0] is None:
        return None
    if not isinstance(texts[0], str):
        raise DataError(
            f"{where}: the completion of {config.member!r} is {texts[0]!r:.200}, expected a text."
        )
    rating = record.get(config.rating_column) if config.rating_column else None
    return {
        "prompt_id": prompt_id,
        "model": config.member,
        "completion": texts[0],
        **{name: record.get(name) for name in KEPT_FIELDS},
        "given_rating": given_rating(rating, where, str(config.rating_column)),
    }
