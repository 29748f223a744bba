"""What squeue, sacct and sbatch print: lines of a real SLURM 22.05, with `|` for the separator."""

from __future__ import annotations

import random
import string

import pytest

from activeuf_core.errors import LaunchError
from activeuf_core.slurm.queue import (
    ACCOUNTING_FORMAT,
    ENDED,
    FIELD_END,
    QUEUE_FORMAT,
    QUEUED,
    RECORD_END,
    QueueRow,
    expand_tasks,
    parse_accounting,
    parse_duration,
    parse_job_ids,
    parse_memory,
    parse_queue,
    phase_of,
)

EXIT_3 = "1|N/A|1|FAILED|768|0|0:00|17068|17069|17069|NonZeroExitCode|n1|exit three|token|"
NO_FOLDER = "7|N/A|7|FAILED|4021|0|0:00|17068|17069|17069|JobLaunchFailure|n1|nofolder|(null)|"
SEGV = "8|N/A|8|FAILED|11|0|0:00|17068|17069|17069|JobLaunchFailure|n1|segv|(null)|"
SHELL_137 = "43|N/A|43|FAILED|35072|0|0:00|17393|17393|17393|NonZeroExitCode|n1|sh137|(null)|"
OOM = "33|N/A|33|OUT_OF_MEMORY|253|0|0:00|17393|17393|17393|OutOfMemory|n1|oom|(null)|"
TIMEOUT = "34|N/A|34|TIMEOUT|15|0|0:18|17393|17393|17411|TimeLimit|n1|tlimit|(null)|"
NODE_FAIL = "36|N/A|36|NODE_FAIL|15|0|0:03|17393|17393|17396|NodeDown|n3|nodedownNR|(null)|"
PREEMPTED = "41|N/A|41|PREEMPTED|15|0|0:02|17393|17393|17395|None|n4|preemptee|(null)|"
CANCELLED = "2|N/A|2|CANCELLED|15|0|1:08|17068|17069|17137|None|n[1-2]|long-job|(null)|"
CANCELLED_WAITING = "22|2|22|CANCELLED|0|0|0:00|17137|17138|17138|JobArrayTaskLimit||c|(null)|"
KILL_INVALID = "37|N/A|37|CANCELLED|0|0|0:00|17393|17393|17393|DependencyNeverSatisfied||k|(null)|"
REJECTED = "8|N/A|8|FAILED|1|0|0:00|17434|17434|17434|BadConstraints||rejected|(null)|"
COMPLETED = "3|0|9|COMPLETED|0|0|0:01|17068|17069|17070|None|n1|arr|(null)|"
LAST_TASK = "3|7|3|FAILED|1792|0|0:01|17068|17073|17074|NonZeroExitCode|n1|arr|(null)|"
RUNNING = "25|1|27|RUNNING|0|0|0:02|17138|17139|20739|None|n3|arr|(null)|"
COMPLETING = "41|N/A|41|COMPLETING|15|0|0:02|17393|17393|17395|None|n4|preemptee|(null)|"
WAITING = "3|5|3|PENDING|0|0|0:00|17068|N/A|N/A|JobArrayTaskLimit||arr|(null)|"
EXPECTED = "45|N/A|45|PENDING|0|0|0:00|17395|17397|20997|Resources||preemptor|(null)|"
REQUEUED = "46|N/A|46|PENDING|0|1|0:00|17395|17397|20997|None|n3|requeued|(null)|"
HELD = "4|N/A|4|PENDING|0|0|0:00|17068|N/A|N/A|JobHeldUser||held|(null)|"


def squeue(*lines: str) -> str:
    return "".join(line.replace("|", FIELD_END) + RECORD_END + "\n" for line in lines)


def sacct(*lines: str) -> str:
    return "".join(line.replace("|", FIELD_END) + "\n" for line in lines)


@pytest.mark.parametrize(
    ("line", "state", "exit_code", "signal"),
    [
        (EXIT_3, "FAILED", 3, 0),
        (NO_FOLDER, "FAILED", 0, 53),
        (SEGV, "FAILED", 0, 11),
        (SHELL_137, "FAILED", 137, 0),
        (OOM, "OUT_OF_MEMORY", 0, 125),
        (TIMEOUT, "TIMEOUT", 0, 15),
        (NODE_FAIL, "NODE_FAIL", 0, 15),
        (PREEMPTED, "PREEMPTED", 0, 15),
        (CANCELLED, "CANCELLED", 0, 15),
        (CANCELLED_WAITING, "CANCELLED", 0, 0),
        (COMPLETED, "COMPLETED", 0, 0),
        (RUNNING, "RUNNING", None, None),
        (COMPLETING, "COMPLETING", None, None),
        (WAITING, "PENDING", None, None),
    ],
)
def test_the_raw_wait_status_becomes_code_and_signal(
    line: str, state: str, exit_code: int | None, signal: int | None
) -> None:
    (row,) = parse_queue(squeue(line))
    assert (row.state, row.exit_code, row.signal) == (state, exit_code, signal)


