"""Settings of AlpacaEval: the judge that compares two outputs, and what is known of instructions.

Light: pydantic only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from activeuf_core.annotations.config import JudgeServer
from activeuf_core.config import DataRef, ModelRef, StrictModel
from activeuf_core.evals.config import ScoreConfig


class JudgePrompt(StrictModel):
    """The text that a judge of two outputs is asked with."""

    data: DataRef
    """A text file with {instruction}, {output_1} and {output_2}; its turns stand between
    <|im_start|>role and <|im_end|>, without them it is one turn of the user."""


class PairJudge(StrictModel):
    """Says which of two outputs is better, by the probability of one label against the other."""

    not_in_recipe = frozenset({"batch_size"})

    model: ModelRef
    prompt: JudgePrompt | None = None
    """Null: our own words."""
    labels: tuple[str, str] = ("m", "M")
    """What the judge replies when the first, or the second, output is better: one token each."""
    min_label_mass: float = Field(default=0.05, ge=0.0, le=1.0)
    """With less probability than this on both labels together, a reply is a missing judgement."""
    max_tokens: int = Field(default=8192, ge=64)
    """A longer question is asked with the longer output cut, and counted. Of a server: its own
    limit counts."""
    batch_size: int = Field(default=8, ge=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    server: JudgeServer | None = None
    """Null: the model is loaded here. Otherwise a server answers, which has loaded it."""

    @field_validator("labels")
    @classmethod
    def _are_two(cls, labels: tuple[str, str]) -> tuple[str, str]:
        if len({label.strip() for label in labels} - {""}) < 2 or labels != tuple(
            label.strip() for label in labels
        ):
            raise ValueError("two different labels without spaces around them")
        return labels


class LengthControl(StrictModel):
    """What the length-controlled win rate knows of the instructions."""

    data: DataRef
    """Rows {instruction_difficulty, and index or instruction}; rows that also have preference and
    std_delta_len are the reference model's own, told to be longer or shorter."""
    gamed_weight: float = Field(default=0.2, ge=0.0)
    """Weight of those rows together, beside one judged pair."""


class AlpacaEvalConfig(ScoreConfig):
    """How one policy's outputs are compared with a reference model's."""

    judge: PairJudge
    """Who compares."""
    seed: int = 0
    """Decides, per instruction, which of the two outputs the judge reads first."""
    length_control: LengthControl | None = None
    """Null: no instruction is harder than another."""


CONFIGS: Mapping[str, type[ScoreConfig]] = {"alpaca_eval": AlpacaEvalConfig}
"""Benchmarks that need more settings than `ScoreConfig` has."""
