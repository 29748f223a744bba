"""Whether a cluster file works: a tiny job per shape of resources, submitted as real ones are.

In: a cluster file and a home. Out: what the scheduler's commands answer, and a `Verdict` per shape.
The jobs go through the real submission (held, id on disk, released) and the real script, with
`probe.py` in the task wrapper's place. Everything lies in a folder of its own below the home, and
is gone afterwards, as are the jobs. Cost: as long as the longest queue wait, at most `wait_s`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Literal

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.errors import LaunchError
from activeuf_core.launchers.local import tail_of
from activeuf_core.paths import Layout, WaveFolder
from activeuf_core.slurm import probe
from activeuf_core.slurm.cluster import ON_CLUSTER, Resources, SlurmCluster
from activeuf_core.slurm.failures import Ending, classify, pending_problem
from activeuf_core.slurm.looks import Looks
from activeuf_core.slurm.queue import QueueRow
from activeuf_core.slurm.reasons import in_words
from activeuf_core.slurm.scheduler import Scheduler
from activeuf_core.slurm.script import WaveSpec, render, sbatch_arguments
from activeuf_core.slurm.submission import Submissions
from activeuf_core.slurm.transport import Transport
from activeuf_core.slurm.waves import Ledger, Owner, Wave

Outcome = Literal["ok", "failed", "queued"]
LIGHT = "light jobs"
POLL_S = 0.1
LOOK_EVERY_S, LOOK_AT_MOST_S = 0.5, 5.0
RUN_PATIENCE_S = 180.0
"""How long a probe may take: most of it is Python's start on a cold file system."""
FILE_LAG_S = 5.0
TIDY_S = 15.0
NO_NODE = "no node has that much; `sinfo -o '%P %c %m %G'` shows what there is"
REMEDIES = (
    (r"Invalid partition", "name a partition that `sinfo -s` lists as `slurm_partition`"),
    (r"node configuration is not available|BadConstraints", NO_NODE),
    (r"NodeLimit", "`sinfo -s` shows how many nodes a partition has; ask for fewer"),
    (r"TimeLimit", "`sinfo -o '%P %l'` shows the partitions' limits; ask for less time"),
    (r"[Aa]ccount", "`sacctmgr show assoc user=$USER format=account` lists your accounts"),
    (r"Invalid qos|QOS", "`sacctmgr show assoc user=$USER format=account,qos` lists what you may"),
    (r"Invalid feature", "`sinfo -o '%P %f'` lists what `constraint` may hold"),
    (r"No module named", "`python` must be the project's environment, and `project` its checkout"),
    (r"apptainer|pyxis|enroot|--container", "mend `container`: image, mounts, python"),
    (r"exec: |line \d+: (cd: )?/", "make `python` and `project` name what is there on the nodes"),
    (r"command not found|module|conda|activate", "mend the lines of `setup`"),
)
"""What to do, by what SLURM or the script said; the first that fits."""


