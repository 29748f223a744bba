"""Worked examples for the context, read from lm-eval's own task files at run time.

In: the installed lm-eval package. Out: rows that the task files in `tasks/` name as their examples.
Source: Wei et al. 2022 (GSM8K), Lewkowycz et al. 2022 (Minerva), Lin et al. 2022 (TruthfulQA). The
texts are their authors'; none is kept here.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from activeuf_core.errors import ConfigError

AVAILABLE: Mapping[str, int] = {"gsm8k": 8, "minerva_math": 4, "ifeval": 0, "truthfulqa": 6}
"""How many examples there are for each benchmark."""


def require_available(benchmark: str, num_fewshot: int) -> None:
    """Refuse more examples than there are. Raises: ConfigError."""
    if num_fewshot > AVAILABLE[benchmark]:
        raise ConfigError(
            f"{benchmark}: num_fewshot is {num_fewshot}, and there are {AVAILABLE[benchmark]} "
            f"examples. Allowed: 0 to {AVAILABLE[benchmark]}."
        )


def gsm8k() -> list[dict[str, str]]:
    """Return the eight chain-of-thought examples, with the suite's ending "So the answer is N."."""
    samples = _task_file("gsm8k/gsm8k-cot.yaml")["fewshot_config"]["samples"]
    return [
        {
            "question": sample["question"],
            "answer": sample["target"].replace("The answer is", "So the answer is"),
        }
        for sample in samples
    ]


def minerva_math() -> list[dict[str, str]]:
    """Return the four Minerva examples: problem and solution."""
    module = importlib.import_module("lm_eval.tasks.minerva_math.utils")
    return [
        {"problem": s["problem"], "solution": s["solution"]} for s in module.list_fewshot_samples()
    ]


def truthfulqa_text(row: Mapping[str, Any]) -> str:
    """Return the six answered questions and the row's question as one text."""
    return truthfulqa_texts(AVAILABLE["truthfulqa"])(row)


def truthfulqa_texts(num_fewshot: int) -> Callable[[Mapping[str, Any]], str]:
    """Return what writes a row's text behind the first `num_fewshot` answered questions."""
    answered = _answered_questions()[:num_fewshot]

    def text(row: Mapping[str, Any]) -> str:
        return "\n\n".join([*answered, f"Q: {row['question']}\nA:"])

    return text


@functools.cache
def _answered_questions() -> list[str]:
    """Render the packaged template with an empty question and keep the pairs before it."""
    template = _task_file("truthfulqa/truthfulqa_mc1.yaml")["doc_to_text"]
    rendered = jinja2.Environment(autoescape=False).from_string(template).render(question="")
    return rendered.split("\n\n")[: AVAILABLE["truthfulqa"]]


@functools.cache
def _task_file(name: str) -> dict[str, Any]:
    """Return a YAML file of the installed lm-eval; names of functions in it stay texts."""
    package = importlib.import_module("lm_eval.tasks")
    path = Path(package.__path__[0]) / name
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_TaskLoader)  # noqa: S506


class _TaskLoader(yaml.SafeLoader):
    """A safe YAML loader that reads lm-eval's `!function` tags as plain texts."""


_TaskLoader.add_constructor("!function", yaml.SafeLoader.construct_yaml_str)
