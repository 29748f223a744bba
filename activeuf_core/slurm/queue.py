"""What squeue, sacct and sbatch print, read into rows; standard library only, nothing is run here.

In: the text of one `squeue` or `sacct` call made with the arguments below, in an environment with
SLURM_TIME_FORMAT=%s. Out: one `QueueRow` per task. Fields end with control characters, because
job names, comments and reasons hold any printable character; fields of `-O` that have a suffix and
no size are never cut. Formats as of SLURM 22.05, and where they differ of later versions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from activeuf_core.errors import LaunchError
from activeuf_core.launchers.base import Phase

FIELD_END = "\x1f"
RECORD_END = "\x1e"
_FIELDS: tuple[str, ...] = (
    "ArrayJobID",
    "ArrayTaskID",
    "JobID",
    "State",
    "exit_code",
    "RestartCnt",
    "TimeUsed",
    "SubmitTime",
    "StartTime",
    "EndTime",
    "Reason",
    "NodeList",
    "Name",
    "Comment",
)
QUEUE_FORMAT = (
    "-h",
    "-r",
    "-t",
    "all",
    "-O",
    ",".join(f"{name}:{FIELD_END}" for name in _FIELDS) + RECORD_END,
)
"""Arguments of the one squeue call: a row per task, finished ones too while slurmctld remembers
them (MinJobAge). Add `-n <names>` to see only some jobs. Needs SLURM_TIME_FORMAT=%s.
"""
_ACCOUNTING_FIELDS = (
    "JobID",
    "JobIDRaw",
    "State",
    "ExitCode",
    "ElapsedRaw",
    "Submit",
    "Start",
    "End",
    "Reason",
    "NodeList",
    "Comment",
    "JobName",
)
_AS_IN_QUEUE = {
    "ExitCode": "exit_code",
    "Submit": "SubmitTime",
    "Start": "StartTime",
    "End": "EndTime",
    "JobName": "Name",
}
ACCOUNTING_FORMAT = (
    "-X",
    "-n",
    "-P",
    f"--delimiter={FIELD_END}",
    "-o",
    ",".join(_ACCOUNTING_FIELDS),
)
"""Arguments of a sacct call: the last incarnation of each job, one row per task. Add `-j <ids>`.
Needs SLURM_TIME_FORMAT=%s.
"""

ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)
"""States after which SLURM does nothing more with a job. All others may still change."""
QUEUED = frozenset(
    {
        "CONFIGURING",
        "PENDING",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
    }
)
"""States in which the job's script has not begun, or is to begin again."""
_NOTHING = frozenset({"", "(null)", "N/A", "None", "None assigned", "Unknown", "INVALID"})
_MEMORY_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)B?[cn]?", re.IGNORECASE)
_DURATION = re.compile(r"(?:(\d+)-)?(\d+(?::\d+){0,2})(?:\.\d+)?")
_SUBMITTED = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S+| on cluster \S+)?")
_TASKS = re.compile(r"(\d+)(?:_(?:(\d+)|\[([^\]]*)\]?))?(?:\+\d+)?")


@dataclass(frozen=True)
class QueueRow:
    """What SLURM says of one task.

    Args:
        array_id: the id that sbatch printed, the same for all tasks of an array.
        index: the task's place in its array, None for a job that is none.
        job_id: the task's own id, SLURM_JOB_ID inside it; the array's while it waits.
        name: the job's name. sacct calls a job "allocation" in its first seconds.
        state: SLURM's word in capitals, without its ending ("CANCELLED by 0" is CANCELLED).
        reason: SLURM's reason, "" for none. Goes stale: a cancelled job keeps why it waited.
        exit_code: 0-255, None while the job has not ended or when the code is not known yet.
        signal: the number that ended the job, 0 for none, None like exit_code. Numbers above 64
            and 53 are SLURM's own: 53 is an output file that could not be opened.
        nodes: a node list as SLURM writes it ("node[1-2]"), "" before it has nodes.
        elapsed_s: run time of the last incarnation.
        restarts: how often it was requeued, None from sacct.
        submitted: epoch seconds; after a requeue the time of the requeue.
        started: epoch seconds, None when it never ran: SLURM's guess of a future start is no start,
            nor is the "start" of a job that was cancelled while it waited.
        ended: epoch seconds, None before it ended.
        comment: the job's comment, "" for none.
    """

    array_id: int
    index: int | None
    job_id: int
    name: str
    state: str
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    elapsed_s: int | None = None
    restarts: int | None = None
    submitted: int | None = None
    started: int | None = None
    ended: int | None = None
    comment: str = ""

    @property
    def task_id(self) -> str:
        """The id that people and scancel use: "23_4", or "7" for a job without an array."""
        return str(self.array_id) if self.index is None else f"{self.array_id}_{self.index}"

    @property
    def phase(self) -> Phase:
        """Whether the task waits, runs or has ended."""
        return phase_of(self.state)


