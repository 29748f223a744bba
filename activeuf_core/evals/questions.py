"""Whether a policy's questions can be scored: what the format of single rows does not tell.

In: rows in a benchmark's format. Out: nothing, or an error that names the row. Everything is found
out before a model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence

from activeuf_core.errors import DataError
from activeuf_core.evals.rows import Row

ASKED: dict[str, str] = {
    "gsm8k": "question",
    "minerva_math": "problem",
    "ifeval": "prompt",
    "truthfulqa": "question",
    "alpaca_eval": "instruction",
}
"""The column that holds the question."""
SHOWN = 60


def require_answerable(
    benchmark: str, rows: Sequence[Row], location: str, nltk_data: str | None = None
) -> None:
    """Refuse a question that stands there twice, and one whose gold answer cannot be read.

    Args: nltk_data: folder with IFEval's sentence tables. Raises: DataError naming row and column.
    """
    _refuse_repeated(benchmark, rows, location)
    if benchmark == "minerva_math":
        _require_math_answers(rows, location)
    if benchmark == "ifeval":
        from activeuf_core.evals import instructions

        instructions.require_checkable(rows, location, nltk_data)


def _refuse_repeated(benchmark: str, rows: Sequence[Row], location: str) -> None:
    first: dict[str, int] = {}
    column = ASKED[benchmark]
    for number, row in enumerate(rows, start=1):
        before = first.setdefault(row[column], number)
        if before != number:
            raise DataError(
                f"{benchmark}: {location}, row {number}: column {column!r} holds the same text as "
                f"row {before} ({row[column][:SHOWN]!r}). A question that counts twice moves the "
                "score: remove one."
            )


def _require_math_answers(rows: Sequence[Row], location: str) -> None:
    from activeuf_core.evals.answers import math_answer

    for number, row in enumerate(rows, start=1):
        where = f"minerva_math: {location}, row {number}: column 'solution'"
        try:
            answer = math_answer(row["solution"])
        except (AssertionError, AttributeError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"{where} holds no answer that can be read from its last \\boxed ({error or '?'}). "
                "Close its braces, or leave the row out."
            ) from error
        if not answer:
            raise DataError(f"{where} holds an empty \\boxed. Put the answer into it.")
