"""Settings of the stages `raw_dataset` and `prepared_dataset`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from activeuf_core.config import DataRef, ModelRef, StrictModel
from activeuf_core.rewards.config import Tags

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

NUMBER_PROMPT = (
    "Solve the problem step by step. Put your reasoning between {reasoning_start} and "
    "{reasoning_end}. Then put the final answer, one number and nothing else, between "
    "{answer_start} and {answer_end}."
)
"""What is asked of a policy whose answers are compared with numbers."""


class SplitNames(StrictModel):
    """What a source calls its splits. A split that is named is official: it is kept as it is."""

    train: str = "train"
    """Rows to train on; splits that the source does not have are cut from them."""
    val: str | None = None
    test: str | None = None

    def given(self) -> dict[Split, str]:
        """Return the source's name of every split that it has."""
        names: Mapping[Split, str | None] = {
            "train": self.train,
            "val": self.val,
            "test": self.test,
        }
        return {split: name for split, name in names.items() if name is not None}


class HubSource(StrictModel):
    """A data set of the Hugging Face hub, or a folder in one of the forms that `datasets` reads."""

    kind: Literal["hf"] = "hf"
    data: DataRef
    subset: str | None = None
    """Configuration of the data set, such as `main`."""
    splits: SplitNames = SplitNames()


class KaggleSource(StrictModel):
    """Files of a Kaggle data set. A version is required: without one, rows could change."""

    kind: Literal["kaggle"] = "kaggle"
    dataset: str = Field(pattern=r"^[A-Za-z0-9_-]+/[A-Za-z0-9_.-]+$")
    """`owner/name`."""
    version: int = Field(ge=1)
    files: SplitNames
    """File of each split, as a path inside the data set: `main_train.csv`."""


class TfdsSource(StrictModel):
    """A data set of TensorFlow Datasets, read without TensorFlow."""

    kind: Literal["tfds"] = "tfds"
    builder: str = Field(pattern=r"^[a-z0-9_]+(/[A-Za-z0-9_.-]+)?$")
    """Name, and configuration where it has several: `gsm8k`, `glue/cola`."""
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    splits: SplitNames = SplitNames()


class LocalSource(StrictModel):
    """Files on this machine: `.jsonl` or `.csv`, also with `.gz` or `.xz`; `.parquet`."""

    kind: Literal["local"] = "local"
    train: DataRef
    val: DataRef | None = None
    test: DataRef | None = None

    def given(self) -> dict[Split, DataRef]:
        """Return the file of every split that there is."""
        files: Mapping[Split, DataRef | None] = {
            "train": self.train,
            "val": self.val,
            "test": self.test,
        }
        return {split: file for split, file in files.items() if file is not None}


Source = Annotated[HubSource | KaggleSource | TfdsSource | LocalSource, Field(discriminator="kind")]


class Gsm8kFormat(StrictModel):
    """`question`, and `answer`: a worked solution with the gold number behind ####."""

    kind: Literal["gsm8k"] = "gsm8k"
    ignore_columns: tuple[str, ...] = ()
    """Further columns that somebody looked at; any other unknown column is a failed check."""

    @property
    def answers(self) -> Literal["number", "text"]:
        """What a gold answer is."""
        return "number"


class OpenRubricsFormat(StrictModel):
    """`instruction` and `rubric`, in its second version also two responses and a winner."""

    kind: Literal["openrubrics"] = "openrubrics"
    ignore_columns: tuple[str, ...] = ()

    @property
    def answers(self) -> Literal["number", "text"]:
        """What a gold answer is: there is none."""
        return "text"


class Columns(StrictModel):
    """Which column of a custom data set holds what; other columns are left out."""

    question: str
    answer: str | None = None
    """The gold answer, or a worked solution with the gold answer behind its last ####."""
    rubric: str | None = None
    reference: str | None = None
    """A good completion."""
    target_score: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    source: str | None = None
    id: str | None = None
    """Unique ids; where there are none, the id is a digest of the row."""

    @model_validator(mode="after")
    def _pairs_are_whole(self) -> Columns:
        """A chosen completion is chosen over another one."""
        if (self.chosen is None) != (self.rejected is None):
            raise ValueError(
                f"columns chosen ({self.chosen!r}) and rejected ({self.rejected!r}) belong "
                "together; name both or neither"
            )
        return self


