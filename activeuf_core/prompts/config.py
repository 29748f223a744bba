"""Settings of the stage `prompts`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from activeuf_core.config import DataRef, StrictModel


class PromptsConfig(StrictModel):
    """Which prompts are read from a source and which of them are kept."""

    source: DataRef
    """A local file (`.jsonl` or `.csv`, also `.gz`, `.xz`; `.parquet`), a folder, a hub set."""
    subset: str | None = None
    """Configuration name of a hub data set."""
    split: str = "train"
    """Split of a hub data set or folder."""
    prompt_column: str = "prompt"
    """Column with a text or a conversation, which loses an assistant turn at its end."""
    id_column: str | None = "prompt_id"
    """Column with unique ids; where it is absent, the id is a digest of the prompt."""
    source_column: str | None = "source"
    """Column with the origin of a prompt, which picks its principles."""
    limit: int | None = Field(default=None, ge=1)
    """Keep this many prompts, chosen by the seed; null keeps all."""
    max_characters: int = Field(default=20_000, ge=1)
    """Longer prompts are dropped and counted."""
    duplicates: Literal["drop", "keep"] = "drop"
    """What happens to a prompt whose normalised text was seen before."""
    seed: int = 4

    @property
    def is_light(self) -> bool:
        """True: prompts are only read."""
        return True
