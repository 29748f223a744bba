"""What must hold after every cell, whatever struck.

No duplicate effect: one publication per artifact, by the newest owner, and of two that worked at
the same time the older had lost the right to publish. No lost partition: every artifact is
complete. No false fresh: every byte has the digest of its manifest, and says that the manifest's
job wrote it. Nothing left: no job in the queue.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from activeuf_core.artifacts import Manifest
from activeuf_core.attempts import Attempts
from activeuf_core.paths import RunFolder
from activeuf_core.recipes import Node
from tests.chaos.payload import VALUE
from tests.chaos.world import ChaosError, World

LEFT_OVER_LIMIT_S = 120.0
"""What ends just before a crash of the controller is shown as running for a minute after it."""


def check(world: World, *, remade: int = 0) -> None:
    """Check every promise. Args: remade: artifacts that the cell itself broke after publication.

    Raises: ChaosError, naming all broken promises.
    """
    problems = [*_left_over(world), *_artifacts(world), *_clashes(world)]
    trash = list(world.layout.trash.iterdir()) if world.layout.trash.exists() else []
    if len(trash) != remade:
        problems.append(f"{len(trash)} artifacts were replaced, {remade} expected")
    if problems:
        raise ChaosError("; ".join(problems))


def _left_over(world: World) -> Iterator[str]:
    end = time.monotonic() + LEFT_OVER_LIMIT_S
    while world.left_over() and time.monotonic() < end:
        time.sleep(0.2)
    if world.left_over():
        queue = world.cluster.squeue("-r", "-o", "%i %j %T %r")
        yield f"still in the queue: {', '.join(queue)}"


def _artifacts(world: World) -> Iterator[str]:
    for node in world.nodes:
        name = "@".join(node)
        found = world.store.inspect(node[0], world.fingerprint(node), digests=True)
        if found.manifest is None:
            yield f"lost: {name} is {found.reason}"
            continue
        yield from _content(world, node, found.manifest)
        yield from _owner(world, node, found.manifest)


def _content(world: World, node: Node, manifest: Manifest) -> Iterator[str]:
    """The content must be that of the job in the manifest, of the publishing start or one before
    whose finished work it took over.
    """
    path = world.layout.artifact(node[0], manifest.fingerprint) / VALUE
    value = json.loads(path.read_text())
    said = manifest.provenance
    if value["node"] != "@".join(node):
        yield f"foreign content: {'@'.join(node)} holds {value['node']}"
    if value["job"] != said["job_id"] or value["start"] > said["start"]:
        yield f"twin's content: {'@'.join(node)} by {value}, the manifest says {said['job_id']}"
    moved = [
        run.name
        for run in world.layout.runs.iterdir()
        for number in RunFolder(run).start_numbers()
        for unit in [RunFolder(run).start(number).unit(_unit_name(node, manifest))]
        if unit.result.exists() and not unit.output.exists()
    ]
    is_broken_on_purpose = world.layout.trash.exists()
    if len(moved) != 1 and not is_broken_on_purpose:
        yield f"{'@'.join(node)} was published {len(moved)} times: {moved}"


def _owner(world: World, node: Node, manifest: Manifest) -> Iterator[str]:
    """The publisher must have held the newest attempt when it published; one that was opened later
    finds the artifact and begins nothing.
    """
    latest = Attempts(world.layout).latest(node[0], manifest.fingerprint)
    if latest is None or latest.job_id == manifest.provenance["job_id"]:
        return
    begun = [note for note in world.begins(node) if note["job"] == latest.job_id]
    if begun or latest.opened < manifest.provenance["published"]:
        yield f"{'@'.join(node)} was published by an owner that was not the newest"


def _clashes(world: World) -> Iterator[str]:
    for note in world.journal("clash"):
        if _rank(note) <= _rank(note["holder"]):
            yield f"two workers at once on {note['node']}, and the second had no better right"


def _rank(note: Mapping[str, Any]) -> tuple[int, int]:
    return int(note.get("attempt", 0)), int(note.get("start", 0))


def _unit_name(node: Node, manifest: Manifest) -> str:
    return f"{node[0]}-{manifest.fingerprint[:12]}"
