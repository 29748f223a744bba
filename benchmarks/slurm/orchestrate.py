"""One orchestrator as a process of its own: Dagster runs over all partitions of some assets.

In: a project by its environment variables, names of assets. Out: one line of JSON with the clock,
CPU seconds, peak memory, calls of the scheduler and Dagster runs; with --profile also a file of
cProfile.
Command: python -m benchmarks.slurm.orchestrate [--profile FILE] ASSET…
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.slurm.looks import Looks
from activeuf_core.slurm.transport import Done, LoginNode
from activeuf_dagster.code_location import build
from activeuf_dagster.foreground import run_wave, waves
from activeuf_dagster.instance import ensure_instance
from activeuf_dagster.project import Project

CALLS: Counter[str] = Counter()
AUTOGROUP, PRECEDENCE = Path("/proc/self/autogroup"), "-15"


def take_precedence() -> None:
    """Let the kernel prefer this session to the nodes' 32 tasks, each a session of its own: on two
    cores they would leave a thirtieth to what elsewhere has a machine of its own. Needs root; for
    others, and where sessions do not count, nothing changes.
    """
    with contextlib.suppress(OSError):
        AUTOGROUP.write_text(PRECEDENCE, encoding="utf-8")


def count_calls() -> None:
    """Count the scheduler's commands, and the looks that they were needed for."""
    run, look = LoginNode.run, Looks.look

    def counted(
        self: LoginNode,
        command: Sequence[str],
        timeout_s: float,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        CALLS[command[0]] += 1
        return run(self, command, timeout_s, environment)

    def looked(self: Looks, names: Sequence[str]) -> bool:
        before = self.calls
        answer = look(self, names)
        CALLS["look"] += self.calls - before
        return answer

    LoginNode.run, Looks.look = counted, looked


def materialize(assets: Sequence[str]) -> dict[str, Any]:
    """Materialize all partitions of some assets; return when that began and ended, the number of
    Dagster runs, whether all succeeded, and how late each event was.
    """
    project = Project.load()
    ensure_instance(project.layout)
    definitions = build(project)
    nodes = [(asset, key) for asset in assets for key in project.catalog.partitions(asset)]
    with dg.DagsterInstance.get() as instance:
        before, began = instance.get_runs_count(), time.time()
        results = [run_wave(definitions, instance, wave) for wave in waves(nodes, project)]
        facts = {"began": began, "ended": time.time(), "success": all(results)}
        used = {"cpu_s": cpu_seconds(), "memory_mb": peak_memory_mb(), "calls": dict(CALLS)}
        runs = instance.get_runs_count() - before
        return {**facts, **used, "runs": runs, "delays_s": delays(instance, project, assets)}


def delays(instance: dg.DagsterInstance, project: Project, assets: Sequence[str]) -> list[float]:
    """Return the seconds from each artifact's publication to its materialization event."""
    found: list[float] = []
    store = ArtifactStore(project.layout)
    for asset in assets:
        cursor, has_more = None, True
        while has_more:
            page = instance.fetch_materializations(dg.AssetKey(asset), limit=1000, cursor=cursor)
            cursor, has_more = page.cursor, page.has_more
            for record in page.records:
                event = record.asset_materialization
                assert event is not None and event.tags is not None
                manifest = store.inspect(asset, event.tags[DATA_VERSION_TAG]).manifest
                assert manifest is not None
                found.append(record.timestamp - manifest.provenance["published"])
    return found


def peak_memory_mb() -> float:
    """Return the most memory that this process and its largest child ever held."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the commands that it called."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Materialize, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", nargs="+")
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    take_precedence()
    count_calls()
    profiler = cProfile.Profile()
    if options.profile:
        profiler.enable()
    facts = materialize(options.assets)
    if options.profile:
        profiler.disable()
        profiler.dump_stats(options.profile)
    sys.stdout.write(f"\n{json.dumps(facts)}\n")


if __name__ == "__main__":
    main()