class CustomFormat(StrictModel):
    """Columns of another data set."""

    kind: Literal["custom"] = "custom"
    columns: Columns
    answers: Literal["number", "text"] = "text"
    """`number`: every gold answer must be one, which a check then demands."""


Format = Annotated[Gsm8kFormat | OpenRubricsFormat | CustomFormat, Field(discriminator="kind")]


class Fractions(StrictModel):
    """How the rows are divided that no official split holds."""

    train: float = Field(default=0.70, gt=0.0, le=1.0)
    val: float = Field(default=0.15, ge=0.0, lt=1.0)
    test: float = Field(default=0.15, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _whole(self) -> Fractions:
        """Every row goes somewhere."""
        total = math.fsum((self.train, self.val, self.test))
        if abs(total - 1.0) > 1e-9:
            raise ValueError(
                f"train {self.train:g} + val {self.val:g} + test {self.test:g} is {total:g}; "
                "make them add up to 1"
            )
        return self


class PromptSettings(StrictModel):
    """What a policy is shown: the question, and above it what its answer should look like."""

    system: str | None = None
    """System prompt; `{reasoning_start}` and so on become the tags. Null: for number answers one
    that asks for the tags, else none. Empty: none."""
    system_turn: Literal["own", "user"] = "own"
    """`user`: the system prompt stands at the head of the user's turn, for models whose template
    knows no system turn."""
    tags: Tags = Tags()


class PromptBudget(StrictModel):
    """How long a prompt may be: trainers no longer cut prompts, so what is too long must go."""

    tokens: int = Field(default=256, ge=1)
    """Counted with `tokenizer`; without one, nothing is said about tokens."""
    tokenizer: ModelRef | None = None
    characters: int = Field(default=20_000, ge=1)
    too_long: Literal["drop", "keep"] = "drop"
    """`drop`: prompts over the budget leave the train split, and are counted. Other splits are
    never cut: their rows are the denominators of scores."""


class Limits(StrictModel):
    """When a check fails."""

    duplicate_share: float = Field(default=0.01, ge=0.0, le=1.0)
    over_budget_share: float = Field(default=0.01, ge=0.0, le=1.0)
    fraction_tolerance: float = Field(default=0.02, ge=0.0, le=1.0)
    """Distance from the fraction; small data sets are given four standard deviations."""
    drift: float = Field(default=0.10, ge=0.0)
    """Relative change of a count or length, absolute change of a share."""


class RawDatasetConfig(StrictModel):
    """Where rows come from, and which columns are expected."""

    name: str = Field(min_length=1)
    source: Source
    format: Format

    @property
    def is_light(self) -> bool:
        """True: rows are only copied."""
        return True


class PreparedDatasetConfig(StrictModel):
    """How raw rows become a data set for training and evaluation."""

    name: str = Field(min_length=1)
    format: Format
    fractions: Fractions = Fractions()
    prompt: PromptSettings = PromptSettings()
    budget: PromptBudget = PromptBudget()
    limits: Limits = Limits()
    duplicates: Literal["drop", "keep"] = "drop"
    """What becomes of a row that says the same as another row of its split."""
    limit: int | None = Field(default=None, ge=1)
    """Keep this many of the rows that are divided, chosen by a hash; official val and test splits
    are kept whole."""
    validation: bool = True
    """False: only the blocking checks are looked at."""

    @property
    def is_light(self) -> bool:
        """Whether rows are only moved: a tokenizer must be loaded and takes its time."""
        return self.budget.tokenizer is None

    @property
    def system_prompt(self) -> str:
        """The system prompt with the tags in it; '' for none."""
        given = self.prompt.system
        default = NUMBER_PROMPT if self.format.answers == "number" else ""
        text = default if given is None else given
        for name, tag in self.prompt.tags.model_dump().items():
            text = text.replace(f"{{{name}}}", tag)
        return text
