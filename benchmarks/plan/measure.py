"""Ways to look at all artifacts of a home, each in a process of its own that says what it took.

In: the name of a way, and `activeuf`'s environment. Out: one line of JSON on standard error: the
seconds of imports and of the work (wall and CPU), peak memory in MB, how many it looked at.

    plan      `activeuf plan`, to its last printed line
    scan      a plain scan: every folder listed, every manifest parsed, nothing checked
    resolver  Dagster's own stale-status resolver, asked for every partition
    load      the code location as Dagster's servers load it
    sensor    a tick of the sensor of the config files when nothing changed
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

Work = Callable[[], int]


def plan() -> Work:
    """Print a plan of everything."""
    from activeuf_dagster import cli, planning

    assert planning  # imported by the command when it runs

    def work() -> int:
        cli.app(["plan"], standalone_mode=False)
        return 0

    return work


def scan() -> Work:
    """Parse every manifest."""

    def work() -> int:
        count = 0
        for asset in os.scandir(Path(os.environ["ACTIVEUF_HOME"]) / "artifacts"):
            for artifact in os.scandir(asset.path):
                with open(f"{artifact.path}/manifest.json", encoding="utf-8") as handle:
                    count += bool(json.load(handle)["fingerprint"])
        return count

    return work


def resolver() -> Work:
    """Ask Dagster for the stale status of every partition."""
    import dagster as dg
    from dagster._core.definitions.data_version import CachingStaleStatusResolver
    from dagster._core.loader import LoadingContextForTest

    from activeuf_dagster.code_location import build
    from activeuf_dagster.graph import dagster_partition
    from activeuf_dagster.planning import nodes_of
    from activeuf_dagster.project import Project

    def work() -> int:
        project = Project.load()
        graph = build(project).resolve_asset_graph()
        nodes = nodes_of(project.book(), project.catalog.experiments)
        with dg.DagsterInstance.get() as instance:
            asked = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
            for asset, partition in nodes:
                asked.get_status(dg.AssetKey(asset), dagster_partition(partition))
        return len(nodes)

    return work


def load() -> Work:
    """Load the code location."""
    import dagster as dg

    from activeuf_dagster.code_location import build
    from activeuf_dagster.project import Project

    def work() -> int:
        project = Project.load()
        definitions = build(project)
        dg.Definitions.validate_loadable(definitions)
        definitions.resolve_asset_graph()
        return len(project.catalog.experiments)

    return work


def sensor() -> Work:
    """Tick."""
    import dagster as dg

    from activeuf_dagster.project import Project
    from activeuf_dagster.sensors import changed_observations

    def work() -> int:
        with dg.DagsterInstance.get() as instance:
            return len(changed_observations(instance, Project.load()))

    return work


WAYS: dict[str, Callable[[], Work]] = {
    "plan": plan,
    "scan": scan,
    "resolver": resolver,
    "load": load,
    "sensor": sensor,
}


def main(name: str) -> None:
    """Do it once, and say what it took."""
    began, cpu = time.perf_counter(), time.process_time()
    work = WAYS[name]()
    imported, cpu_imported = time.perf_counter(), time.process_time()
    count = work()
    facts = {
        "imports_s": imported - began,
        "work_s": time.perf_counter() - imported,
        "imports_cpu_s": cpu_imported - cpu,
        "work_cpu_s": time.process_time() - cpu_imported,
        "memory_mb": _peak_memory_mb(),
        "count": count,
    }
    with closing(os.fdopen(os.dup(2), "w")) as said:
        said.write(json.dumps(facts) + "\n")


def _peak_memory_mb() -> float:
    """Return our own peak; `getrusage` counts the parent's, from before this program began."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else float("nan")


if __name__ == "__main__":
    main(sys.argv[1])
