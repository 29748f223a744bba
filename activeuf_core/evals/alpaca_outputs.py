"""What the policy writes to AlpacaEval's instructions: greedy, and kept until the score is there.

In: instructions; a policy that answers conversations. Out: one output each, in their order. They
are written in chunks of similar length; finished chunks stay in the checkpoints, so that a scoring
that ends while the judge is at work does not write again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from activeuf_core import processes
from activeuf_core.pretrained import batches_by_length
from activeuf_core.schemas import user_message
from activeuf_core.shards import Shards
from activeuf_core.stage import StageContext

if TYPE_CHECKING:
    from activeuf_core.evals.language_model import Answer
    from activeuf_core.evals.policy import Policy

OUTPUT = pa.schema(
    [
        pa.field("index", pa.int64(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("num_tokens", pa.int64(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("is_context_cut", pa.bool_(), nullable=False),
    ]
)
Output = dict[str, Any]


def write_outputs(
    context: StageContext,
    load: Callable[[], Policy],
    instructions: Sequence[str],
    max_new_tokens: int,
    at_once: int,
) -> list[Output]:
    """Return the policy's output to each instruction.

    Args: load: called once, and only when an output is missing. at_once: outputs in a chunk.
    """
    this = processes.current()
    shards = Shards(context.checkpoints / "outputs", OUTPUT)
    kept = {row["index"]: row for row in shards.rows()} if this.is_first else {}
    done: dict[int, Output] = processes.gather(kept)[0]
    context.add_metadata(resumed_outputs=len(done))
    chunks = batches_by_length([len(text) for text in instructions], at_once)
    policy: Policy | None = None
    with shards:
        for chunk in chunks:
            if not all(index in done for index in chunk):
                policy = policy or load()
                asked = [user_message(instructions[index]) for index in chunk]
                answers = policy.answer_chats(asked, max_new_tokens)
                rows = [_row(i, answer) for i, answer in zip(chunk, answers, strict=True)]
                done.update((row["index"], row) for row in rows)
                if this.is_first:
                    shards.add(rows)
            context.progress(len(done), len(instructions), "outputs")
    return [done[index] for index in range(len(instructions))]


def _row(index: int, answer: Answer) -> Output:
    return {
        "index": index,
        "text": answer.text,
        "num_tokens": answer.num_tokens,
        "finish_reason": answer.finish_reason,
        "is_context_cut": answer.is_context_cut,
    }
