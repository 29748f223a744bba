"""A code server and a daemon on an instance of their own, which tests kill as a machine would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
import pytest
import yaml

from activeuf_dagster.instance import TEMPLATE

DEFINITIONS = Path(__file__).with_name("waiting_definitions.py")
DAGSTER = str(Path(sys.executable).with_name("dagster"))
DAEMON = str(Path(sys.executable).with_name("dagster-daemon"))


class Services:
    """Processes around one instance in `folder`; everything that they start ends with the test."""

    def __init__(
        self,
        folder: Path,
        target: Sequence[str] = ("--python-file", str(DEFINITIONS)),
        daemon: Sequence[str] = (DAEMON,),
        location: str = "waiting",
    ) -> None:
        """Args: target: what the code server loads, as `dagster` takes it. daemon: the command.
        location: the code location's name.
        """
        self.location = location
        self.folder = folder
        self.target = target
        self.daemon = daemon
        self.home = folder / "home"
        self.socket = folder / "code.sock"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(impatient(TEMPLATE)))
        server = {"socket": str(self.socket), "location_name": location}
        self.workspace = folder / "workspace.yaml"
        self.workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        self.instance = dg.DagsterInstance.from_config(str(self.home))

    def start(self) -> None:
        """Start the code server, wait until it listens, start the daemon."""
        self.start_code_server()
        self._spawn("daemon", *self.daemon, "run", "--workspace", str(self.workspace))

    def start_code_server(self) -> None:
        """Start the code server and wait until it listens."""
        self.socket.unlink(missing_ok=True)
        target = ("--socket", str(self.socket), *self.target, "--location-name", self.location)
        self._spawn("code", DAGSTER, "api", "grpc", *target)
        self.wait_until(self.socket.exists)

    def launch(self, job: str = "wait", partition: str = "") -> str:
        """Put a run of a job, or of one partition of it, into the queue; return its id."""
        command = [
            DAGSTER,
            "job",
            "launch",
            "-w",
            str(self.workspace),
            "-l",
            self.location,
            "-j",
            job,
        ]
        if partition:
            command += ["--tags", json.dumps({"dagster/partition": partition})]
        subprocess.run(command, env=self._environment(), check=True, capture_output=True)
        return self.instance.get_run_records(limit=1)[0].dagster_run.run_id

    def kill(self, *names: str) -> None:
        """End services by SIGKILL."""
        for name in names:
            process = self.running.pop(name)
            process.kill()
            process.wait()

    def workers(self) -> set[int]:
        """Return the pids of all workers so far."""
        return {int(path.name.partition("-")[2]) for path in self.folder.glob("worker-*")}

    def new_worker(self, before: set[int]) -> int:
        """Wait for one worker more; return its pid."""
        self.wait_until(lambda: self.workers() - before)
        return (self.workers() - before).pop()

    def status(self, run_id: str) -> str:
        """Return the name of a run's status."""
        run = self.instance.get_run_by_id(run_id)
        return run.status.value if run else "no such run"

    def wait_until(self, condition: Callable[[], object], timeout_s: float = 60) -> None:
        """Wait for a condition, looking 20 times a second; fail with the services' logs."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                logs = [p.read_text()[-2000:] for p in self.folder.glob("*.log")]
                pytest.fail("\n".join([f"not true after {timeout_s:g} s", *logs]))
            time.sleep(0.05)

    def close(self) -> None:
        """End everything."""
        self.kill(*self.running)
        for pid in self.workers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.instance.dispose()

    def _spawn(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment(), cwd=self.folder
            )

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "WAITING_FOLDER": str(self.folder),
            "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "1",
        }


def impatient(template: Path) -> dict:
    """Return the settings of an instance, with daemons that look every second."""
    settings = yaml.safe_load(template.read_text())
    settings["run_monitoring"]["poll_interval_seconds"] = 1
    queue = {"max_concurrent_runs": 4, "dequeue_interval_seconds": 1}
    del settings["concurrency"]
    settings["run_coordinator"] = {
        "module": "dagster._core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": queue,
    }
    return settings
