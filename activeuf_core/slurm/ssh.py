"""The transport over SSH: commands through one connection, files shared or copied by rsync.

In: a cluster file with an `ssh` section. Out: a `Transport`. With `files: shared` both machines see
the same files, perhaps under other paths; with `rsync` each has a home of its own (`mirror.py`).
What has no copy there and is not brought there (a model outside the home) must exist there under
its path: this is asked before anything is submitted.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from activeuf_core.errors import LaunchError
from activeuf_core.jobs import Job
from activeuf_core.paths import PROJECT, Layout, WaveFolder
from activeuf_core.slurm.cluster import SlurmCluster, Ssh
from activeuf_core.slurm.connection import Connection
from activeuf_core.slurm.mirror import Mirror
from activeuf_core.slurm.places import Places, sources
from activeuf_core.slurm.scheduler import UnreachableError
from activeuf_core.slurm.transport import Done, LoginNode, Transport

log = logging.getLogger("activeuf.slurm")


def transport_of(layout: Layout, cluster: SlurmCluster) -> Transport:
    """Return the way to a cluster: over SSH where its file says so, else this machine's own."""
    return LoginNode() if cluster.ssh is None else SshTransport(layout, cluster, cluster.ssh)


class SshTransport:
    """A login node elsewhere."""

    def __init__(self, layout: Layout, cluster: SlurmCluster, ssh: Ssh) -> None:
        self.connection = Connection(ssh)
        self.places = Places(
            home=layout.home,
            project=PROJECT,
            home_there=cluster.node_home(layout.home),
            project_there=cluster.node_project,
        )
        self._call_timeout_s = cluster.call_timeout_s
        self._mirror = Mirror(layout, self.connection, self.places.home_there)
        self._is_shared = ssh.files == "shared"
        self._found: set[str] = set()

    def run(
        self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        """Run a command on the login node. Raises: UnreachableError when there is no way to it."""
        return self.connection.run(command, timeout_s, environment)

    def seen_from_nodes(self, path: Path) -> str:
        """Return the path under which the nodes see a file or folder of ours."""
        return self.places.there(path)

    def job_for_nodes(self, job: Job) -> Job | None:
        """Return a job with the paths that the nodes see; None where they are the same as ours."""
        return None if self.places.are_the_same else self.places.job(job)

    def push(self, paths: Sequence[Path]) -> None:
        """Bring files and folders of the home there. Raises: UnreachableError, LaunchError."""
        if not self._is_shared:
            self._mirror.push(self._below_home(paths))

    def pull(self, paths: Sequence[Path]) -> None:
        """Bring files and folders of the home there back. Raises: UnreachableError, LaunchError."""
        if not self._is_shared:
            self._mirror.pull(self._below_home(paths))

    def hand_over(self, wave: WaveFolder, jobs: Sequence[Job]) -> bool:
        """Bring a wave's files and its inputs there; return whether that is done.

        Raises: UnreachableError when it may work later, LaunchError when it cannot work.
        """
        self._require_sources(jobs)
        return self._is_shared or self._mirror.hand_over(wave, self._names(wave, jobs))

    def bring_back(self, waves: Sequence[WaveFolder], jobs: Sequence[Job]) -> Collection[str]:
        """Bring back what open jobs wrote; return those of which everything is here."""
        if self._is_shared:
            return [job.job_id for job in jobs]
        try:
            return self._mirror.bring_back(waves, jobs)
        except LaunchError as error:
            log.warning("%s What the jobs wrote comes later.", error)
            return ()

    def forget_secrets(self, wave: WaveFolder) -> None:
        """Remove the cluster's own copy of a wave's secrets."""
        if self._is_shared or not wave.secrets.exists():
            return
        path = self.places.there(wave.secrets)
        try:
            self.run(["rm", "-f", "--", path], self._call_timeout_s)
        except LaunchError as error:
            log.warning("%s Remove %s there yourself: it holds secrets.", error, path)

    def remote_commit(self) -> str:
        """Return the git commit of the checkout there, '' when git does not know.

        Raises: UnreachableError.
        """
        command = ["git", "-C", self.places.project_there, "rev-parse", "HEAD"]
        done = self.run(command, self._call_timeout_s)
        return done.stdout.strip() if done.returncode == 0 else ""

    def close(self) -> None:
        """End the connection; the next call opens it again."""
        self.connection.close()

    def _names(self, wave: WaveFolder, jobs: Sequence[Job]) -> list[str]:
        """Return what a wave needs there, relative to the home."""
        layout = Layout(self.places.home)
        paths: list[str | Path] = [
            path for path in (wave.intent, wave.jobs, wave.script, wave.secrets) if path.exists()
        ]
        for job in jobs:
            paths.append(layout.run(job.job_id))
            paths += [path for _, path in sources(job)]
            for unit in job.units:
                paths.append(layout.attempts(unit.asset, unit.fingerprint))
                paths += [folder for found in unit.inputs.values() for folder in found.values()]
        return self._below_home(paths)

    def _below_home(self, paths: Sequence[str | Path]) -> list[str]:
        names = (self.places.below_home(path) for path in paths)
        return sorted({name for name in names if name is not None})

    def _require_sources(self, jobs: Sequence[Job]) -> None:
        """Raise unless all that is not brought there is there. Raises: LaunchError, naming it."""
        wanted = {
            self.places.there(path): name
            for job in jobs
            for name, path in sources(job)
            if self.places.below_home(path) is None
        }
        unknown = sorted(wanted.keys() - self._found)
        if not unknown:
            return
        script = "; ".join(f"test -e {shlex.quote(path)}; echo $?" for path in unknown)
        done = self.connection.run_text(script, self._call_timeout_s)
        answers = done.stdout.split()
        if done.returncode is None or len(answers) != len(unknown):
            raise UnreachableError(f"{self.connection.ssh.host}: {done.stderr.strip()}")
        gone = [path for path, answer in zip(unknown, answers, strict=True) if answer != "0"]
        self._found |= set(unknown) - set(gone)
        if gone:
            listed = ", ".join(f"{wanted[path]} ({path})" for path in gone)
            raise LaunchError(
                f"on {self.connection.ssh.host} there is no {listed}. Put it there under that "
                f"path, or keep it below {self.places.home} here: then it is copied."
            )