def phase_of(state: str) -> Phase:
    """Return what a SLURM state means. A word that is not known is "running", never "ended"."""
    word = _state_word(state)
    if word in ENDED:
        return "ended"
    return "queued" if word in QUEUED else "running"


def parse_queue(text: str) -> list[QueueRow]:
    """Return the rows of a squeue call with QUEUE_FORMAT, in squeue's order.

    A job name with line breaks or control characters in it (other people's) spoils no other row.

    Raises: LaunchError, naming the line.
    """
    records = [record.lstrip("\r\n") for record in text.split(RECORD_END)]
    return [_queue_row(record) for record in records if record.strip()]


def parse_accounting(text: str) -> list[QueueRow]:
    """Return the rows of a sacct call with ACCOUNTING_FORMAT; the waiting rest of an array is one
    row per task. Steps are left out.

    Raises: LaunchError, naming the line.
    """
    rows: list[QueueRow] = []
    for line in text.split("\n"):
        if line.strip() and "." not in line.split(FIELD_END, 1)[0]:
            rows += _accounting_rows(line)
    return rows


def parse_job_ids(stdout: str) -> int:
    """Return the id that sbatch printed, with or without --parsable ("123", "123;cluster").

    Raises: LaunchError, when there is not exactly one: whether a job exists is then unknown.
    """
    lines = (_SUBMITTED.fullmatch(line.strip()) for line in stdout.splitlines())
    found = {int(match[1]) for match in lines if match}
    if len(found) != 1 or 0 in found:
        raise LaunchError(
            f"sbatch printed {_shown(stdout)} where one job id was expected ('123' or "
            "'123;cluster'). A job may exist all the same: look for its name with squeue."
        )
    return found.pop()


