"""As much of a W&B server as `wandb sweep`, `wandb agent` and `wandb.init` ask for.

It hands out the grid of the sweep that was uploaded, or the points that it is given, and keeps what
runs send: config, history, summary, exit code. `stop_when` plays the part of early termination.
Names of operations and fields are those that wandb 0.29 sends. Standard library and PyYAML.
"""

from __future__ import annotations

import gzip
import itertools
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import yaml

ENTITY, PROJECT, SWEEP = "team", "loop", "sweep1"
KEY = "k" * 40
NAMED = {"id": "p", "name": PROJECT, "entity": {"id": "e", "name": ENTITY}}


@dataclass
class SentRun:
    """What one run sent."""

    name: str
    display_name: str = ""
    sweep: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    is_preempting: bool = False

    def values_of(self, name: str) -> list[Any]:
        """Return a metric as it was logged, row by row."""
        return [row[name] for row in self.history if name in row]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that wandb cuts: it does so whenever a process ends."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class WandbServer:
    """Serves one sweep while its block lasts."""

    def __init__(self) -> None:
        self.sweep: dict[str, Any] = {}
        self.points: list[dict[str, Any]] | None = None
        self.runs: dict[str, SentRun] = {}
        self.stop_when: Callable[[SentRun], bool] = lambda run: False
        self.stopped: set[str] = set()
        """Runs that somebody stopped in the browser."""
        self.asked: list[str] = []
        self._given = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def variables(self) -> dict[str, str]:
        """What makes wandb talk to this server and nobody else."""
        return {
            "WANDB_BASE_URL": f"http://127.0.0.1:{self._server.server_address[1]}",
            "WANDB_API_KEY": KEY,
            "WANDB_MODE": "online",
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
        }

    @property
    def in_the_sweep(self) -> list[SentRun]:
        """The runs that agents began, in order."""
        return [run for run in self.runs.values() if run.sweep]

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answer one GraphQL operation."""
        self.asked.append(operation)
        method = getattr(self, f"_{operation}", None)
        return method(variables) if method else {}

    def receive(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Take in what a run streams."""
        with self._lock:
            run = self.runs.setdefault(name, SentRun(name))
            files = body.get("files", {})
            if sent := files.get("wandb-history.jsonl"):
                run.history[sent["offset"] :] = [json.loads(line) for line in sent["content"]]
            for line in files.get("wandb-summary.json", {}).get("content", []):
                run.summary = json.loads(line)
            run.is_preempting |= bool(body.get("preempting"))
            if body.get("complete"):
                run.exit_code = body["exitcode"]
        return {"stopped": name in self.stopped}

    # One method per operation of GraphQL, by its name ------------------------------------------

    def _Viewer(self, given: dict[str, Any]) -> dict[str, Any]:
        del given
        who = {"id": "u", "entity": ENTITY, "username": "someone", "email": "", "flags": "{}"}
        return {"viewer": {**who, "teams": {"edges": []}}}

    def _ServerFeaturesQuery(self, given: dict[str, Any]) -> dict[str, Any]:
        del given
        return {"serverInfo": {"features": []}}

    def _UpsertSweep(self, given: dict[str, Any]) -> dict[str, Any]:
        self.sweep = yaml.safe_load(given["config"])
        found = {"name": SWEEP, "project": NAMED}
        return {"upsertSweep": {"sweep": found, "configValidationWarnings": []}}

    def _SweepWithRuns(self, given: dict[str, Any]) -> dict[str, Any]:
        del given
        found = {"id": "s", "name": SWEEP, "config": yaml.safe_dump(self.sweep)}
        return {"project": {"sweep": {**found, "runs": {"edges": []}}}}

    def _CreateAgent(self, given: dict[str, Any]) -> dict[str, Any]:
        del given
        return {"createAgent": {"agent": {"id": "a"}}}

    def _Heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        running = json.loads(given["runState"])
        with self._lock:
            commands = self._commands(list(running))
        return {"agentHeartbeat": {"agent": {"id": "a"}, "commands": json.dumps(commands)}}

    def _RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(given["name"])
        return {"model": {**NAMED, "bucket": _resumed(run) if run else None}}

    def _UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            run = self.runs.setdefault(given["name"], SentRun(given["name"]))
            run.display_name = given.get("displayName") or run.display_name or given["name"]
            run.sweep = given.get("sweep") or run.sweep
            config = json.loads(given.get("config") or "{}")
            run.config |= {name: entry["value"] for name, entry in config.items()}
        bucket = {"id": f"b-{run.name}", "name": run.name, "displayName": run.display_name}
        bucket |= {"project": NAMED, "sweepName": run.sweep, "historyLineCount": 0}
        return {"upsertBucket": {"bucket": {**bucket, "config": "{}"}, "inserted": True}}

    def _CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        url = self.variables["WANDB_BASE_URL"]
        files = [{"name": name, "uploadUrl": f"{url}/put/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}

    # Inside ------------------------------------------------------------------------------------

    def _commands(self, running: list[str]) -> list[dict[str, Any]]:
        """Return what an agent is to do next: a point, a stop, the end."""
        if running:
            found = [self.runs.get(name, SentRun(name)) for name in running]
            return [{"type": "stop", "run_id": run.name} for run in found if self.stop_when(run)]
        if self.points is None:
            self.points = self._grid()
        if not self.points:
            return [{"type": "exit"}]
        point = self.points.pop(0)
        args = {name: {"value": value} for name, value in point.items()}
        self._given += 1
        program = self.sweep["program"]
        return [{"type": "run", "run_id": f"run{self._given}", "program": program, "args": args}]

    def _grid(self) -> list[dict[str, Any]]:
        choices = {
            name: one.get("values", [one.get("value")])
            for name, one in self.sweep["parameters"].items()
        }
        return [
            dict(zip(choices, values, strict=True))
            for values in itertools.product(*choices.values())
        ]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                """Answer GraphQL, take in a stream, swallow telemetry."""
                body = self._body()
                answer: dict[str, Any] = {}
                if self.path == "/graphql":
                    asked = json.loads(body)
                    name = asked.get("operationName") or _operation(asked["query"])
                    answer = {"data": server.answer(name, asked.get("variables") or {})}
                elif self.path.endswith("/file_stream"):
                    answer = server.receive(self.path.split("/")[-2], json.loads(body))
                self._send(answer)

            def do_PUT(self) -> None:
                """Swallow a file."""
                self._body()
                self._send({})

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

            def _body(self) -> bytes:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                is_packed = self.headers.get("Content-Encoding") == "gzip"
                return gzip.decompress(body) if is_packed else body

            def _send(self, answer: dict[str, Any]) -> None:
                text = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        return Handler


def _resumed(run: SentRun) -> dict[str, Any]:
    """Return what a server tells of a run that is written to again."""
    counts = {"historyLineCount": len(run.history), "logLineCount": 0, "eventsLineCount": 0}
    tails = {"historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]])}
    config = json.dumps({name: {"value": value} for name, value in run.config.items()})
    found = {"id": f"b-{run.name}", "name": run.name, "displayName": run.display_name}
    found |= {"summaryMetrics": json.dumps(run.summary), "eventsTail": "[]", "config": config}
    return {**found, **counts, **tails, "tags": [], "wandbConfig": '{"t": 1}'}


def _operation(query: str) -> str:
    """Return the name of a query's operation."""
    return query.split("(")[0].split("{")[0].split()[-1]
