"""Cases: a completion with the prompt that it answers, which is what a judge judges.

In: `prompts.parquet` and one member's `completions.parquet`. Out: cases in the order of the
completions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from activeuf_core.errors import DataError


@dataclass(frozen=True)
class Case:
    """One completion to judge; `constraints` and `answer` are those of its prompt."""

    prompt_id: str
    model: str
    prompt: list[dict[str, str]]
    completion: str
    constraints: list[dict[str, Any]]
    answer: str | None
    given_rating: float | None


def join(
    prompts: Iterable[Mapping[str, Any]], completions: Iterable[Mapping[str, Any]]
) -> list[Case]:
    """Put every completion together with its prompt.

    Raises: DataError when a completion's prompt does not exist.
    """
    by_id = {prompt["prompt_id"]: prompt for prompt in prompts}
    return [_case(by_id, completion) for completion in completions]


def _case(by_id: Mapping[str, Mapping[str, Any]], completion: Mapping[str, Any]) -> Case:
    prompt = by_id.get(completion["prompt_id"])
    if prompt is None:
        raise DataError(
            f"{completion['model']!r} answers prompt {completion['prompt_id']!r}, which is not "
            f"among the {len(by_id)} prompts. Materialize completions again for these prompts."
        )
    return Case(
        prompt_id=completion["prompt_id"],
        model=completion["model"],
        prompt=prompt["prompt"],
        completion=completion["completion"],
        constraints=json.loads(prompt["constraints"] or "[]"),
        answer=prompt["answer"],
        given_rating=completion["given_rating"],
    )
