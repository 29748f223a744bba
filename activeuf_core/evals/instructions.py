"""IFEval's checkers, made to work without a download.

lm-eval's checkers fetch NLTK's sentence tables (punkt_tab) when they are first imported. Here
nothing is fetched: the tables are looked for on this machine, and only rows that need them are
refused without them.
Heavy: imports lm-eval and NLTK.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from activeuf_core.errors import DataError, choose_from

NEED_SENTENCES = ("length_constraints:number_sentences", "change_case:capital_word_frequency")
"""Instructions whose checker splits a text into sentences first."""
TABLES = "tokenizers/punkt_tab/english"
FOLDER = "nltk_data"


@functools.cache
def checkers() -> Any:
    """Return lm-eval's IFEval checkers, imported without a download; languages found repeatably."""
    with _downloads_refused():
        module = importlib.import_module("lm_eval.tasks.ifeval.utils")
    # langdetect samples: without a seed two scorings of one output can differ.
    importlib.import_module("langdetect").DetectorFactory.seed = 0
    return module


def require_checkable(rows: Sequence[dict[str, Any]], location: str) -> None:
    """Refuse rows that cannot be judged: unknown instruction, wrong arguments, missing tables.

    NLTK's tables are looked for where NLTK looks (NLTK_DATA), and in a folder `nltk_data` beside
    the data file or beside its folder. Raises: DataError naming row and instruction.
    """
    known = checkers().instructions_registry.INSTRUCTION_DICT
    has_tables = _find_tables(Path(location))
    for number, row in enumerate(rows, start=1):
        for name, arguments in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            where = f"ifeval: {location}, row {number}"
            if name not in known:
                raise DataError(
                    f"{where}: unknown instruction {name!r}; {choose_from(name, known)}."
                )
            if name in NEED_SENTENCES and not has_tables:
                raise DataError(
                    f"{where}: {name} needs NLTK's sentence tables, and {TABLES} is in none of "
                    f"{', '.join(_search_path(Path(location)))}. Set NLTK_DATA to a folder that "
                    "holds it, or leave such rows out."
                )
            _require_arguments(known[name](name), arguments or {}, f"{where}, {name}")


def _require_arguments(checker: Any, arguments: dict[str, Any], where: str) -> None:
    given = {key: value for key, value in arguments.items() if value}
    try:
        checker.build_description(**given)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: its arguments {given} do not fit ({error}).") from error


def _find_tables(location: Path) -> bool:
    import nltk

    for folder in _search_path(location):
        if folder not in nltk.data.path and (Path(folder) / TABLES).is_dir():
            nltk.data.path.append(folder)
    try:
        nltk.data.find(TABLES)
    except LookupError:
        return False
    return True


def _search_path(location: Path) -> list[str]:
    import nltk

    beside = [location.parent / FOLDER, location.parent.parent / FOLDER]
    return [
        *nltk.data.path,
        *(str(folder) for folder in beside if str(folder) not in nltk.data.path),
    ]


@contextlib.contextmanager
def _downloads_refused() -> Iterator[None]:
    """Make `nltk.download` do nothing: lm-eval calls it at import, network or not."""
    import nltk

    original = nltk.download
    nltk.download = lambda *arguments, **options: False
    try:
        with contextlib.redirect_stdout(
            io.StringIO()
        ):  # it would print that tables were downloaded
            yield
    finally:
        nltk.download = original
