"""From jobs to a wave on disk: the owner of every artifact, the intent, the script, the secrets.

Nothing is submitted here. The order matters: first the attempts, by which others see that the
artifacts are taken; then the intent, without which a wave counts as never meant.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from activeuf_core.artifacts import write_json
from activeuf_core.attempts import Attempts
from activeuf_core.crash_points import reach
from activeuf_core.errors import LaunchError
from activeuf_core.jobs import Job, load_job
from activeuf_core.launchers.base import Target
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.slurm.cluster import Resources, SlurmCluster
from activeuf_core.slurm.scheduler import Scheduler
from activeuf_core.slurm.script import WaveSpec, render, sbatch_arguments
from activeuf_core.slurm.transport import Transport
from activeuf_core.slurm.waves import Ledger, Owner, Wave

DEFAULT_ARRAY_SIZE = 1001
"""SLURM's own default of MaxArraySize, used when the controller does not answer."""


class WaveOpener:
    """Opens waves on one cluster. `seen` holds the number of the attempt that was last known of
    every artifact: one that is not the newest any more is somebody else's.
    """

    def __init__(
        self,
        layout: Layout,
        cluster: SlurmCluster,
        name: str,
        transport: Transport,
        scheduler: Scheduler,
    ) -> None:
        self.layout = layout
        self.cluster = cluster
        self.name = name
        self.seen: dict[Target, int] = {}
        self._transport = transport
        self._scheduler = scheduler
        self._attempts = Attempts(layout)
        self._ledger = Ledger(layout)

    def take(self, job: Job, token: str) -> Job:
        """Become the owner of a job's artifacts; return the job with those units that we got."""
        owned = []
        for unit in job.units:
            after = self.seen.get((unit.asset, unit.fingerprint), 0)
            if self._attempts.open(
                unit.asset, unit.fingerprint, after, job_id=job.job_id, wave=token
            ):
                self.seen[unit.asset, unit.fingerprint] = after + 1
                owned.append(dataclasses.replace(unit, attempt=after + 1))
        return dataclasses.replace(job, units=tuple(owned))

    def open(self, token: str, jobs: Sequence[Job], resources: Resources) -> Wave:
        """Write down what is to be submitted; durable on return."""
        reach("after-attempt")
        runs = [self.layout.run(job.job_id) for job in jobs]
        for job, run in zip(jobs, runs, strict=True):
            write_json(RunFolder(run).job, job.to_json())
            for_nodes = self._transport.job_for_nodes(job)
            if for_nodes is not None:
                write_json(RunFolder(run).node_job, for_nodes.to_json())
        wave = Wave(
            token=token,
            cluster=self.name,
            job_ids=tuple(job.job_id for job in jobs),
            resources=resources.model_dump(mode="json"),
            owner=Owner.this_process(),
            opened=time.time(),
        )
        folder = self._ledger.open(wave, [self._transport.seen_from_nodes(run) for run in runs])
        script = render(self.spec(token, wave.size, resources))
        folder.script.write_text(script, encoding="utf-8")
        self._hand_over_secrets(folder.secrets)
        reach("after-intent")
        return wave

    def prepare(self, wave: Wave) -> bool:
        """Bring to the cluster what a wave needs there; return whether that is done.

        Raises: UnreachableError when it may work later, LaunchError when it cannot work.
        """
        jobs = [load_job(RunFolder(self.layout.run(job_id)).job) for job_id in wave.job_ids]
        return self._transport.hand_over(self.layout.wave(wave.token), jobs)

    def spec(self, token: str, size: int, resources: Resources) -> WaveSpec:
        """Return what script and arguments are made from. Raises: ConfigError."""
        folder = self._transport.seen_from_nodes(self.layout.wave(token).path)
        return WaveSpec.of(self.cluster, token, folder, size, resources)

    def arguments(self, wave: Wave) -> Sequence[str]:
        """Return the arguments of a wave's sbatch."""
        resources = Resources.model_validate(wave.resources)
        return sbatch_arguments(self.spec(wave.token, wave.size, resources))

    def _hand_over_secrets(self, path: Path) -> None:
        """Write the secret variables to a file that only its owner can read."""
        values = {name: os.environ[name] for name in self.cluster.secrets if name in os.environ}
        if not values:
            return
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        with path.open("w", encoding="utf-8") as handle:
            json.dump(values, handle)

    def array_size(self) -> int:
        """Return how many tasks one array may have."""
        if self.cluster.max_array_size:
            return self.cluster.max_array_size
        try:
            return int(self._scheduler.setting("MaxArraySize") or DEFAULT_ARRAY_SIZE)
        except LaunchError:
            return DEFAULT_ARRAY_SIZE
