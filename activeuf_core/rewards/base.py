"""What a reward function is: one rule per completion, behind the signature that TRL calls.

In: prompts, completions (texts, or conversations), the columns of the dataset. Out: one number per
completion, None where the reward does not apply: TRL leaves those out of the sum, and their mean is
over the others. A rule sees one completion and its row alone, so a reward never depends on the
batch. `version` names code and settings together, for the record of a training.
Cost: 2 µs per completion beside the rule; the version 25 ms, once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from activeuf_core.code_slice import CodeIndex, digest_of_slice
from activeuf_core.errors import DataError
from activeuf_core.fingerprint import digest_of
from activeuf_core.paths import PROJECT

Row = Mapping[str, Any]
Rule = Callable[[str, Row], float | None]
"""From a completion's text and its row to its reward; never called with a needed column of None."""

NOT_FOLLOWED = ("activeuf_core.errors", "activeuf_core.paths", "activeuf_core.code_slice")
"""Modules that cannot change a reward."""


class RewardFunction(Protocol):
    """What `GRPOTrainer` takes as one of its `reward_funcs`; `__name__` is the name of its metric.

    Args: prompts, completions: texts or lists of messages. completion_ids: tokens, which no reward
    here reads. columns: a list per column of the dataset, and what else the trainer hands over.
    """

    @property
    def name(self) -> str:
        """The reward's name, in configs and in metrics."""
        ...

    @property
    def version(self) -> str:
        """A digest of code and settings: equal versions give equal rewards."""
        ...

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Any] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return one reward per completion, None where it does not apply."""
        ...


@dataclass(frozen=True)
class RuleReward:
    """A reward by rule.

    `needs` names the columns that the rule reads; a row where one of them is None has no reward.
    """

    name: str
    rule: Rule
    needs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """All that the rule was made with, as JSON: part of the version."""
    may_read: tuple[str, ...] = ()
    """Columns that the rule reads where the dataset has them."""
    code: tuple[str, ...] = ()
    """Dotted names of the functions whose code is part of the version."""

    def __post_init__(self) -> None:
        """Carry the name where TRL looks for it."""
        object.__setattr__(self, "__name__", self.name)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Any] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """See `RewardFunction`. Raises: DataError when a column is missing or too short."""
        del prompts, completion_ids
        reads = [*self.needs, *(name for name in self.may_read if name in columns)]
        rows = rows_of(self.name, reads, columns, len(completions))
        return [
            None if any(row[name] is None for name in self.needs) else self.rule(text_of(one), row)
            for one, row in zip(completions, rows, strict=True)
        ]

    @property
    def version(self) -> str:
        """A digest of code and settings."""
        return version_of(self.name, self.code, self.settings)


def text_of(completion: Any) -> str:
    """Return the text of a completion: itself, or what its last message says.

    Content that consists of parts counts with its texts. Raises: DataError for anything else.
    """
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Sequence) and completion and isinstance(completion[-1], Mapping):
        content = completion[-1].get("content")
        if content is None or isinstance(content, str):
            return content or ""
        if isinstance(content, Sequence):
            return "".join(str(part.get("text") or "") for part in content)
    raise DataError(
        f"a completion is {completion!r:.200}; expected a text or a list of messages with role and "
        "content. Give the trainer a dataset with a text or a conversation as prompt."
    )


def rows_of(
    name: str, needs: Sequence[str], columns: Mapping[str, Any], count: int
) -> list[dict[str, Any]]:
    """Return the needed columns as rows. Raises: DataError when one is missing or too short."""
    for needed in needs:
        if needed not in columns:
            known = ", ".join(sorted(columns)) or "none"
            raise DataError(
                f"reward {name!r} reads the column {needed!r}, which the dataset lacks (columns: "
                f"{known}). Add the column, with nulls where it does not apply, or leave the "
                "reward out."
            )
        if len(columns[needed]) != count:
            raise DataError(
                f"reward {name!r}: column {needed!r} has {len(columns[needed])} values for {count} "
                "completions; expected one each."
            )
    return [{needed: columns[needed][index] for needed in needs} for index in range(count)]


def version_of(name: str, code: Sequence[str], settings: Mapping[str, Any]) -> str:
    """Return the digest of a reward's code, wherever it reaches in this project, and settings.

    Comments, docstrings and messages do not count.
    """
    return digest_of({"name": name, "code": _code_digest(tuple(code)), "settings": settings})[:12]


@functools.cache
def _code_digest(code: tuple[str, ...]) -> str:
    index = CodeIndex(PROJECT, NOT_FOLLOWED)
    places = [index.split(name) for name in code]
    found = index.slice("", "", code)
    assert found and all(module and name in module.definitions for module, name in places), (
        f"no code of {code} below {PROJECT}"
    )
    return digest_of_slice(found)
