"""SimPO: the policy's own mean log-probability per token is the reward, and no reference model is
asked.

In: comparisons as token ids. Out: TRL's CPO trainer with its SimPO loss, which trains on exactly
those tokens. Left to itself the trainer would render and tokenize texts anew: put a first and a
last token where the chat template puts none, read control tokens inside a completion as such,
refuse prompts whose last token merges with a completion, and cut at 512 tokens unless told
otherwise.
Source: Meng et al. 2024, equation 6. Heavy: imports trl.
Cost: no forward pass of a reference model; but TRL keeps the logits of whole conversations (tokens
x vocabulary), where DPO's are computed in pieces: lower `per_device_batch_size` if memory is short.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from activeuf_core.training.comparisons import TEMPLATE_OPTIONS
from activeuf_core.training.config import DPOConfig

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # the lock file pins what is experimental
from trl.experimental.cpo import CPOConfig, CPOTrainer

IGNORED = -100
"""Label of a token that is not part of a completion."""


class SimPOTrainer(CPOTrainer):
    """TRL's trainer on tokens that exist already; it counts them, as DPO's trainer does."""

    def __init__(self, **parts: Any) -> None:
        self._num_tokens = 0
        super().__init__(**parts)

    def tokenize_row(self, feature: Mapping[str, Any], model: Any = None) -> dict[str, Any]:
        """Return what the trainer's batches are made of."""
        del model
        sides = {side: feature[f"{side}_ids"] for side in ("chosen", "rejected")}
        start = prompt_length(feature["prompt_ids"], *sides.values())
        row: dict[str, Any] = {}
        for side, ids in sides.items():
            row[f"{side}_input_ids"] = ids
            row[f"{side}_attention_mask"] = [1] * len(ids)
            row[f"{side}_labels"] = [IGNORED] * start + ids[start:]
        return row

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        """Count the tokens of a batch, and return its loss."""
        count = inputs["chosen_attention_mask"].sum() + inputs["rejected_attention_mask"].sum()
        of_all_processes: Any = self.accelerator.gather(count)
        self._num_tokens += int(of_all_processes.sum().item())
        return super().compute_loss(model, inputs, *args, **options)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the number of tokens with each step."""
        if "loss" in logs:
            logs["num_tokens"] = self._num_tokens
        super().log(logs, start_time)


def prompt_length(
    prompt_ids: Sequence[int], chosen_ids: Sequence[int], rejected_ids: Sequence[int]
) -> int:
    """Return how many tokens belong to the prompt: the completions begin where one of the
    conversations leaves the prompt's own tokens. As in TRL's DPO trainer.
    """
    together = zip(prompt_ids, chosen_ids, rejected_ids, strict=False)
    for index, (prompt, chosen, rejected) in enumerate(together):
        if not prompt == chosen == rejected:
            return index
    return min(len(prompt_ids), len(chosen_ids), len(rejected_ids))


def build(config: DPOConfig, settings: dict[str, Any], parts: dict[str, Any]) -> SimPOTrainer:
    """Return the trainer. Args: settings, parts: as for DPO, the data with dpo.SIMPO_COLUMNS."""
    datasets = {
        name: _with_prompt_ids(parts[name], parts["processing_class"])
        for name in ("train_dataset", "eval_dataset")
        if parts[name] is not None
    }
    # Nothing is cut at this; but None would be taken for 512.
    settings["max_length"] = max(map(_longest, datasets.values()))
    arguments = CPOConfig(
        **settings,
        loss_type="simpo",
        beta=config.simpo_beta,
        simpo_gamma=config.simpo_gamma,
        # 1 unless told otherwise: CPO's second term, the chosen completion's likelihood.
        cpo_alpha=0.0,
        # The trainer's batches are made of columns that the model does not name.
        remove_unused_columns=False,
    )
    return SimPOTrainer(args=arguments, **parts | datasets)


def _with_prompt_ids(dataset: Dataset, tokenizer: Any) -> Dataset:
    """Render the prompts as they stand before a completion; conversations are left behind, which
    the trainer would render for itself.
    """

    def render(batch: Mapping[str, Any]) -> dict[str, Any]:
        rendered = tokenizer.apply_chat_template(
            batch["prompt"],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            **TEMPLATE_OPTIONS,
        )
        return {"prompt_ids": rendered["input_ids"]}

    return dataset.map(render, batched=True, remove_columns=["prompt"])


def _longest(dataset: Dataset) -> int:
    """Return the tokens of the longest conversation."""
    return max(len(ids) for side in ("chosen_ids", "rejected_ids") for ids in dataset[side])