def test_every_field_of_a_row() -> None:
    (row,) = parse_queue(squeue(LAST_TASK))
    assert row == QueueRow(
        array_id=3,
        index=7,
        job_id=3,
        name="arr",
        state="FAILED",
        reason="NonZeroExitCode",
        exit_code=7,
        signal=0,
        nodes="n1",
        elapsed_s=1,
        restarts=0,
        submitted=17068,
        started=17073,
        ended=17074,
        comment="",
    )


@pytest.mark.parametrize(
    ("line", "task_id"), [(EXIT_3, "1"), (COMPLETED, "3_0"), (WAITING, "3_5"), (RUNNING, "25_1")]
)
def test_people_call_a_task_by_its_array(line: str, task_id: str) -> None:
    assert parse_queue(squeue(line))[0].task_id == task_id


@pytest.mark.parametrize("line", [WAITING, EXPECTED, REQUEUED, HELD, CANCELLED_WAITING, REJECTED])
def test_what_never_ran_has_no_start(line: str) -> None:
    assert parse_queue(squeue(line))[0].started is None


def test_a_running_task_has_a_start_and_no_end() -> None:
    (row,) = parse_queue(squeue(RUNNING))
    assert (row.phase, row.started, row.ended) == ("running", 17139, None)


def test_a_requeued_job_says_how_often() -> None:
    (row,) = parse_queue(squeue(REQUEUED))
    assert (row.phase, row.restarts) == ("queued", 1)


def test_rows_keep_their_order_and_an_empty_queue_is_no_rows() -> None:
    assert [row.job_id for row in parse_queue(squeue(RUNNING, EXIT_3, WAITING))] == [27, 1, 3]
    assert parse_queue("") == parse_queue("\n") == []


@pytest.mark.parametrize("name", ["a b", "üñ 名", "x|y", "new\nline", "\ttab", f"se{FIELD_END}p"])
def test_a_strange_name_of_somebody_else_spoils_no_other_row(name: str) -> None:
    rows = parse_queue(squeue(EXIT_3) + squeue(RUNNING).replace("arr", name) + squeue(WAITING))
    assert [row.task_id for row in rows] == ["1", "25_1", "3_5"]


def test_name_and_comment_may_hold_the_usual_separators() -> None:
    text = squeue(EXIT_3).replace("exit three", "a|b; c").replace("token", 'to|ken "q" {a}')
    (row,) = parse_queue(text)
    assert (row.name, row.comment) == ("a|b; c", 'to|ken "q" {a}')


def test_long_reasons_and_node_lists_are_kept_whole() -> None:
    reason = "ReqNodeNotAvail, UnavailableNodes:node[1-2,7]"
    (row,) = parse_queue(squeue(HELD.replace("JobHeldUser", reason)))
    assert row.reason == reason


def test_a_later_slurm_may_write_code_and_signal_apart() -> None:
    (row,) = parse_queue(squeue(EXIT_3.replace("768", "3:0")))
    assert (row.exit_code, row.signal) == (3, 0)


