"""The policy that is asked, whatever runs it: transformers, or vLLM.

In: a model or adapter folder. Out: a `Policy`, which answers conversations (`answer_chats`) and
lm-eval's requests. Both back ends cut outputs, count tokens and tell how an output ended alike.
Heavy: loads the model.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from activeuf_core import processes
from activeuf_core.errors import ConfigError
from activeuf_core.evals.config import ScoreConfig
from activeuf_core.evals.untrained import weights_folder
from activeuf_core.pretrained import Messages

if TYPE_CHECKING:
    from activeuf_core.evals.language_model import Answer


class Policy(Protocol):
    """A loaded policy; also an lm-eval model."""

    generations: dict[int, Answer]
    """How each row's output came about, after lm-eval has asked."""
    num_cut_contexts: int
    """Contexts of the last request that were longer than the limit."""
    tokenizer: Any

    @property
    def max_length(self) -> int:
        """Most tokens of context and output together."""
        ...

    def answer_chats(
        self, conversations: Sequence[Messages], max_new_tokens: int, stops: Sequence[str] = ()
    ) -> list[Answer]:
        """Return the greedy answer to each conversation, in the order given."""
        ...


def open_policy(folder: Path, config: ScoreConfig, report: Callable[[int, int], None]) -> Policy:
    """Return the policy of a folder; one that is loaded already is used again.

    Several processes must all call this. Args: report: is told (done, total).
    Raises: ConfigError when the back end is not installed; DataError for a broken folder.
    """
    # lm-eval warns of what is done here on purpose: a loaded model, rows of our own.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    folder = weights_folder(folder)
    if config.backend == "vllm":
        return _open_in_vllm(folder, config, report)
    from activeuf_core.evals.language_model import PolicyLM
    from activeuf_core.evals.models import load_policy

    processes.wait()  # each process has its own GPU from here on
    loaded = load_policy(folder, config.dtype)
    return PolicyLM(loaded, config.max_tokens, config.batch_size, report)


def backend_facts(config: ScoreConfig) -> Mapping[str, str]:
    """Return the name and version of what wrote the outputs, as a score's settings tell them."""
    return {
        "backend": config.backend,
        "backend_version": importlib.metadata.version(config.backend),
    }


def _open_in_vllm(folder: Path, config: ScoreConfig, report: Callable[[int, int], None]) -> Policy:
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            "backend is 'vllm', and vLLM is not installed here. Install it on the machine that "
            "scores (pip install 'activeuf[vllm]' in an environment of its own, with a GPU), or "
            "set backend: transformers."
        )
    count = processes.current().count
    if count > 1:
        raise ConfigError(
            f"backend is 'vllm', and the stage was started as {count} processes: vLLM divides a "
            "model among GPUs itself. Give the job one process, and set tensor_parallel_size."
        )
    from activeuf_core.evals.vllm_model import load_in_vllm

    lm = load_in_vllm(
        folder,
        config.dtype,
        config.max_tokens,
        config.tensor_parallel_size,
        config.gpu_memory_share,
    )
    lm.begin(report)
    return lm
