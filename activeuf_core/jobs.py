"""What a launcher is asked to run: a job of one or more units, each one artifact in the making.

Units of one job share a process, one after the other: the benchmarks of one model share one model
load, and each is published on its own as soon as it is done. Standard library only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import read_json


@dataclass(frozen=True)
class Unit:
    """One artifact to make.

    `inputs` maps an asset to the folders to read, by partition; `input_fingerprints` says the same
    by identity. `attempt` is the number under which the job owns the artifact, 0 where nobody keeps
    count. `locations` maps the name of a model or data source to where it lies on this
    machine. `runtime` holds what may differ between two runs of the same recipe: threads, tracking.
    """

    asset: str
    partition: str
    fingerprint: str
    version: str
    generation: int
    config: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, str]]
    input_fingerprints: Mapping[str, Mapping[str, str]]
    locations: Mapping[str, str] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: str = ""
    attempt: int = 0

    @property
    def name(self) -> str:
        """Folder name of the unit inside its run."""
        return f"{self.asset}-{self.fingerprint[:12]}"


@dataclass(frozen=True)
class Job:
    """One process: `python -m <module>` over its units.

    `weight` is how many of a launcher's slots it takes. `environment` is written to disk: it never
    holds a secret. `history` says of earlier jobs in whose place this one was started how each
    ended: `job_id`, `kind`, `detail`, `action`.
    """

    job_id: str
    module: str
    units: tuple[Unit, ...]
    home: str
    weight: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the job as the content of job.json."""
        return asdict(self)


def new_job_id(asset: str) -> str:
    """Return a job id that sorts by time and says what the job makes."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return f"{stamp}-{asset}-{os.urandom(3).hex()}"


def load_job(path: Path) -> Job:
    """Read a job back from its job.json."""
    body = read_json(path)
    units = tuple(Unit(**unit) for unit in body.pop("units"))
    return Job(**{**body, "units": units, "history": tuple(body.get("history", ()))})