@pytest.mark.parametrize(
    "line",
    [
        "slurm_load_jobs error: Socket timed out",
        "1|N/A|1|FAILED|768|",
        EXIT_3.replace("768", "many"),
        EXIT_3.replace("17068", "2026-11-22T10:00:00"),
        WAITING.replace("|5|", "|5-9%2|"),
        EXIT_3.replace("0:00", "soon"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(LaunchError) as error:
        parse_queue(squeue(EXIT_3, line))
    assert line.split("|")[0] in str(error.value)


def test_no_field_of_the_queue_is_cut() -> None:
    assert QUEUE_FORMAT[:4] == ("-h", "-r", "-t", "all")
    for spec in QUEUE_FORMAT[-1].split(","):
        name, _, end = spec.partition(":")
        assert name.replace("_", "").isalpha()
        assert end in (FIELD_END, FIELD_END + RECORD_END)


# JobID|JobIDRaw|State|ExitCode|ElapsedRaw|Submit|Start|End|Reason|NodeList|Comment|JobName
@pytest.mark.parametrize(
    ("line", "task_id", "state", "exit_code", "signal"),
    [
        ("1|1|FAILED|3:0|0|17434|17434|17434|None|n1|token|exit three", "1", "FAILED", 3, 0),
        ("3|3|OUT_OF_MEMORY|0:125|0|1|1|1|None|n1||oom", "3", "OUT_OF_MEMORY", 0, 125),
        ("5|5|TIMEOUT|0:0|18|1|1|9|None|n1||tl", "5", "TIMEOUT", 0, 0),
        ("2_1|15|CANCELLED by 0|0:0|1|1|1|2|None|n1||c", "2_1", "CANCELLED", 0, 0),
        (
            "10_3|19|RUNNING|0:0|54|1|4|Unknown|JobArrayTaskLimit|n1||o",
            "10_3",
            "RUNNING",
            None,
            None,
        ),
        (
            "9|9|PENDING|0:0|0|1|Unknown|Unknown|None|None assigned||allocation",
            "9",
            "PENDING",
            None,
            None,
        ),
        ("8|8|FAILED|0:0|0|1|1|1|None|n1||moments too early", "8", "FAILED", None, None),
        ("12+1|13|FAILED|0:15|3|1|1|4|None|n2||het", "12", "FAILED", 0, 15),
    ],
)
def test_accounting(
    line: str, task_id: str, state: str, exit_code: int | None, signal: int | None
) -> None:
    (row,) = parse_accounting(sacct(line))
    assert (row.task_id, row.state) == (task_id, state)
    assert (row.exit_code, row.signal) == (exit_code, signal)


def test_accounting_rows_have_the_facts_of_queue_rows() -> None:
    (row,) = parse_accounting(sacct("2_1|15|COMPLETED|0:0|50|10|20|70|None|n[1-2]|token|arr"))
    assert (row.array_id, row.index, row.job_id, row.name) == (2, 1, 15, "arr")
    assert (row.elapsed_s, row.submitted, row.started, row.ended) == (50, 10, 20, 70)
    assert (row.nodes, row.comment, row.reason, row.restarts) == ("n[1-2]", "token", "", None)


def test_the_waiting_rest_of_an_array_is_one_row_per_task() -> None:
    rest = "10_[5-9:2,12%1]|10|PENDING|0:0|0|1|Unknown|Unknown|None|None assigned||odd"
    assert [row.index for row in parse_accounting(sacct(rest))] == [5, 7, 9, 12]


def test_steps_are_no_jobs() -> None:
    step = "7.batch|7.batch|COMPLETED|0:0|0|1|1|1||n1||batch"
    assert parse_accounting(sacct(step)) == []


@pytest.mark.parametrize(
    "line", ["Problem talking to the database", "x|1|FAILED|3:0|0|1|1|1|None|n1||n"]
)
def test_a_line_of_accounting_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(LaunchError, match="sacct"):
        parse_accounting(sacct(line))


def test_accounting_asks_for_jobs_without_steps() -> None:
    assert ACCOUNTING_FORMAT[:3] == ("-X", "-n", "-P")


@pytest.mark.parametrize(
    "stdout",
    [
        "123\n",
        "123;cluster\n",
        "Submitted batch job 123\n",
        "Submitted batch job 123 on cluster big\n",
        "Welcome to the cluster\n123\n",
    ],
)
def test_the_id_that_sbatch_printed(stdout: str) -> None:
    assert parse_job_ids(stdout) == 123


@pytest.mark.parametrize(
    "stdout", ["", "\n", "garbage", "12a", "0", "1\n2\n", "job 5", "-3", "1.5"]
)
def test_no_certain_id_is_an_error_that_says_to_look(stdout: str) -> None:
    with pytest.raises(LaunchError, match="look for its name"):
        parse_job_ids(stdout)


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("PENDING", "queued"),
        ("CONFIGURING", "queued"),
        ("REQUEUED", "queued"),
        ("REQUEUE_HOLD", "queued"),
        ("SPECIAL_EXIT", "queued"),
        ("RUNNING", "running"),
        ("COMPLETING", "running"),
        ("SUSPENDED", "running"),
        ("STOPPED", "running"),
        ("RESIZING", "running"),
        ("SIGNALING", "running"),
        ("STAGE_OUT", "running"),
        ("A_WORD_OF_A_LATER_SLURM", "running"),
        ("", "running"),
        ("CANCELLED by 1000", "ended"),
        ("COMPLETED", "ended"),
        ("NODE_FAIL", "ended"),
    ],
)
def test_phases(state: str, phase: str) -> None:
    assert phase_of(state) == phase


def test_no_other_word_whatsoever_counts_as_ended() -> None:
    source = random.Random(0)
    letters = string.ascii_uppercase + "_ +"
    words = ["".join(source.choices(letters, k=source.randrange(12))) for _ in range(2000)]
    near = [word[:-1] for word in ENDED] + [f"{word}X" for word in ENDED] + sorted(QUEUED)
    mixed = [word.lower() for word in ENDED] + [f"{a} by {b}" for a in QUEUED for b in ENDED]
    for word in words + near + mixed:
        assert word in ENDED or phase_of(word) != "ended", word


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1-02:03:04", 93784),
        ("02:03:04", 7384),
        ("3:04", 184),
        ("0:00", 0),
        ("5", 300),
        ("1-02", 93600),
        ("1-02:03", 93780),
        ("00:00.250", 0),
        ("365-00:00:00", 31536000),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "UNLIMITED", "1:2:3:4", "-5", "1h", "a-b"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(LaunchError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4000M", 4000 * 2**20),
        ("4000", 4000 * 2**20),
        ("1.5G", 3 * 2**29),
        ("300K", 300 * 2**10),
        ("0", 0),
        ("2Gn", 2**31),
        ("4MB", 2**22),
    ],
)
def test_memory(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "G", "lots", "-1M", "1X"])
def test_what_is_no_memory(text: str) -> None:
    with pytest.raises(LaunchError, match="memory"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("3-6%3", [3, 4, 5, 6]),
        ("0-2,8,10-14:2", [0, 1, 2, 8, 10, 12, 14]),
        ("5", [5]),
        ("1,2,...", [1, 2]),
        ("", []),
    ],
)
def test_array_ranges(text: str, indices: list[int]) -> None:
    assert expand_tasks(text) == indices
