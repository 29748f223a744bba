"""A score computed again from its predictions: without a GPU, and without a model.

In: folders of score artifacts (score.json, predictions.jsonl), which are only read. Out: per folder
a line with the stored and the new score; with `--out`, all of it as JSON, the predictions whose
value changed among it. What was left out or published is passed over. IFEval needs NLTK's sentence
tables, as a scoring does (NLTK_DATA).
Command: `python -m activeuf_core.evals.rescore FOLDER… [--out FILE]`. Exit status: 0 when all are
equal, 1 when one differs, 2 when one cannot be computed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.errors import ActiveUFError, DataError, choose_from
from activeuf_core.evals.outcome import Prediction
from activeuf_core.evals.rejudging import FOLDER
from activeuf_core.paths import PREDICTIONS, SCORE
from activeuf_core.stand_ins import kind_of_score

SAME = 1e-9
SHOWN_IDS = 20
NAMES = {field.name for field in fields(Prediction)}


@dataclass(frozen=True)
class Again:
    """A score that was computed again; `changed` are the ids of predictions with another value."""

    folder: str
    benchmark: str
    n: int
    stored: float
    score: float
    stderr: float | None
    changed: list[str]
    parts: Mapping[str, Any]
    details: Mapping[str, Any]

    @property
    def is_same(self) -> bool:
        """Whether score and single values are what the artifact says."""
        return _is_same(self.stored, self.score) and not self.changed


def rescore(folder: Path) -> Again:
    """Compute a score artifact's score again.

    Raises: DataError when the folder is no such artifact, or its predictions lack something.
    """
    record, before = _read(folder)
    name = record["benchmark"]
    if name not in RESCORERS:
        raise DataError(
            f"{folder}: scores of {name!r} cannot be computed again; "
            f"{choose_from(name, RESCORERS)}."
        )
    module, _, function = RESCORERS[name].partition(":")
    score: Rescore = getattr(importlib.import_module(module), function)
    after, found = score({**record, FOLDER: str(folder)}, before)
    changed = [
        new.id
        for old, new in zip(before, after, strict=True)
        if not _is_same(old.correct, new.correct)
    ]
    parts = {label: asdict(part) for label, part in found.parts.items()}
    return Again(
        str(folder),
        name,
        len(after),
        record["score"],
        found.score,
        found.stderr,
        changed,
        parts,
        dict(found.details),
    )


Rescore = Callable[[Mapping[str, Any], Sequence[Prediction]], tuple[Sequence[Prediction], Any]]
_POLICY = "activeuf_core.evals.rejudging:policy"
RESCORERS: Mapping[str, str] = {
    "gsm8k": _POLICY,
    "minerva_math": _POLICY,
    "ifeval": _POLICY,
    "truthfulqa": _POLICY,
    "alpaca_eval": "activeuf_core.evals.rejudging:alpaca_eval",
    "rewardbench2": "activeuf_core.evals.rejudging:rewardbench2",
    "rewardbench": "activeuf_core.evals.rewardbench_pairs:rejudged",
}
"""Per benchmark, the `module:function` that judges its predictions again; given the record, too."""


def main(argv: Sequence[str] | None = None) -> int:
    """Say of every folder whether its score is still what its predictions give."""
    parser = argparse.ArgumentParser(description="Compute scores again from their predictions.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, help="write what was found as JSON")
    arguments = parser.parse_args(argv)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    found: list[Again] = []
    failed = False
    for folder in arguments.folders:
        try:
            if kind := _stand_in(folder):
                _say(f"{folder}: {kind}, so there is nothing to compute again.")
                continue
            found.append(rescore(folder))
            _say(_line(found[-1]))
        except ActiveUFError as error:
            failed = True
            _say(f"{folder}: {error}")
    if arguments.out:
        _require_outside(arguments.out, arguments.folders)
        write_json(arguments.out, {"scores": [asdict(one) for one in found]})
    return 2 if failed else int(not all(one.is_same for one in found))


def _line(one: Again) -> str:
    error = "" if one.stderr is None else f" ± {one.stderr:.4f}"
    score = f"{one.benchmark}: {one.score:.4f}{error} (n={one.n})"
    if one.is_same:
        return f"{score}, as stored  {one.folder}"
    shown = ", ".join(one.changed[:SHOWN_IDS]) or "none"
    more = " …" if len(one.changed) > SHOWN_IDS else ""
    return (
        f"{score} DIFFERS from the stored {one.stored:.4f}; {len(one.changed)} values changed: "
        f"{shown}{more}  {one.folder}"
    )


def _stand_in(folder: Path) -> str:
    """Return what stands in for a score in a folder, '' for a computed one."""
    return kind_of_score(read_json(folder / SCORE)) if (folder / SCORE).is_file() else ""


def _read(folder: Path) -> tuple[dict[str, Any], list[Prediction]]:
    missing = [name for name in (SCORE, PREDICTIONS) if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"no score artifact: {', '.join(missing)} missing. Name a folder below "
            "artifacts/<benchmark>_score."
        )
    record = read_json(folder / SCORE)
    if record.get("score") is None:
        raise DataError(f"it has no score ({record.get('reason', 'unknown')}).")
    lines = (folder / PREDICTIONS).read_text(encoding="utf-8").splitlines()
    return record, [_prediction(json.loads(line), folder, i) for i, line in enumerate(lines, 1)]


def _prediction(line: Mapping[str, Any], folder: Path, number: int) -> Prediction:
    if unknown := set(line) - NAMES:
        raise DataError(f"{folder / PREDICTIONS}, line {number}: unknown keys {sorted(unknown)}.")
    return Prediction(**line)


def _is_same(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is after
    return math.isclose(before, after, abs_tol=SAME)


def _require_outside(out: Path, folders: Sequence[Path]) -> None:
    """Refuse to write into an artifact: it is published, and never changes."""
    inside = [folder for folder in folders if out.resolve().parent == folder.resolve()]
    if inside:
        raise SystemExit(f"--out {out} lies in a published artifact. Name a file elsewhere.")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
