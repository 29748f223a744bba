"""The comparisons that a training uses: checked, measured in tokens, filtered and split.

In: rows of schemas.PREFERENCE, and a tokenizer with a chat template. Out: `Comparisons` in TRL's
conversational form with an explicit prompt. What is wrong with a row (chosen = rejected, an empty
completion, a score that is not a number) is an error, because the stage before should not have
written it; what is merely too long is dropped and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from activeuf_core.errors import DataError
from activeuf_core.seeding import generator
from activeuf_core.training.config import TrainingConfig

CONVERSATIONS = ("prompt", "chosen", "rejected")
SCORES = ("chosen_score", "rejected_score")
COLUMNS = ("prompt_id", *CONVERSATIONS, *SCORES)
TEMPLATE_OPTIONS = {"sanitize_control_tokens": True}
"""Control tokens inside a message count as text: no completion can end its own turn."""
TOKENIZE_ROWS = 1000
SHOWN_ROWS = 3
SHOWN_CHARACTERS = 40

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Comparisons:
    """What is trained on, what is held out, and how many rows were dropped for which reason."""

    train: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    dropped: Mapping[str, int]
    longest: int
    """Tokens of the longest conversation kept."""

    @property
    def num_kept(self) -> int:
        """Comparisons left after dropping, held-out ones included."""
        return len(self.train) + len(self.validation)

    @property
    def num_read(self) -> int:
        """Comparisons of the preference dataset."""
        return self.num_kept + sum(self.dropped.values())


def prepare(rows: Sequence[Row], tokenizer: Any, config: TrainingConfig) -> Comparisons:
    """Check, measure, filter and split the rows of a preference dataset.

    Raises: DataError, with counts, when rows are wrong or fewer than one batch are left.
    """
    require_sound(rows)
    token_ids = _tokenize(rows, tokenizer)
    verdicts = [
        _reason_to_drop(chosen, rejected, config.max_tokens) for chosen, rejected in token_ids
    ]
    dropped = Counter(reason for reason in verdicts if reason)
    kept = [
        {"row": row, "chosen_ids": chosen, "rejected_ids": rejected}
        for row, (chosen, rejected), reason in zip(rows, token_ids, verdicts, strict=True)
        if not reason
    ]
    held_out = _held_out_prompts([item["row"] for item in kept], config)
    train = [_plain(item) for item in kept if item["row"]["prompt_id"] not in held_out]
    validation = [_plain(item) for item in kept if item["row"]["prompt_id"] in held_out]
    _require_a_batch(len(train), len(rows), dropped, config)
    longest = max(len(item[side]) for item in kept for side in ("chosen_ids", "rejected_ids"))
    counts = {reason: dropped[reason] for reason in ("too_long", "same_tokens")}
    return Comparisons(train, validation, counts, longest)


def require_sound(rows: Sequence[Row]) -> None:
    """Check every row, and report all that is wrong at once.

    Raises: DataError with the number of rows per problem and the first few prompt ids of each, or
    with the columns that are missing or of another type.
    """
    _require_form(rows)
    found: dict[str, list[str]] = {}
    for row in rows:
        for problem in _problems(row):
            found.setdefault(problem, []).append(str(row["prompt_id"]))
    if not found:
        return
    lines = [
        f"{len(ids)} with {problem} (prompts {', '.join(ids[:SHOWN_ROWS])})"
        for problem, ids in found.items()
    ]
    raise DataError(
        f"preference_dataset: of {len(rows)} comparisons, {'; '.join(lines)}. "
        "A training on them would teach nothing or go wrong. Correct the stage that wrote them, "
        "and materialize it again."
    )


def _require_form(rows: Sequence[Row]) -> None:
    """Check that columns are there and hold what they should. Raises: DataError."""
    present = set(rows[0]) if rows else set(COLUMNS)
    wrong = {name: "is missing" for name in COLUMNS if name not in present}
    for name in (*CONVERSATIONS, *SCORES):
        holds = _is_conversation if name in CONVERSATIONS else _is_score
        other = next((row[name] for row in rows if name in row and not holds(row[name])), None)
        if other is not None:
            wrong[name] = f"holds {type(other).__name__} {str(other)[:SHOWN_CHARACTERS]!r}"
    if wrong:
        told = "; ".join(f"column {name} {problem}" for name, problem in wrong.items())
        raise DataError(
            f"preference_dataset: {told}. Expected: {', '.join(CONVERSATIONS)} as lists of turns "
            f"with role and content, {', '.join(SCORES)} as numbers or empty, and prompt_id. "
            "Materialize preference_dataset again, or write the file as it does."
        )


def _is_conversation(value: Any) -> bool:
    return value is None or (
        isinstance(value, list)
        and all(isinstance(turn, Mapping) and {"role", "content"} <= set(turn) for turn in value)
    )


def _is_score(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))


def _problems(row: Row) -> list[str]:
    problems = []
    if not row["prompt"] or row["prompt"][-1]["role"] != "user":
        problems.append("a prompt that does not end with a user's turn")
    for side in ("chosen", "rejected"):
        if not row[side] or any(not (turn["content"] or "").strip() for turn in row[side]):
            problems.append(f"an empty {side} completion")
        elif row[side][0]["role"] != "assistant":
            problems.append(f"a {side} completion that is not the assistant's")
        score = row.get(f"{side}_score")
        if score is not None and not math.isfinite(score):
            problems.append(f"a {side} score that is not a number")
    if row["chosen"] == row["rejected"]:
        problems.append("chosen = rejected")
    return problems


def _tokenize(rows: Sequence[Row], tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    """Return the token ids of both conversations of every row, as the chat template renders them.

    In blocks, because the tokenizer works on the conversations of one call in parallel.
    """
    token_ids: list[tuple[list[int], list[int]]] = []
    for start in range(0, len(rows), TOKENIZE_ROWS):
        conversations = [
            [*row["prompt"], *row[side]]
            for row in rows[start : start + TOKENIZE_ROWS]
            for side in ("chosen", "rejected")
        ]
        ids = _render(conversations, tokenizer)
        token_ids += zip(ids[0::2], ids[1::2], strict=True)
    return token_ids


def _render(conversations: list[list[Mapping[str, str]]], tokenizer: Any) -> list[list[int]]:
    from jinja2 import TemplateError

    try:
        rendered = tokenizer.apply_chat_template(
            conversations, tokenize=True, return_dict=True, **TEMPLATE_OPTIONS
        )
    except TemplateError as error:
        roles = sorted({turn["role"] for turns in conversations for turn in turns})
        raise DataError(
            f"the base model's chat template refuses a conversation ({error}); the roles are "
            f"{', '.join(roles)}. Put a template that takes them into the model folder."
        ) from error
    return rendered["input_ids"]


def _reason_to_drop(chosen: Sequence[int], rejected: Sequence[int], max_tokens: int) -> str:
    if max(len(chosen), len(rejected)) > max_tokens:
        return "too_long"
    # Templates trim: texts that differ by white space alone can be the same to the model.
    return "same_tokens" if list(chosen) == list(rejected) else ""


def _held_out_prompts(rows: Sequence[Row], config: TrainingConfig) -> set[str]:
    """Choose whole prompts, so that no prompt is both trained on and held out."""
    if not config.validation_fraction:
        return set()
    prompts = sorted({row["prompt_id"] for row in rows})
    count = max(1, round(config.validation_fraction * len(prompts)))
    order = generator(config.seed, "training", "validation").permutation(len(prompts))
    return {prompts[index] for index in order[:count]}


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a comparison under the column names of TRL's trainers."""
    conversation = {name: item["row"][name] for name in ("prompt", "chosen", "rejected")}
    ids = {name: item[name] for name in ("chosen_ids", "rejected_ids")}
    return {**conversation, "chat_template_kwargs": TEMPLATE_OPTIONS, **ids}


def _require_a_batch(
    num_train: int, num_read: int, dropped: Mapping[str, int], config: TrainingConfig
) -> None:
    if num_train >= config.batch_size:
        return
    raise DataError(
        f"preference_dataset: {num_train} of {num_read} comparisons are left to train on, one "
        f"optimiser step needs batch_size = {config.batch_size}. Dropped: "
        f"{dropped['too_long']} longer than max_tokens = {config.max_tokens}, "
        f"{dropped['same_tokens']} whose sides are the same tokens; validation_fraction is "
        f"{config.validation_fraction}. Raise max_tokens, lower batch_size or collect more."
    )