@dataclass(frozen=True)
class Shape:
    """Resources that jobs ask for, and the stages whose jobs do."""

    resources: Resources
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What became of a shape's job: what works, and what does not, each with the next step."""

    shape: Shape
    outcome: Outcome
    facts: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What one question to the scheduler came to."""

    text: str
    is_good: bool = True


@dataclass
class _Trial:
    """One job of the check on its way."""

    shape: Shape
    wave: Wave
    folder: WaveFolder
    lock: IO[str]
    began: float = field(default_factory=time.monotonic)
    seen_after_s: float | None = None
    running_since: float | None = None
    gone_since: float | None = None
    verdict: Verdict | None = None


def shapes(cluster: SlurmCluster) -> list[Shape]:
    """Return the distinct shapes of a cluster file, each with its stages."""
    asked = {asset: cluster.resources_for(asset) for asset in ON_CLUSTER}
    asked[LIGHT] = cluster.resources_for(ON_CLUSTER[0], light=True)
    found: dict[Resources, list[str]] = {}
    for stage, resources in asked.items():
        found.setdefault(resources, []).append(stage)
    return [Shape(resources, tuple(stages)) for resources, stages in found.items()]


class ClusterCheck:
    """One check of one cluster."""

    def __init__(
        self,
        layout: Layout,
        cluster: SlurmCluster,
        name: str,
        transport: Transport,
        wait_s: float = 300.0,
    ) -> None:
        """Args: wait_s: how long a job may wait in the queue before it is cancelled."""
        self.cluster = cluster
        self.name = name
        self.wait_s = wait_s
        self.folder = layout.home / "checks" / secrets.token_hex(4)
        self._layout = Layout(self.folder)
        self._transport = transport
        self._scheduler = Scheduler(transport, cluster.call_timeout_s)
        self._ledger = Ledger(self._layout)
        self._looks = Looks(self._scheduler, LOOK_EVERY_S, LOOK_AT_MOST_S)
        self._submissions = Submissions(
            self._scheduler, self._ledger, self._arguments, cluster.settle_s, cluster.lease_s
        )

    def answers(self) -> Iterator[Answer]:
        """Ask the scheduler's commands who they are; stop at the first that does not answer."""
        try:
            version = self._scheduler.setting("SLURM_VERSION")
            name = self._scheduler.setting("ClusterName")
            size = self._scheduler.setting("MaxArraySize")
            yield Answer(f"SLURM {version}, cluster {name}; arrays of up to {size} tasks")
            self._scheduler.queue(["activeuf-check"])
            yield Answer("squeue answers")
        except LaunchError as error:
            text = f"{error} Is this a login node, with SLURM's commands on PATH?"
            yield Answer(text, is_good=False)
            return
        storage = self._scheduler.setting("AccountingStorageType")
        done = self._transport.run(["sacct", "-n", "-X", "-j", "1"], self.cluster.call_timeout_s)
        if done.returncode == 0:
            yield Answer(f"accounting answers (sacct, {storage})")
        else:
            yield Answer(f"no accounting ({storage}); it is not needed, the queue says enough")

    def spec(self, shape: Shape, token: str = "activeuf-check") -> WaveSpec:
        """Return what a shape's job is submitted as. Raises: ConfigError."""
        folder = self._transport.seen_from_nodes(self._layout.wave(token).path)
        spec = WaveSpec.of(self.cluster, token, folder, 1, shape.resources)
        return dataclasses.replace(spec, module=probe.__name__, requeues=0)

    def run(self) -> Iterator[Verdict]:
        """Submit a job per shape, all at once; yield each verdict when it stands."""
        trials: list[_Trial] = []
        try:
            trials.extend(self._begin(shape) for shape in shapes(self.cluster))
            while open_trials := [trial for trial in trials if trial.verdict is None]:
                is_fresh = self._looks.look([trial.wave.token for trial in open_trials])
                for trial in open_trials:
                    trial.verdict = self._step(trial, is_fresh=is_fresh)
                    if trial.verdict is not None:
                        yield trial.verdict
                time.sleep(POLL_S)
        finally:
            self._tidy(trials)

    # ---------------------------------------------------------------------- one job

    def _begin(self, shape: Shape) -> _Trial:
        token = f"activeuf-check-{secrets.token_hex(5)}"
        spec = self.spec(shape, token)
        body = shape.resources.model_dump(mode="json")
        wave = Wave(token, self.name, ("check",), body, Owner.this_process(), time.time())
        folder = self._ledger.open(wave, ["check"])
        folder.script.write_text(render(spec), encoding="utf-8")
        asked = shape.resources
        expected = {
            "shares_files": self._shares_files,
            "environment": sorted(self.cluster.environment),
            "gpus": asked.gpus,
            "tasks": asked.processes,
            "nodes": asked.nodes,
        }
        write_json(folder.path / probe.EXPECT, expected)
        lock = (folder.path / probe.LOGIN_LOCK).open("a")
        fcntl.flock(lock, fcntl.LOCK_EX)
        self._transport.push([folder.path])
        return _Trial(shape, wave, folder, lock)

    def _arguments(self, wave: Wave) -> Sequence[str]:
        shape = Shape(Resources.model_validate(wave.resources), ())
        return sbatch_arguments(self.spec(shape, wave.token))

    @property
    def _shares_files(self) -> bool:
        return self.cluster.ssh is None or self.cluster.ssh.files == "shared"

    def _step(self, trial: _Trial, *, is_fresh: bool) -> Verdict | None:
        """Carry a job on; return the verdict on it, None while there is none."""
        rows = self._looks.rows(trial.wave.token) if is_fresh else None
        standing = self._submissions.step(trial.wave, rows)
        if standing == "refused":
            return self._failed(trial, self._submissions.refusal(trial.wave.token))
        if is_fresh:
            with contextlib.suppress(LaunchError):  # it comes with a later look
                self._transport.pull([trial.folder.path])
        self._answer(trial)
        if (trial.folder.path / probe.REPORT).exists():
            return self._from_report(trial)
        waited = time.monotonic() - trial.began
        if standing == "submitting":
            trouble = self._submissions.trouble(trial.wave.token)
            return self._failed(trial, trouble) if waited > self.wait_s else None
        slurm_id = self._ledger.slurm_id(trial.wave.token)
        row = self._looks.row(trial.wave.token, slurm_id, None)
        return self._from_queue(trial, row, waited) if is_fresh else None

    def _answer(self, trial: _Trial) -> None:
        """Answer the probe's hello, once."""
        path = trial.folder.path
        if trial.seen_after_s is not None or not (path / probe.HELLO).exists():
            return
        trial.seen_after_s = time.monotonic() - trial.began
        sees = not probe.is_free(path / probe.NODE_LOCK)
        write_json(path / probe.ANSWER, {"sees_node_lock": sees})

    def _from_report(self, trial: _Trial) -> Verdict:
        report = read_json(trial.folder.path / probe.REPORT)
        findings = report["findings"]
        after = trial.seen_after_s or time.monotonic() - trial.began
        facts = [f"ran on {report['host']}, {after:.1f} s after it was submitted"]
        if self.cluster.container is not None:
            facts.append(f"container: {self.cluster.container.image} starts")
        facts += [f"{one['name']}: {one['text']}" for one in findings if not one["remedy"]]
        wrong = [
            f"{one['name']}: {one['text']}. Next: {one['remedy']}"
            for one in findings
            if one["remedy"]
        ]
        return Verdict(trial.shape, "failed" if wrong else "ok", tuple(facts), tuple(wrong))

    def _from_queue(self, trial: _Trial, row: QueueRow | None, waited: float) -> Verdict | None:
        """Return the verdict that the queue alone allows: never starts, waits, or ended badly."""
        problem = pending_problem(row.state, row.reason) if row else None
        if row is not None and problem is not None:
            words = f"{problem.name}: {in_words(row.reason)}"
            return self._failed(trial, words, default=problem.remedy)
        if row is not None and row.phase == "queued":
            if waited < self.wait_s:
                return None
            reason = in_words(row.reason) or "SLURM gives no reason"
            text = f"accepted, and still waiting after {waited:.0f} s: {reason}"
            return Verdict(trial.shape, "queued", (text,))
        now = time.monotonic()
        if row is not None and row.phase == "running":
            trial.running_since = trial.running_since or now
            is_late = now - trial.running_since > RUN_PATIENCE_S
            text = f"it runs on {row.nodes} and does not report after {RUN_PATIENCE_S:g} s"
            return self._failed(trial, text) if is_late else None
        trial.gone_since = trial.gone_since or now
        patience = FILE_LAG_S if row is not None else self.cluster.settle_s
        is_certain = row is not None and row.state != "COMPLETED"
        is_over = is_certain or now - trial.gone_since > patience
        return self._ended(trial, row) if is_over else None

    def _ended(self, trial: _Trial, row: QueueRow | None) -> Verdict:
        """Return the verdict on a job that ended without a report."""
        tail = tail_of(trial.folder.path / "slurm.log", 8)
        ending = Ending("") if row is None else _ending(row, tail)
        failure = classify(ending)
        place = f" on {row.nodes}" if row and row.nodes else ""
        code = "" if ending.exit_code is None else f", exit code {ending.exit_code}"
        words = f"{failure.name}: {ending.state or 'not in the queue any more'}{place}{code}"
        said = f"it printed:\n{tail}" if tail else "it printed nothing"
        return self._failed(trial, words, said, default=failure.remedy)

    def _failed(self, trial: _Trial, *words: str, default: str = "") -> Verdict:
        text = "\n".join(words)
        found = next((remedy for sign, remedy in REMEDIES if re.search(sign, text)), default)
        if found:
            text = f"{text}\nNext: {found.removesuffix('.')}."
        return Verdict(trial.shape, "failed", problems=(text,))

    # ---------------------------------------------------------------------- tidying up

    def _tidy(self, trials: Sequence[_Trial]) -> None:
        """Leave nothing in the queue, and nothing in the home."""
        deadline = time.monotonic() + TIDY_S
        for trial in trials:
            trial.lock.close()
            with contextlib.suppress(LaunchError):  # it is held, or ends by itself
                self._scheduler.cancel(trial.wave.token)
        while trials and time.monotonic() < deadline and self._still_there(trials):
            time.sleep(LOOK_EVERY_S)
        if trials and not self._shares_files:
            there = self._transport.seen_from_nodes(self.folder)
            with contextlib.suppress(LaunchError):
                self._transport.run(["rm", "-rf", "--", there], self.cluster.call_timeout_s)
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another check is at work
            self.folder.parent.rmdir()

    def _still_there(self, trials: Sequence[_Trial]) -> bool:
        try:
            rows = self._scheduler.queue([trial.wave.token for trial in trials])
        except LaunchError:
            return True
        return any(row.phase != "ended" for row in rows)


def _ending(row: QueueRow, tail: str) -> Ending:
    return Ending(
        state=row.state,
        reason=row.reason,
        exit_code=row.exit_code,
        signal=row.signal,
        elapsed_s=row.elapsed_s,
        nodes=row.nodes,
        slurm_job_id=row.task_id,
        slurm_log_tail=tail,
    )
