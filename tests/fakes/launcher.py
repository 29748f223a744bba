"""A launcher that makes artifacts itself, at once, and can be told to fail."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from activeuf_core.artifacts import ArtifactStore, Manifest, write_json
from activeuf_core.jobs import Job, Unit
from activeuf_core.launchers.base import JobState, Target
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.stages import stage_of
from activeuf_dagster.project import Launchers, Project


class InstantLauncher:
    """Publishes a one-file artifact per unit when polled.

    `fails` holds the (asset, partition) pairs whose stage fails, `silent` those that end without an
    artifact, `red` the (asset, check) pairs that are reported as failed. `made` lists what was
    made, in order.
    """

    name = "instant"

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.store = ArtifactStore(layout)
        self.fails: set[tuple[str, str]] = set()
        self.silent: set[tuple[str, str]] = set()
        self.red: set[tuple[str, str]] = set()
        self.made: list[tuple[str, str]] = []
        self.jobs: list[Job] = []
        self.cancelled: list[str] = []
        self.holds = False
        self.pack = 1

    def units_per_job(self, asset: str) -> int:
        """Put as many together as the test says."""
        del asset
        return self.pack

    def submit(self, jobs: Sequence[Job]) -> Collection[str]:
        """Accept jobs."""
        self.jobs += jobs
        return ()

    def in_flight(self, wanted: Collection[Target]) -> Mapping[Target, str]:
        """Say that nobody else makes anything."""
        del wanted
        return {}

    def poll(self) -> Mapping[str, JobState]:
        """Make what was submitted, unless told to hold."""
        if self.holds:
            return {job.job_id: JobState("running") for job in self.jobs}
        for job in self.jobs:
            for unit in job.units:
                if not self.store.inspect(unit.asset, unit.fingerprint).is_complete:
                    self._make(job, unit)
        return {job.job_id: JobState("ended", "exit code 0") for job in self.jobs}

    def cancel(self, job_ids: Collection[str]) -> None:
        """Note what was cancelled."""
        self.cancelled += job_ids

    def let_go(self) -> Mapping[str, str]:
        """End what still runs, as a launcher of this machine does."""
        self.cancel([job_id for job_id, state in self.poll().items() if state.phase != "ended"])
        return {}

    def tail(self, job_id: str, lines: int) -> str:
        """Return a line that tests can look for."""
        return f"the log of {job_id}"

    def log_path(self, job_id: str) -> str:
        """Return where the log would be."""
        return str(RunFolder(self.layout.run(job_id)).log)

    def _make(self, job: Job, unit: Unit) -> None:
        node = (unit.asset, unit.partition)
        folder = RunFolder(self.layout.run(job.job_id)).unit(unit.name)
        if node in self.silent or folder.failure.exists():
            return
        if node in self.fails:
            write_json(
                folder.failure, {"kind": "DataError", "message": "told to fail", "retryable": False}
            )
            return
        self.made.append(node)
        write_json(folder.output / "value.json", {"node": node})
        self.store.publish(_manifest(job, unit, self.red), folder.output)


def instant_launchers(
    self: Project, cluster: str = "", fails: Collection[tuple[str, str]] = ()
) -> Launchers:
    """Stand in for `Project.launchers`: one instant launcher for everything."""
    del cluster
    launcher = InstantLauncher(self.layout)
    launcher.fails = set(fails)
    return Launchers(launcher, launcher)


def _manifest(job: Job, unit: Unit, red: set[tuple[str, str]]) -> Manifest:
    checks = tuple(
        {
            "name": check.name,
            "passed": (unit.asset, check.name) not in red,
            "description": check.description,
            "blocking": check.blocking,
            "values": {},
        }
        for check in stage_of(unit.asset).checks
    )
    provenance = {"job_id": job.job_id, "seconds": 0.1, "git_commit": "", "libraries": {}}
    return Manifest(
        asset=unit.asset,
        partition=unit.partition,
        fingerprint=unit.fingerprint,
        version=unit.version,
        generation=unit.generation,
        config=unit.config,
        inputs=unit.input_fingerprints,
        metadata={"rows": 1},
        checks=checks,
        provenance=provenance,
    )
