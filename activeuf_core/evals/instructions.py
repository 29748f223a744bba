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
from activeuf_core.paths import PROJECT

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


def require_checkable(
    rows: Sequence[dict[str, Any]], location: str, nltk_data: str | None = None
) -> None:
    """Refuse rows that cannot be judged: unknown instruction, wrong arguments, missing tables.

    NLTK's tables are looked for in `nltk_data`, and nowhere else when it is given; otherwise where
    NLTK looks (NLTK_DATA), and in a folder `nltk_data` beside the data file or beside its folder.
    Raises: DataError naming row and instruction.
    """
    known = checkers().instructions_registry.INSTRUCTION_DICT
    places = _places(Path(location), nltk_data)
    has_tables = _find_tables(places)
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
                    f"{', '.join(map(str, places))}. Set nltk_data in the benchmark's config, or "
                    "the variable NLTK_DATA, to a folder that holds it, or leave such rows out."
                )
            _require_arguments(known[name](name), arguments or {}, f"{where}, {name}")


def _require_arguments(checker: Any, arguments: dict[str, Any], where: str) -> None:
    given = {key: value for key, value in arguments.items() if value}
    try:
        checker.build_description(**given)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: its arguments {given} do not fit ({error}).") from error


def _places(location: Path, nltk_data: str | None) -> list[Path]:
    """Return the folders that may hold the tables, the best first."""
    import nltk

    if nltk_data is not None:
        return [PROJECT / nltk_data]
    beside = [location.parent / FOLDER, location.parent.parent / FOLDER]
    return list(dict.fromkeys([*map(Path, nltk.data.path), *beside]))


def _find_tables(places: Sequence[Path]) -> bool:
    """Put the first place that has the tables where NLTK looks first."""
    import nltk

    found = next((str(place) for place in places if (place / TABLES).is_dir()), None)
    if found is None:
        return False
    nltk.data.path[:] = [found, *(path for path in nltk.data.path if path != found)]
    return True


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
