"""The judge of two outputs as a model in this process.

In: comparisons. Out: the probabilities of the two labels as its first token, over the whole
vocabulary; a label counts alone and with a space in front. A question that does not fit is asked
with its longer output cut by halves, and counted. Heavy: imports torch.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from activeuf_core import pretrained
from activeuf_core.errors import DataError
from activeuf_core.evals import models
from activeuf_core.evals.alpaca_config import PairJudge
from activeuf_core.evals.alpaca_judge import Told, Verdict
from activeuf_core.evals.alpaca_prompt import Comparison, Prompt

HALVINGS = 12


class ModelBackend:
    """A model that is loaded here, when it is first asked."""

    def __init__(self, config: PairJudge, prompt: Prompt, location: str) -> None:
        self._config = config
        self._prompt = prompt
        self._location = location
        self._num_too_long = 0

    def batches(self, pairs: Sequence[Comparison]) -> list[list[int]]:
        """Return batches of similar length."""
        lengths = [len(pair.instruction + pair.output + pair.reference) for pair in pairs]
        return list(pretrained.batches_by_length(lengths, self._config.batch_size))

    def ask(self, pairs: Sequence[Comparison], told: Told) -> list[Verdict | None]:
        """Return one verdict per pair of a batch; None for one that cannot be made to fit.

        Raises: DataError when the model is broken or has no token for a label.
        """
        fitted = [self._fit(pair) for pair in pairs]
        places = [place for place, found in enumerate(fitted) if found is not None]
        self._num_too_long += len(pairs) - len(places)
        verdicts: list[Verdict | None] = [None] * len(pairs)
        if places:
            chosen = [found for found in fitted if found is not None]
            masses = self._masses([token_ids for token_ids, _ in chosen])
            for place, (first, second), (_, is_cut) in zip(places, masses, chosen, strict=True):
                verdicts[place] = verdict = Verdict(first, second, is_cut)
                told(place, verdict)
        return verdicts

    def facts(self) -> dict[str, int]:
        """Return how many comparisons did not fit."""
        return {"comparisons_too_long": self._num_too_long}

    @functools.cached_property
    def _tokenizer(self) -> pretrained.ChatTokenizer:
        return pretrained.load_tokenizer(self._location)

    @functools.cached_property
    def _model(self) -> torch.nn.Module:
        models.release()  # one model at a time: the policy has written its outputs
        return pretrained.load_model("AutoModelForCausalLM", self._location, self._config.dtype)

    @functools.cached_property
    def _label_ids(self) -> list[list[int]]:
        return [tokens_of(self._tokenizer, label, self._location) for label in self._prompt.labels]

    def _fit(self, pair: Comparison) -> tuple[list[int], bool] | None:
        """Return the question's tokens, and whether an output had to be cut."""
        limit = min(self._config.max_tokens, pretrained.context_length(self._model))
        for halvings in range(HALVINGS + 1):
            (token_ids,) = self._tokenizer.encode([self._prompt.ask(pair)], ask=True)
            if len(token_ids) <= limit:
                return token_ids, halvings > 0
            pair = pair.shortened()
        return None

    def _masses(self, token_ids: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the probabilities of both labels for a batch."""
        ids_BT, mask_BT = pretrained.pad(token_ids, self._tokenizer.pad_id, "left")
        with torch.inference_mode():
            logits_BV = self._model(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                position_ids=(mask_BT.cumsum(-1) - 1).clamp(min=0),
                logits_to_keep=1,
            ).logits[:, -1]
        mass_BV = torch.softmax(logits_BV.double(), dim=-1)
        mass_B2 = torch.stack([mass_BV[:, ids].sum(-1) for ids in self._label_ids], dim=-1)
        if not torch.isfinite(mass_B2).all():
            raise DataError(
                f"{self._location}: the judge gives NaN. Its weights are damaged, or dtype "
                f"{self._config.dtype} is too narrow for it: try dtype: float32."
            )
        return mass_B2.tolist()


def tokens_of(tokenizer: pretrained.ChatTokenizer, label: str, location: str) -> list[int]:
    """Return the tokens that say a label, alone or with a space in front.

    Raises: DataError when there is none.
    """
    plain = tokenizer.tokenizer
    candidates = sorted(i for token, i in plain.get_vocab().items() if token.endswith(label))
    found = [i for i in candidates if plain.decode([i]).strip() == label]
    if not found:
        raise DataError(
            f"{location}: no token says {label!r}, so it cannot judge by labels. Set judge.labels "
            "to two texts of one token each."
        )
    return found
