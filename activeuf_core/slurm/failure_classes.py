"""The ways in which a SLURM job ends without its artifact, as one table: meaning, policy, remedy.

docs/runbook.md shows the same table to people. To add a class: a row here, a rule in
`failures.classify`, a line in the runbook. Pure, standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Action = Literal["give_up", "retry", "retry_more_memory", "retry_more_time", "wait"]
BudgetName = Literal[
    "node_failures",
    "device_failures",
    "preemptions",
    "lost",
    "stage_retries",
    "resumes",
]


@dataclass(frozen=True)
class FailureClass:
    """One way to end without an artifact.

    Args:
        name: as people and metadata see it.
        meaning: one sentence.
        action: what happens while the budget lasts; after that it is given up.
        remedy: the next thing for a person to do.
        budget: the field of Limits that bounds its retries, None when nothing but the growth of
            what it asks for does.
        exclude_nodes: whether a retry keeps away from the nodes that it failed on.
    """

    name: str
    meaning: str
    action: Action
    remedy: str
    budget: BudgetName | None = None
    exclude_nodes: bool = False


_TABLE = (
    FailureClass(
        "StageError",
        "The stage itself said why it cannot go on.",
        "give_up",
        "Mend what its message names, then materialize again.",
    ),
    FailureClass(
        "NonZeroExit",
        "The job ended with an error code and the stage recorded no reason.",
        "give_up",
        "Read the end of the log; mend the cause, then materialize again.",
    ),
    FailureClass(
        "CompletedWithoutArtifact",
        "SLURM says COMPLETED, but no artifact was published.",
        "give_up",
        "Read the whole log: something ended the stage with exit code 0. Is the home folder the "
        "same on the node as here?",
    ),
    FailureClass(
        "Signal",
        "A signal ended the job.",
        "give_up",
        "Read the end of the log. SIGKILL without a message is most often memory: ask for more "
        "in the cluster file; SIGSEGV is a crash in native code.",
    ),
    FailureClass(
        "OutOfMemory",
        "The job used more main memory than it had asked for.",
        "retry_more_memory",
        "Raise the stage's memory in the cluster file, or lower its batch size.",
    ),
    FailureClass(
        "CudaOutOfMemory",
        "The GPU's memory ran out.",
        "give_up",
        "Lower the stage's batch size (gradient accumulation keeps the global one), or choose a "
        "larger GPU in the cluster file.",
    ),
    FailureClass(
        "DeviceFailure",
        "A GPU, its driver or the link between GPUs failed.",
        "retry",
        "Report the node to the cluster's administrators; keep away from it with `--exclude` in "
        "`extra_sbatch` of the cluster file.",
        "device_failures",
        exclude_nodes=True,
    ),
    FailureClass(
        "Timeout",
        "The job reached its time limit.",
        "retry_more_time",
        "Raise the stage's time in the cluster file; a stage with checkpoints goes on from its "
        "last one.",
        "resumes",
    ),
    FailureClass(
        "Deadline",
        "The job's --deadline passed.",
        "give_up",
        "Move or remove --deadline in `extra_sbatch` of the cluster file, then materialize again.",
    ),
    FailureClass(
        "NodeFail",
        "A node of the job failed.",
        "retry",
        "Materialize again; if it stays so, keep away from the node with `--exclude` in "
        "`extra_sbatch` of the cluster file.",
        "node_failures",
        exclude_nodes=True,
    ),
    FailureClass(
        "BootFail",
        "A node did not boot for the job.",
        "retry",
        "Materialize again; if it stays so, keep away from the node with `--exclude` in "
        "`extra_sbatch` of the cluster file.",
        "node_failures",
        exclude_nodes=True,
    ),
    FailureClass(
        "LaunchFailure",
        "SLURM could not start the job's script on its node.",
        "retry",
        "Ask the administrators about the node; until it is mended, keep away from it with "
        "`--exclude` in `extra_sbatch` of the cluster file.",
        "node_failures",
        exclude_nodes=True,
    ),
    FailureClass(
        "Preempted",
        "A job of higher priority took the nodes.",
        "retry",
        "Materialize again, or choose a partition or QOS that is not preempted.",
        "preemptions",
    ),
    FailureClass(
        "CancelledByOther",
        "Somebody or something other than this orchestrator cancelled the job.",
        "give_up",
        "Find out who cancelled it and why, then materialize again.",
    ),
    FailureClass(
        "DependencyNeverSatisfied",
        "The job waited for another job that did not end as it had to.",
        "give_up",
        "Look at the job that it depended on, then materialize again: what is upstream comes "
        "first.",
    ),
    FailureClass(
        "OutputNotWritable",
        "SLURM could not open the job's output file, so that the script never ran.",
        "give_up",
        "Make the home folder exist and writable on the compute nodes, then materialize again.",
    ),
    FailureClass(
        "NeverStarts",
        "The job asks for what its partition, account or QOS never grants, and would wait for "
        "ever.",
        "give_up",
        "Cancel it; ask for less (nodes, time) or for another partition in the cluster file.",
    ),
    FailureClass(
        "SubmissionRejected",
        "SLURM refused the submission.",
        "give_up",
        "Mend what sbatch's message names in the cluster file; `activeuf cluster check` tries it.",
    ),
    FailureClass(
        "Lost",
        "SLURM no longer knows the job, and there is no artifact.",
        "retry",
        "Materialize again; if it stays so, ask whether the controller lost its state.",
        "lost",
    ),
    FailureClass(
        "Superseded",
        "Another attempt owns the artifact, so that this job may not publish.",
        "wait",
        "Nothing: the attempt that took over publishes. `activeuf jobs` shows it.",
    ),
)
FAILURES: Mapping[str, FailureClass] = {row.name: row for row in _TABLE}
"""Every failure class by name, in the order in which people should read about them."""
