"""What counts as a right answer: one function per benchmark, called by lm-eval for every row.

In: a row and the model's outputs for it (lm-eval's `process_results`). Out: the row's metrics.
Source: the Tulu 3 evaluation suite (Lambert et al. 2024); Minerva's normalisation and IFEval's
checkers are those of lm-eval. Importing this module is light.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from activeuf_core.evals import instructions

NUMBER = re.compile(r"[-+]?\d*\.\d+|\d+")
"""A number in an output. The suite's expression: the sign of a whole number is dropped."""
DIGIT_COMMA = re.compile(r"(\d),(\d)")

Row = Mapping[str, Any]


def last_number(text: str) -> str | None:
    """Return the last number of a text, commas between digits left out; None without one."""
    found = NUMBER.findall(DIGIT_COMMA.sub(r"\1\2", text))
    return found[-1] if found else None


def score_gsm8k(row: Row, outputs: Sequence[str]) -> dict[str, float]:
    """Compare the last number of the output with the number behind '####'."""
    gold = last_number(row["answer"].split("####")[-1])
    return {"exact_match": float(last_number(outputs[0]) == gold)}


def score_minerva_math(row: Row, outputs: Sequence[str]) -> dict[str, float]:
    """Compare the final answer with the boxed one; `exact_match_flex` also takes a boxed or last
    $…$ answer.
    """
    return compare_math(outputs[0], math_answer(row["solution"]))


def compare_math(output: str, gold: str) -> dict[str, float]:
    """Compare an output's final answer with a gold answer that is normalised already."""
    said = _math().normalize_final_answer(_math().get_unnormalized_answer(output))
    exact = _math().is_equiv(said, gold)
    flexible = exact or any(_math().is_equiv(other, gold) for other in _other_answers(output))
    return {"exact_match": float(exact), "exact_match_flex": float(flexible)}


def math_answer(solution: str) -> str:
    """Return the normalised answer in the last box of a worked solution."""
    return _math().normalize_final_answer(
        _math().remove_boxed(_math().last_boxed_only_string(solution))
    )


def score_ifeval(row: Row, outputs: Sequence[str]) -> dict[str, Any]:
    """Check every instruction of the row, strictly and loosely, with lm-eval's checkers."""
    return instructions.checkers().process_results(row, outputs)


def flat_mean(items: Sequence[Sequence[bool]]) -> float:
    """Return the share of followed instructions over all rows together."""
    flat = [followed for item in items for followed in item]
    return sum(flat) / len(flat)


def score_truthfulqa(row: Row, outputs: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Return MC2: the share of the choices' probability mass that lies on true ones."""
    log_likelihoods = np.array([output[0] for output in outputs])
    mass = np.exp(
        log_likelihoods - log_likelihoods.max()
    )  # the maximum cancels out, and guards against underflow
    is_true = np.array(row["mc2_targets"]["labels"]) == 1
    return {"mc2": float(mass[is_true].sum() / mass.sum())}


def _other_answers(output: str) -> list[str]:
    """Return what else may be an output's answer: the last box, the last text between dollars."""
    boxed = _math().last_boxed_only_string(output)
    dollars = re.findall(r"\$([^$]+)\$", output)
    found = [boxed] if boxed else []
    return [_math().normalize_final_answer(text) for text in found + dollars[-1:]]


def _math() -> Any:
    """Return lm-eval's Minerva functions, which need sympy with ANTLR 4.11."""
    return importlib.import_module("lm_eval.tasks.minerva_math.utils")
