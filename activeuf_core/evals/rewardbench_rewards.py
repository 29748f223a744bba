"""Rewards of many conversations by one reward model, each read once.

In: a loaded reward model, conversations. Out: a reward and a number of tokens per conversation.
Conversations of similar length share a forward pass, as many as fit into a budget of tokens, so
that little is padding and no pass is much larger than another. Passes are dealt out to the
processes of the stage; what is finished is on disk every 20 s, and an interrupted scoring goes on
there.
Cost: a forward pass per conversation; `benchmarks/rewardbench.py` compares it with the order of the
file. Heavy: imports torch and transformers.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from activeuf_core.errors import DataError
from activeuf_core.evals.config import ScoreConfig
from activeuf_core.evals.models import LoadedModel
from activeuf_core.evals.outcome import Outcome, digest
from activeuf_core.pretrained import Messages, batches_by_tokens, pad
from activeuf_core.shards import Worklist
from activeuf_core.stage import StageContext

REWARD = pa.schema(
    [
        pa.field("completion", pa.int64(), nullable=False),
        pa.field("reward", pa.float64(), nullable=False),
    ]
)
"""The reward of a completion, by its number in the file."""


def rate(
    context: StageContext,
    loaded: LoadedModel,
    conversations: Sequence[Messages],
    config: ScoreConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the reward and the number of tokens of each conversation, in the order given.

    One of more than `max_tokens` keeps its end, because the reward is read at the last token. Every
    process of the stage has to call this, and gets all rewards.
    Raises: DataError when a reward is not finite.
    """
    encoded = loaded.chat.encode(conversations)
    kept = [tokens[-config.max_tokens :] for tokens in encoded]
    total = len(kept)
    with Worklist(context, REWARD, ("completion",), total, "completions") as worklist:
        worklist.work(
            [(number,) for number in range(total)],
            passes([len(tokens) for tokens in kept], config.batch_size),
            lambda batch: _rows(loaded, batch, [kept[i] for i in batch], config),
        )
    rewards = np.array([worklist.done[number,]["reward"] for number in range(total)])
    return rewards, np.array([len(tokens) for tokens in encoded])


def passes(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return which conversations go through the model together: as many tokens in each pass,
    padding included, as `batch_size` conversations of mean length have.
    """
    budget = -(-batch_size * sum(lengths) // len(lengths))
    return list(batches_by_tokens(lengths, budget))


def rewards_of(loaded: LoadedModel, token_ids: Sequence[Sequence[int]]) -> list[float]:
    """Return the rewards of one batch.

    The model finds a conversation's last token by its own pad token, which need not be the
    tokenizer's: it is told which one the padding is made of.
    """
    model, pad_id = loaded.model, loaded.chat.pad_id
    model.config.get_text_config().pad_token_id = pad_id
    ids_BT, mask_BT = pad(token_ids, pad_id, "right")
    with torch.inference_mode():
        logits_B1 = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    return logits_B1[:, 0].float().tolist()


def with_settings(
    outcome: Outcome, config: ScoreConfig, loaded: LoadedModel, task_version: str
) -> Outcome:
    """Return an outcome with what its rewards depended on."""
    settings: dict[str, Any] = {
        "batch_size": config.batch_size,
        "max_tokens": config.max_tokens,
        "dtype": config.dtype,
        "limit": config.limit,
        "chat_template_sha256": digest(str(loaded.chat.tokenizer.chat_template)),
    }
    harness = {"name": "transformers", "version": importlib.metadata.version("transformers")}
    return dataclasses.replace(
        outcome, settings=settings, harness=harness, task_version=task_version
    )


def _rows(
    loaded: LoadedModel,
    batch: Sequence[int],
    token_ids: Sequence[Sequence[int]],
    config: ScoreConfig,
) -> list[dict[str, Any]]:
    found = rewards_of(loaded, token_ids)
    wrong = [i for i, reward in zip(batch, found, strict=True) if not np.isfinite(reward)]
    if wrong:
        raise DataError(
            f"{loaded.folder}: {len(wrong)} of {len(batch)} rewards are not finite in "
            f"{config.dtype}, first that of completion {wrong[0]} of the file. Score in bfloat16 "
            "or float32."
        )
    return [{"completion": i, "reward": r} for i, r in zip(batch, found, strict=True)]
