"""What the files of a job say of an artifact in the making: how far it is, why it failed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from activeuf_core.artifacts import ArtifactStore, read_json
from activeuf_core.launchers.base import JobState, Launcher
from activeuf_core.paths import RunFolder
from activeuf_core.recipes import Recipe
from activeuf_dagster.events import Failure, Progressed, label

TAIL_LINES = 40
STAGE_SAID = "The stage "
"""How lines of a launcher's message begin that repeat the stage's own."""


def unit_name(recipe: Recipe) -> str:
    """Return the folder name of a recipe's unit inside its run."""
    return f"{recipe.asset}-{recipe.fingerprint[:12]}"


def failure_of(
    store: ArtifactStore, recipe: Recipe, job_id: str, launcher: Launcher, state: JobState
) -> Failure | None:
    """Return why a job failed to make an artifact, None while it has not.

    A stage's own word counts when its job has ended, for the launcher may try again, or when the
    stage says that trying again is useless and other units keep the job going.
    """
    record = _failure_record(store, recipe, job_id)
    if state.phase != "ended" and (record is None or record["retryable"]):
        return None
    if store.inspect(recipe.asset, recipe.fingerprint).is_complete:
        return None
    log_path, tail = launcher.log_path(job_id), launcher.tail(job_id, TAIL_LINES)
    if record is not None:
        said = [line for line in state.message.splitlines() if not line.startswith(STAGE_SAID)]
        text = "\n".join([record["message"], *said])
        return Failure(record["kind"], text, log_path, tail, job_id)
    text = state.message or (
        f"the job ended ({state.detail}) without publishing {label(recipe.node)}. "
        f"Look at {log_path}."
    )
    return Failure(state.kind or "NoArtifact", text, log_path, tail, job_id)


def has_given_up(store: ArtifactStore, recipe: Recipe, job_id: str) -> bool:
    """Whether a job's stage has said of an artifact that trying again is useless: another job may
    have more luck, when this one is gone.
    """
    record = _failure_record(store, recipe, job_id)
    return record is not None and not record["retryable"]


def _failure_record(store: ArtifactStore, recipe: Recipe, job_id: str) -> Mapping[str, Any] | None:
    run = RunFolder(store.layout.run(job_id)).latest_start()
    with contextlib.suppress(FileNotFoundError):
        return read_json(run.unit(unit_name(recipe)).failure)
    return None


def progress_of(store: ArtifactStore, recipe: Recipe, job_id: str) -> Progressed:
    """Return how far a job is with an artifact; zeros while nobody says."""
    run = RunFolder(store.layout.run(job_id)).latest_start()
    said = {"done": 0, "total": 0, "unit": "", "eta_s": None}
    with contextlib.suppress(FileNotFoundError):
        said |= read_json(run.unit(unit_name(recipe)).progress)
    how_far = (said["done"], said["total"], said["unit"], said["eta_s"])
    return Progressed(recipe.node, *how_far, job_id, str(run.log))
