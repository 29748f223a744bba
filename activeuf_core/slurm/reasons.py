"""Why SLURM lets a job wait, in words: what `squeue` puts in brackets, for people.

Pure, standard library only. To add a reason: a row here. SLURM has some two hundred of them; what
is not in the table is shown as SLURM writes it.
"""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, str] = {
    "Priority": "other jobs have a higher priority",
    "Resources": "waits for nodes, CPUs, memory or GPUs to become free",
    "JobArrayTaskLimit": "the array already runs as many tasks as max_parallel allows",
    "JobHeldUser": "held until its id is on disk, which takes a moment",
    "JobHeldAdmin": "held by an administrator: ask why",
    "Dependency": "waits for another job",
    "DependencyNeverSatisfied": "waits for a job that ended otherwise: it never starts",
    "BeginTime": "SLURM lets a job that it put back wait some seconds or minutes",
    "ReqNodeNotAvail": "the nodes that it needs are down, drained or reserved",
    "NodeDown": "a node that it needs is down",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition starts no jobs now",
    "PartitionNodeLimit": "asks for more nodes than the partition grants: it never starts",
    "PartitionTimeLimit": "asks for more time than the partition grants: it never starts",
    "BadConstraints": "no node has what it asks for: it never starts",
    "Licenses": "waits for a licence",
    "Reservation": "waits for its reservation to begin",
    "Cleaning": "SLURM tidies up after its last start",
    "Prolog": "the node gets ready for it",
    "InvalidAccount": "the account may not be used: it never starts",
    "AccountNotAllowed": "the partition does not take this account: it never starts",
    "InvalidQOS": "the QOS may not be used: it never starts",
    "QOSNotAllowed": "the partition or account does not take this QOS: it never starts",
    "launch failed requeued held": "its node could not start it: ask the administrators",
}
PREFIXES: Mapping[str, str] = {
    "QOS": "a limit of the QOS is reached",
    "Assoc": "a limit of your account is reached",
    "MaxJobs": "a limit on the number of jobs is reached",
    "Nodes required for job are": "the nodes that it needs are down, drained or reserved",
    "ReqNodeNotAvail": REASONS["ReqNodeNotAvail"],
}


def in_words(reason: str) -> str:
    """Return what a reason means, with SLURM's word behind it; '' for none."""
    if not reason:
        return ""
    found = REASONS.get(reason)
    if found is None:
        matches = (text for prefix, text in PREFIXES.items() if reason.startswith(prefix))
        found = next(matches, None)
    return f"{found} ({reason})" if found else reason
