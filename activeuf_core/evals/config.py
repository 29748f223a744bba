"""Settings of one score."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from activeuf_core.config import DataRef, StrictModel


class ScoreConfig(StrictModel):
    """How one model is scored on one benchmark."""

    not_in_recipe = frozenset(
        {"batch_size", "tensor_parallel_size", "gpu_memory_share", "nltk_data"}
    )

    benchmark: str
    """A name of the table in `benchmarks.py`."""
    data: DataRef
    """The benchmark's rows: a hub data set, or a local file in the same row format."""
    title: str | None = None
    """How the score is to be called where people read it; null: the benchmark's title. Rows that
    are not the benchmark's own must not bear its name alone."""
    limit: int | None = Field(default=None, ge=1)
    """Score only the first rows, which the title then says; null scores all."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """null: the benchmark's number of examples in the context."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """null: the benchmark's limit."""
    batch_size: int = Field(default=8, ge=1)
    """Questions that a policy answers at a time. A reward model reads completions by tokens: as
    many in a pass as so many completions of mean length have."""
    max_tokens: int = Field(default=4096, ge=64)
    """Longest context; longer ones are cut on the left."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    backend: Literal["transformers", "vllm"] = "transformers"
    """What writes a policy's outputs. Part of the recipe, because vLLM's kernels round differently:
    a few greedy outputs, and so scores, differ. vLLM is an extra: `pip install 'activeuf[vllm]'`.
    """
    tensor_parallel_size: int = Field(default=1, ge=1)
    """vLLM only: GPUs that one model is divided among."""
    gpu_memory_share: float = Field(default=0.9, gt=0, le=1)
    """vLLM only: how much of each GPU's memory it takes."""
    nltk_data: str | None = None
    """IFEval only: a folder with NLTK's sentence tables (tokenizers/punkt_tab), absolute or from
    the project's folder; null: where NLTK looks (NLTK_DATA), and `nltk_data` beside the rows."""
