"""A second home on the cluster's side, kept up to date by rsync over the SSH connection.

There, before a wave is submitted: its folder, its run folders, the attempts at its artifacts (which
fence off the jobs that it supersedes), its input artifacts, and models and data of the home. Back,
at every look at the queue: logs, progress and states of open jobs in one rsync, and the artifacts
that are complete there. An artifact is copied beside the store, read in full, and moved to its
address only when every digest is that of its manifest. Checkpoints stay there; of those only the
time of the newest is noted, as an empty file.

What takes longer than a moment goes on in a thread, while the launcher watches the other jobs.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.crash_points import reach
from activeuf_core.errors import ActiveUFError, LaunchError
from activeuf_core.jobs import Job
from activeuf_core.launchers.base import Target
from activeuf_core.paths import MANIFEST, Layout, WaveFolder
from activeuf_core.slurm.connection import Connection
from activeuf_core.slurm.scheduler import NotSentError, UnreachableError

log = logging.getLogger("activeuf.slurm")
PATIENCE_S = 2.0
"""How long a call waits for a transfer before it goes on in the background."""
STATE_TIMEOUT_S = 120.0
SILENCE_S = 60
"""After this long without a byte rsync gives up."""
TRIES = 3
"""A copy that is wrong this often is taken for wrong over there, too."""
COMMON = (
    *("--recursive", "--copy-links", "--times", "--omit-dir-times", "--from0", "--files-from=-"),
    *("--protect-args", "--partial-dir=.rsync-partial", f"--timeout={SILENCE_S}"),
)
OF_STATES = (
    *("--ignore-missing-args", "--exclude=.*", "--exclude=/runs/*/units/*/output/"),
    *("--exclude=/runs/*/start-*/units/*/output/", "--exclude=/runs/*/ended.json"),
    *("--exclude=/runs/*/job.json", "--exclude=/runs/*/node-job.json"),
    *("--exclude=/runs/*/stage.json", "--include=/slurm/*/slurm*.log", "--exclude=/slurm/*/*"),
)
PARTIAL = 23
"""rsync's exit code when a file could not be copied, such as a link to nowhere. On the way here
that is no harm: what counts is checked file by file."""
VANISHED = 24
"""rsync's exit code when a file was replaced under its hands: the next look gets it."""
FOR_GOOD = (1, 2, 3, 4, 11, 13, PARTIAL)
"""rsync's exit codes for wrong options, versions and files; the others are of the connection."""
NOTED = ".newest-on-cluster"
# Reads `asset/fingerprint` words; says which artifacts are there and how new checkpoints are.
SURVEY = f"""\
cd -- "$1" || exit 3
units=$(cat)
for unit in $units; do
    test -e "artifacts/$unit/{MANIFEST}" && echo "artifact $unit"
    test -d "checkpoints/$unit" || continue
    find "checkpoints/$unit" -type f -printf "checkpoint $unit %T@\\n"
done
exit 0
"""