def parse_duration(text: str) -> int:
    """Return the seconds of "1-02:03:04", "02:03:04", "3:04" or "1-02"; a lone number is minutes,
    as SLURM reads it.

    Raises: LaunchError for anything else (UNLIMITED has no number).
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise LaunchError(
            f"{text!r} is no duration; SLURM writes minutes, MM:SS, HH:MM:SS, D-HH or D-HH:MM:SS."
        )
    parts = [int(part) for part in match[2].split(":")]
    if match[1] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return int(match[1]) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(parts) == 1:
        return parts[0] * 60
    hours, minutes, seconds = (0, 0, *parts)[-3:]
    return hours * 3600 + minutes * 60 + seconds


def parse_memory(text: str) -> int:
    """Return the bytes of "4000M", "1.5G" or "4000" (megabytes, as SLURM reads a lone number).

    Raises: LaunchError for anything else.
    """
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        raise LaunchError(f"{text!r} is no amount of memory; SLURM writes 4000M, 1.5G, 300K.")
    return int(float(match[1]) * _MEMORY_UNITS[match[2].upper() or "M"])


def expand_tasks(text: str) -> list[int]:
    """Return the indices of an array range: "0-2,8,10-14:2%3" is 0, 1, 2, 8, 10, 12, 14."""
    indices: list[int] = []
    for part in text.partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip())
        if match:
            last = int(match[2] or match[1])
            indices += range(int(match[1]), last + 1, max(1, int(match[3] or 1)))
    return indices


def _queue_row(record: str) -> QueueRow:
    cells = record.split(FIELD_END)
    # Every field has an end, so that one piece more than fields comes out; more than that are
    # control characters in somebody's job name or comment.
    if len(cells) <= len(_FIELDS):
        raise LaunchError(_unreadable("squeue", record, f"{len(cells) - 1} fields"))
    values = dict(zip(_FIELDS, cells, strict=False))
    try:
        return _row(
            values,
            array_id=int(_value(values["ArrayJobID"]) or values["JobID"]),
            index=_number(values["ArrayTaskID"]),
            job_id=int(values["JobID"]),
            restarts=_number(values["RestartCnt"]),
            elapsed_s=_seconds(values["TimeUsed"]),
        )
    except (ValueError, LaunchError) as error:
        raise LaunchError(_unreadable("squeue", record, str(error))) from error


def _accounting_rows(line: str) -> list[QueueRow]:
    cells = line.split(FIELD_END, len(_ACCOUNTING_FIELDS) - 1)
    if len(cells) != len(_ACCOUNTING_FIELDS):
        raise LaunchError(_unreadable("sacct", line, f"{len(cells)} fields"))
    names = [_AS_IN_QUEUE.get(name, name) for name in _ACCOUNTING_FIELDS]
    values = dict(zip(names, cells, strict=True))
    match = _TASKS.fullmatch(values["JobID"])
    if match is None:
        raise LaunchError(_unreadable("sacct", line, f"job id {values['JobID']!r}"))
    indices: Sequence[int | None] = [int(match[2])] if match[2] else [None]
    if match[3] is not None:
        indices = expand_tasks(match[3])
    try:
        return [
            _row(
                values,
                array_id=int(match[1]),
                index=index,
                job_id=int(values["JobIDRaw"]),
                restarts=None,
                elapsed_s=_number(values["ElapsedRaw"]),
            )
            for index in indices
        ]
    except ValueError as error:
        raise LaunchError(_unreadable("sacct", line, str(error))) from error


def _row(
    values: Mapping[str, str],
    *,
    array_id: int,
    index: int | None,
    job_id: int,
    restarts: int | None,
    elapsed_s: int | None,
) -> QueueRow:
    """Make a row of what squeue and sacct write alike."""
    state = _state_word(values["State"])
    phase = phase_of(state)
    code, signal = _ending(state, values["exit_code"])
    nodes = _value(values["NodeList"])
    return QueueRow(
        array_id=array_id,
        index=index,
        job_id=job_id,
        name=values["Name"],
        state=state,
        reason=_value(values["Reason"]),
        exit_code=code,
        signal=signal,
        nodes=nodes,
        elapsed_s=elapsed_s,
        restarts=restarts,
        submitted=_number(values["SubmitTime"]),
        started=_number(values["StartTime"]) if phase != "queued" and nodes else None,
        ended=_number(values["EndTime"]) if phase == "ended" else None,
        comment=_value(values["Comment"]),
    )


def _ending(state: str, text: str) -> tuple[int | None, int | None]:
    """Return exit code and signal from a raw wait status (768) or from "3:0".

    (None, None) before the end, and for FAILED with 0: accounting has the state moments before the
    code.
    """
    if phase_of(state) != "ended" or not _value(text):
        return None, None
    if ":" in text:
        left, _, right = text.partition(":")
        code, signal = int(left), int(right)
    else:
        status = int(text)
        signal = status & 0x7F
        code = 0 if signal else (status >> 8) & 0xFF
    return (None, None) if state == "FAILED" and code == signal == 0 else (code, signal)


def _state_word(state: str) -> str:
    word = state.strip()
    return "CANCELLED" if word.startswith("CANCELLED by ") else word


def _value(text: str) -> str:
    return "" if text.strip() in _NOTHING else text.strip()


def _number(text: str) -> int | None:
    return int(text) if _value(text) else None


def _seconds(text: str) -> int | None:
    return parse_duration(text) if _value(text) else None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 300 else text[:300] + "…")


def _unreadable(tool: str, line: str, found: str) -> str:
    return (
        f"cannot read this line of {tool}: {_shown(line)} ({found}). Was it called with the "
        "project's format and SLURM_TIME_FORMAT=%s?"
    )
