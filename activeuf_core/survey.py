"""A survey of a home: what lies there, who works on what, and what failed.

In: an index of a home, and what was recorded of each node. Out: the `Knowledge` that the plan is
made from. Each folder is listed once, and only what is not complete is asked about: ten thousand
missing artifacts are as cheap as none.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activeuf_core.artifact_index import ArtifactIndex, Look
from activeuf_core.artifacts import ArtifactStore, read_json
from activeuf_core.attempts import Attempt, Attempts
from activeuf_core.expected import ExpectedBook
from activeuf_core.launchers.base import Target
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.plan import Knowledge
from activeuf_core.recipes import Node
from activeuf_core.references import referenced, size_of
from activeuf_core.slurm.evidence import has_said_its_end
from activeuf_core.slurm.waves import Ledger, Wave

NEWEST_RUNS = 500
"""So many runs are looked through for the one that makes a locked artifact."""


def survey(index: ArtifactIndex, recorded: Mapping[Node, str]) -> Knowledge:
    """Return what is known of a home.

    Args: recorded: the fingerprint that was recorded last of each node.
    """
    store = ArtifactStore(index.layout)
    return Knowledge(
        found=_Looks(index),
        recorded=recorded,
        archive=index,
        running=_Running(store).who_makes,
        failure=_Failures(store).why,
    )


@dataclass(frozen=True)
class Orphaned:
    """How many artifacts no partition refers to, and how many bytes their files have."""

    artifacts: int
    bytes: int


def orphaned(book: ExpectedBook) -> Orphaned:
    """Count what `references.orphans` lists one by one, with its reason, from the index.

    Args: book: one that counts on nothing that is not there (`now`).
    """
    wanted = referenced(book)
    loose = [target for target in book.index.present() if target not in wanted]
    sizes = (book.index.size(*target) for target in loose)
    layout = book.index.layout
    return Orphaned(
        artifacts=len(loose),
        bytes=sum(
            size_of(layout.artifact(*target)) if size is None else size
            for target, size in zip(loose, sizes, strict=True)
        ),
    )


class _Looks(Mapping[Target, Look]):
    """An index as a mapping: an artifact is looked at when it is asked for."""

    def __init__(self, index: ArtifactIndex) -> None:
        self._index = index

    def __getitem__(self, target: Target) -> Look:
        return self._index.look(*target)

    def __iter__(self) -> Iterator[Target]:
        return (target for target, _ in self._index.looks())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def items(self) -> ItemsView[Target, Look]:
        """Return what was looked at, without looking again."""
        return dict(self._index.looks()).items()


class _Running:
    """Who makes which artifact, as far as files and locks say."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._layout: Layout = store.layout
        self._attempts, self._ledger = Attempts(store.layout), Ledger(store.layout)
        self._waves: dict[str, _OpenWave | None] = {}
        self._attempted = _Listings(store.layout.home / "attempts")
        self._locked = _Listings(store.layout.home / "claims")

    def who_makes(self, target: Target) -> str | None:
        """Return the job that makes an artifact, and how far it is; None when nobody does."""
        asset, fingerprint = target
        if fingerprint in self._attempted.of(asset):
            latest = self._attempts.latest(asset, fingerprint)
            wave = self._wave(latest.wave) if latest else None
            if latest and wave and not self._has_ended(latest):
                return self._on_a_cluster(target, latest, wave)
        if f"{fingerprint}.lock" not in self._locked.of(asset):
            return None
        return self._here(target) if self._store.is_claimed(asset, fingerprint) else None

    def _wave(self, token: str) -> _OpenWave | None:
        """Return a wave with SLURM's id of it, None when it is closed."""
        if token not in self._waves:
            is_open = self._ledger.closed_because(token) is None
            wave = self._ledger.read(token) if is_open else None
            self._waves[token] = (wave, self._ledger.slurm_id(token)) if wave else None
        return self._waves[token]

    def _has_ended(self, attempt: Attempt) -> bool:
        """Whether a job ended, by an orchestrator's word or its own: one that believed its stage's
        failure may have left before it saw the job end.
        """
        run = RunFolder(self._layout.run(attempt.job_id))
        return run.ended.exists() or has_said_its_end(run)

    def _on_a_cluster(self, target: Target, latest: Attempt, wave: _OpenWave) -> str:
        known, slurm_id = wave
        place = ""
        if slurm_id is not None and latest.job_id in known.job_ids:
            element = f"_{known.job_ids.index(latest.job_id)}" if known.size > 1 else ""
            place = f" (SLURM {slurm_id}{element} on {known.cluster})"
        how_far = _progress(RunFolder(self._layout.run(latest.job_id)), target)
        return f"job {latest.job_id}{place}, attempt {latest.number}{how_far}"

    def _here(self, target: Target) -> str:
        """Return which process of this machine holds an artifact's lock, by the newest run that has
        a folder for it.
        """
        asset, fingerprint = target
        unit = f"{asset}-{fingerprint[:12]}"
        with contextlib.suppress(FileNotFoundError):
            for job_id in sorted(os.listdir(self._layout.runs), reverse=True)[:NEWEST_RUNS]:
                run = RunFolder(self._layout.run(job_id))
                if run.latest_start().unit(unit).path.exists():
                    return f"job {job_id} on this machine{_progress(run, target)}"
        return "a process on this machine works on it"


_OpenWave = tuple[Wave, int | None]


class _Failures:
    """Why the last attempt at an artifact failed, how often it has, and when."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._listed = _Listings(store.layout.home / "failures")

    def why(self, target: Target) -> str | None:
        asset, fingerprint = target
        if f"{fingerprint}.json" not in self._listed.of(asset):
            return None
        record = self._store.failure(asset, fingerprint)
        if not record:
            return None
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(record["time"])))
        times = f"{record['count']} times, last " if record["count"] > 1 else ""
        first = str(record["message"]).partition("\n")[0]
        return f"{record['kind']} ({times}{when}): {first}"


class _Listings:
    """The names in the sub-folders of a folder, each listed once when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, frozenset[str]] = {}

    def of(self, name: str) -> frozenset[str]:
        if name not in self._known:
            try:
                self._known[name] = frozenset(os.listdir(self._folder / name))
            except FileNotFoundError:
                self._known[name] = frozenset()
        return self._known[name]


def _progress(run: RunFolder, target: Target) -> str:
    """Return how far a unit is, as the end of a sentence; '' where its stage has not said."""
    asset, fingerprint = target
    path = run.latest_start().unit(f"{asset}-{fingerprint[:12]}").progress
    said: Mapping[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        said = read_json(path)
    if not said:
        return ""
    eta = said.get("eta_s")
    left = f", about {_duration(float(eta))} left" if eta else ""
    return f": {said['done']} of {said['total']} {said['unit']}{left}"


def _duration(seconds: float) -> str:
    """Return a time as one reads it: 40 s, 7 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