class Errand:
    """A piece of work in a thread of its own, which ends with the process at the latest."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: Exception = LaunchError(
            "a transfer ended by an error of our own; see the log."
        )
        self._has_worked = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def is_done(self, patience_s: float) -> bool:
        """Wait a moment; return whether it has ended. Raises: what the work raised."""
        self._thread.join(patience_s)
        if self._thread.is_alive():
            return False
        if not self._has_worked:
            raise self._error
        return True

    def _run(self) -> None:
        try:
            self._work()
            self._has_worked = True
        except (ActiveUFError, OSError) as error:
            self._error = error


class Mirror:
    """The home there, `home`."""

    def __init__(self, layout: Layout, connection: Connection, home: str) -> None:
        self.layout = layout
        self.home = home
        self._connection = connection
        self._store = ArtifactStore(layout)
        self._incoming = Layout(layout.home / "incoming")
        self._pushes: dict[Path, Errand] = {}
        self._fetching: Errand | None = None
        self._wrong: dict[Target, int] = {}

    def hand_over(self, wave: WaveFolder, names: Sequence[str]) -> bool:
        """Bring files and folders of the home there; return whether that is done.

        Raises: UnreachableError when it may work later, LaunchError when it cannot work.
        """
        under_way = self._pushes.pop(wave.path, None)
        errand = under_way or Errand(lambda: self.push(names))
        is_done = errand.is_done(0.0 if under_way else PATIENCE_S)
        if not is_done:
            self._pushes[wave.path] = errand
        return is_done

    def bring_back(self, waves: Sequence[WaveFolder], jobs: Sequence[Job]) -> Collection[str]:
        """Bring back states and artifacts; return the jobs of which everything is here.

        Raises: LaunchError.
        """
        if not jobs:
            return ()
        folders = [*(wave.path for wave in waves), *(self.layout.run(job.job_id) for job in jobs)]
        names = [str(folder.relative_to(self.layout.home)) for folder in folders]
        self._rsync([*OF_STATES], f"{self._there()}/", f"{self.layout.home}/", names)
        open_units = {
            (unit.asset, unit.fingerprint): Path(unit.checkpoints)
            for job in jobs
            for unit in job.units
            if not self._store.inspect(unit.asset, unit.fingerprint).is_complete
        }
        complete = self._survey(open_units)
        coming = self._fetch([target for target in complete if not self._is_hopeless(target)])
        return [
            job.job_id
            for job in jobs
            if not any((unit.asset, unit.fingerprint) in coming for unit in job.units)
        ]

    def push(self, names: Sequence[str]) -> None:
        """Bring files and folders of the home there, however long it takes. Raises: LaunchError."""
        done = self._connection.run_text(shlex.join(["mkdir", "-p", "--", self.home]), 30.0)
        if done.returncode is None:
            raise UnreachableError(done.stderr)
        if done.returncode != 0:
            raise LaunchError(f"{self._where()} cannot be made: {done.stderr.strip()}")
        options = ["--perms", "--keep-dirlinks"]
        self._rsync(options, f"{self.layout.home}/", f"{self._there()}/", names, None)

    def pull(self, names: Sequence[str]) -> None:
        """Bring files and folders of the home there back here. Raises: LaunchError."""
        options = ["--ignore-missing-args", "--update"]
        self._rsync(options, f"{self._there()}/", f"{self.layout.home}/", names, None)

    def _survey(self, units: dict[Target, Path]) -> list[Target]:
        """Return the artifacts that are complete there; note how new the checkpoints are."""
        if not units:
            return []
        words = "\n".join(f"{asset}/{fingerprint}" for asset, fingerprint in units)
        text = shlex.join(["sh", "-c", SURVEY, "sh", self.home])
        done = self._connection.run_text(text, STATE_TIMEOUT_S, words)
        if done.returncode != 0:
            raise LaunchError(f"{self._where()} cannot be looked at: {done.stderr.strip()}")
        found: list[Target] = []
        newest: dict[Target, float] = {}
        for line in done.stdout.splitlines():
            kind, unit, *rest = line.split()
            asset, _, fingerprint = unit.partition("/")
            if kind == "artifact":
                found.append((asset, fingerprint))
            else:
                target = (asset, fingerprint)
                newest[target] = max(newest.get(target, 0.0), float(rest[0]))
        for target, moment in newest.items():
            _note(units[target], moment)
        return found

    def _fetch(self, targets: Sequence[Target]) -> set[Target]:
        """Bring artifacts here; return those that are still on their way."""
        errand, self._fetching = self._fetching, None
        patience_s = 0.0
        if errand is None and targets:
            errand, patience_s = Errand(lambda: self._fetch_all(targets)), PATIENCE_S
        if errand is not None and not errand.is_done(patience_s):
            self._fetching = errand
        return {
            target
            for target in targets
            if not self._is_hopeless(target) and not self._store.inspect(*target).is_complete
        }

    def _fetch_all(self, targets: Sequence[Target]) -> None:
        """Copy artifacts that nobody else copies now; move the right ones to their address."""
        with contextlib.ExitStack() as locks:
            mine = [target for target in targets if locks.enter_context(self._locked(target))]
            names = [f"artifacts/{asset}/{fingerprint}" for asset, fingerprint in mine]
            self._incoming.home.mkdir(parents=True, exist_ok=True)
            options = ["--ignore-missing-args"]
            self._rsync(options, f"{self._there()}/", f"{self._incoming.home}/", names, None)
            reach("before-adoption")
            for asset, fingerprint in mine:
                folder = self._incoming.artifact(asset, fingerprint)
                found = self._store.adopt(asset, fingerprint, folder)
                shutil.rmtree(folder, ignore_errors=True)
                if not found.is_complete:
                    self._wrong[asset, fingerprint] = self._wrong.get((asset, fingerprint), 0) + 1
                    where = f"{self._where()}/artifacts/{asset}/{fingerprint}"
                    log.warning("the copy of %s is %s", where, found.reason)

    @contextlib.contextmanager
    def _locked(self, target: Target) -> Iterator[bool]:
        """Try to be the only process that copies an artifact."""
        path = self._incoming.claim(*target)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _is_hopeless(self, target: Target) -> bool:
        return self._wrong.get(target, 0) >= TRIES

    def _rsync(
        self,
        options: Sequence[str],
        source: str,
        destination: str,
        names: Sequence[str],
        timeout_s: float | None = STATE_TIMEOUT_S,
    ) -> None:
        """Copy names below one folder to another. Raises: LaunchError, see `_failure`."""
        if not names:
            return
        self._connection.connect()
        argv = ["rsync", *COMMON, *options, "--rsh", self._connection.for_rsync()]
        try:
            done = subprocess.run(
                [*argv, "--", source, destination],
                input="\0".join(names),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                env=self._connection.environment(),
                start_new_session=True,
                check=False,
            )
        except FileNotFoundError:
            raise NotSentError("there is no `rsync` on this machine. Install it.") from None
        except subprocess.TimeoutExpired:
            raise UnreachableError(f"rsync with {self._where()} took too long.") from None
        if done.returncode == PARTIAL and "--ignore-missing-args" in options:
            log.info("not all of %s came: %s", self._where(), done.stderr.strip())
        elif done.returncode not in (0, VANISHED):
            raise self._failure(done)

    def _failure(self, done: subprocess.CompletedProcess[str]) -> LaunchError:
        """Return what a failed rsync means: wrong for good, or a connection that will come back."""
        host, text = self._connection.ssh.host, done.stderr.strip()
        if "rsync: command not found" in text or "rsync: not found" in text:
            return NotSentError(f"there is no `rsync` on {host}. Install it, or load it at login.")
        message = f"rsync with {self._where()} (exit {done.returncode}): {text}"
        return LaunchError(message) if done.returncode in FOR_GOOD else UnreachableError(message)

    def _there(self) -> str:
        return f"{self._connection.ssh.host}:{self.home}"

    def _where(self) -> str:
        return f"{self.home} on {self._connection.ssh.host}"


def _note(checkpoints: Path, moment: float) -> None:
    """Keep the time of the newest checkpoint there where the verdict on a job looks for it."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    path = checkpoints / NOTED
    path.touch()
    os.utime(path, (moment, moment))
