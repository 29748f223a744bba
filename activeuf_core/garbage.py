"""Garbage of a home: what nobody needs any more, found and removed.

In: the artifacts that nothing refers to (`references.py`), what jobs do at this moment
(`activity.py`). Out: a list of `Garbage`, each with its size and, where it stays, the reason.

    artifacts    what no partition refers to
    trash        what was replaced, and copies that an adoption did not finish
    checkpoints  of an artifact that is complete, or that nobody wants
    runs         folders of jobs that have ended: of one whose artifact is kept never (its log is
                 linked beside the artifact), of others after two weeks
    records      attempts, failures, locks and counts of re-runs of what nobody wants
    waves        submissions that are over and that no attempt names

Nothing is removed while it is at its place: it is renamed into the trash first, under the lock and
the fence of its artifact, after one more look. So an artifact is there whole or not at all, and
after a crash the rest lies in the trash. Links are removed, never followed. Offline W&B runs are
never touched. Cost: one small file per execution and per attempt.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from activeuf_core.activity import Activity, last_sign
from activeuf_core.artifacts import ArtifactStore, read_json
from activeuf_core.attempts import Attempts
from activeuf_core.crash_points import reach
from activeuf_core.jobs import Job
from activeuf_core.launchers.base import Target
from activeuf_core.paths import Layout
from activeuf_core.references import IN_WORDS, Orphan, present, size_of
from activeuf_core.slurm.waves import Ledger

Kind = Literal["artifacts", "trash", "checkpoints", "runs", "records", "waves"]
KINDS: tuple[Kind, ...] = ("artifacts", "trash", "checkpoints", "runs", "records", "waves")
DAY_S = 86_400.0
PERHAPS_ANOTHERS = "another config folder may declare it"
RUN_DAYS = 14.0
"""How long the log of a job is kept that made nothing, or whose artifact is gone."""

Hold = Callable[[Target], str]
"""Why an artifact must stay, '' when it need not."""


@dataclass(frozen=True)
class Garbage:
    """One thing that nobody needs: `target` is the artifact that it belongs to, None for none;
    `why` nobody needs it; `kept` says why it stays all the same, '' when it can go. `age_s` is the
    time since it was made or written to last.
    """

    kind: Kind
    name: str
    paths: tuple[Path, ...]
    size: int
    age_s: float
    why: str
    target: Target | None = None
    partition: str = ""
    kept: str = ""


@dataclass(frozen=True)
class Rules:
    """What the person who cleans up has said. `all_configs`: the config folders that count are all
    that use this home, so that a partition which none declares is nobody's.
    """

    older_than_days: float | None = None
    all_configs: bool = False

    def reason_to_keep(self, age_s: float, *, days: float = 0.0) -> str:
        """Return why something of this age stays. Args: days: how old it has to be by default."""
        least = days if self.older_than_days is None else self.older_than_days
        if age_s >= least * DAY_S:
            return ""
        return f"younger than {least:g} days"


class Collector:
    """Finds garbage, and removes it.

    Args: wanted: what partitions are made of. recipes: (asset, base) of all recipes. hold: asked
    before an artifact or what belongs to it goes, a second time under its lock.
    """

    def __init__(
        self,
        store: ArtifactStore,
        activity: Activity,
        wanted: Collection[Target],
        recipes: Collection[Target],
        rules: Rules,
        hold: Hold = lambda target: "",
    ) -> None:
        self.store = store
        self.layout: Layout = store.layout
        self.activity = activity
        self.wanted = wanted
        self.recipes = recipes
        self.rules = rules
        self._hold = hold
        self._attempts = Attempts(store.layout)
        self._named: set[str] | None = None

    # ------------------------------------------------------------------------- finding

    def find(self, orphans: Sequence[Orphan], kinds: Collection[Kind] = KINDS) -> list[Garbage]:
        """Return all garbage of some kinds, in the order in which it is removed."""
        artifacts = [self._artifact(orphan) for orphan in orphans]
        gone = {one.target for one in artifacts if one.target and not one.kept}
        if "artifacts" not in kinds:
            gone = set()
        stays = set(present(self.layout)) - gone
        finders: Mapping[Kind, Callable[[], Iterable[Garbage]]] = {
            "artifacts": lambda: artifacts,
            "trash": self._trash,
            "checkpoints": lambda: self._checkpoints(stays),
            "runs": lambda: self._runs(stays),
            "records": lambda: [*self._records(stays), *self._generations(stays)],
            "waves": lambda: self._waves(stays),
        }
        return [one for kind in KINDS if kind in kinds for one in finders[kind]()]

    def _artifact(self, orphan: Orphan) -> Garbage:
        age = time.time() - orphan.made
        kept = self.rules.reason_to_keep(age)
        if not orphan.is_certain:
            kept = IN_WORDS[orphan.why]
        elif orphan.why == "unknown partition" and not self._is_nobodys():
            kept = PERHAPS_ANOTHERS
        return Garbage(
            kind="artifacts",
            name=f"{orphan.asset}/{orphan.fingerprint}",
            paths=(self.layout.artifact(*orphan.target),),
            size=orphan.size,
            age_s=age,
            why=IN_WORDS[orphan.why],
            target=orphan.target,
            partition=orphan.partition,
            kept=kept or self._reason_to_keep(orphan.target),
        )

    def _is_nobodys(self) -> bool:
        return self.rules.all_configs or self.rules.older_than_days is not None

    def _trash(self) -> Iterator[Garbage]:
        for path in _children(self.layout.trash):
            age = time.time() - path.lstat().st_ctime  # of the move into the trash
            yield self._thing("trash", path, age, "it was replaced or removed")
        for path in _children(self.layout.imports):
            if path.is_dir():
                kept = "an adoption is at work" if _is_locked(path.with_suffix(".lock")) else ""
                paths = (path, path.with_suffix(".lock"))
                yield Garbage("trash", path.name, paths, size_of(path), 0.0, "left over", kept=kept)

    def _checkpoints(self, stays: Collection[Target]) -> Iterator[Garbage]:
        for target, path in _addresses(self.layout.home / "checkpoints"):
            if target in self.wanted and not self.store.inspect(*target).is_complete:
                continue  # the next attempt goes on from it
            why = "its artifact is complete" if target in stays else "nobody wants its artifact"
            age = time.time() - last_sign(path)
            yield self._thing("checkpoints", path, age, why, target)

    def _runs(self, stays: Collection[Target]) -> Iterator[Garbage]:
        for job_id, job in self.activity.jobs.items():
            if job_id in self.activity.live or self.activity.is_waited_for(job_id):
                continue
            if self._is_linked(job, stays):
                continue
            path = self.layout.run(job_id)
            age = time.time() - last_sign(path)
            kept = self.rules.reason_to_keep(age, days=RUN_DAYS)
            yield replace(
                self._thing("runs", path, age, "it has ended, and no artifact that stays is its"),
                kept=kept,
            )

    def _is_linked(self, job: Job, stays: Collection[Target]) -> bool:
        """Whether an artifact that stays was made by a job: people find the log from there."""
        for unit in job.units:
            target = (unit.asset, unit.fingerprint)
            if target in stays:
                with contextlib.suppress(OSError, ValueError, KeyError):
                    made_by = read_json(self.layout.manifest(*target))["provenance"]["job_id"]
                    if made_by == job.job_id:
                        return True
        return False

    def _records(self, stays: Collection[Target]) -> Iterator[Garbage]:
        for target, paths in sorted(self._recorded().items()):
            if target in self.wanted or target in stays:
                continue
            size = sum(map(size_of, paths))
            age = min(time.time() - path.lstat().st_mtime for path in paths)
            kept = self.rules.reason_to_keep(age) or self._reason_to_keep(target)
            name = "/".join(target)
            why = "nobody wants its artifact"
            yield Garbage("records", name, tuple(paths), size, age, why, target, kept=kept)

    def _generations(self, stays: Collection[Target]) -> Iterator[Garbage]:
        """Yield counts of re-runs; all of an asset stay while an artifact of a re-run is kept."""
        kept = {asset for asset, one in set(stays) - set(self.wanted) if self._reruns(asset, one)}
        for (asset, name), path in _addresses(self.layout.home / "generations"):
            if (asset, path.stem) not in self.recipes and asset not in kept:
                age = time.time() - last_sign(path)
                why = f"no recipe of {asset} is the one that it counts"
                yield replace(self._thing("records", path, age, why), name=f"{asset}/{name}")

    def _reruns(self, asset: str, fingerprint: str) -> int:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return int(read_json(self.layout.manifest(asset, fingerprint))["generation"])
        return 0

    def _recorded(self) -> dict[Target, list[Path]]:
        found: dict[Target, list[Path]] = {}
        for room in ("attempts", "failures", "claims"):
            for (asset, name), path in _addresses(self.layout.home / room):
                found.setdefault((asset, name.partition(".")[0]), []).append(path)
        return found

    def _waves(self, stays: Collection[Target]) -> Iterator[Garbage]:
        ledger = Ledger(self.layout)
        uncertain = ledger.uncertain_waves()
        named = self._waves_named(
            lambda target: target in self.wanted or target in stays or self._reason_to_keep(target)
        )
        for path in _children(self.layout.slurm):
            if path.name in named or path.name in uncertain:
                continue
            if ledger.closed_because(path.name) is None:
                continue
            age = time.time() - last_sign(path)
            kept = self.rules.reason_to_keep(age, days=RUN_DAYS)
            yield replace(self._thing("waves", path, age, "it is over"), kept=kept)

    def _waves_named(self, counts: Callable[[Target], object]) -> set[str]:
        """Return the submissions that attempts name: without its submission, an attempt would pass
        for one that still goes on.
        """
        return {
            str(read_json(path)["wave"])
            for target, folder in _addresses(self.layout.home / "attempts")
            if counts(target)
            for path in _children(folder)
        }

    def _thing(
        self, kind: Kind, path: Path, age: float, why: str, target: Target | None = None
    ) -> Garbage:
        kept = self.rules.reason_to_keep(age) or (self._reason_to_keep(target) if target else "")
        name = "/".join(target) if target else path.name
        return Garbage(kind, name, (path,), size_of(path), age, why, target, kept=kept)

    def _reason_to_keep(self, target: Target) -> str:
        return self.activity.use_of(target) or self._hold(target)

    # ------------------------------------------------------------------------ removing

    def remove(self, found: Iterable[Garbage]) -> Iterator[tuple[Garbage, str]]:
        """Remove what can go; yield each with the reason why it stayed after all, '' when it is
        gone.
        """
        for one in found:
            if not one.kept:
                yield one, self._remove(one)

    def _remove(self, one: Garbage) -> str:
        if one.kind == "trash":
            return _delete(one.paths)
        if one.target is None:
            reason = self._second_look(one)
            return reason or _delete(self._set_aside(one.paths))
        with self.store.claim(*one.target) as ours:
            if not ours:
                return "a process works on it"
            with self._attempts.fence(*one.target):
                if reason := self._second_look(one):
                    return reason
                aside = self._set_aside((*one.paths, *self._locks(one.target)))
        reach("after-aside")
        return _delete(aside)

    def _locks(self, target: Target) -> Iterator[Path]:
        """Yield the lock files of what nobody wants: asking for them has made them.

        Whoever opened one in this instant and finds it gone works beside another for once, which
        costs time and nothing else: a publication looks again.
        """
        if target not in self.wanted:
            yield self.layout.claim(*target)
            yield self.layout.fence(*target)

    def _second_look(self, one: Garbage) -> str:
        """Return why something stays, as far as things have changed since it was found."""
        if one.kind == "waves":
            if self._named is None:  # the attempts that were to go have gone by now
                self._named = self._waves_named(lambda target: True)
            return "an attempt names it" if one.name in self._named else ""
        if one.target is None:  # a job that has ended
            return ""
        self.activity.refresh()
        return self._reason_to_keep(one.target)

    def _set_aside(self, paths: Sequence[Path]) -> list[Path]:
        """Rename into the trash: what is deleted piece by piece is seen by nobody."""
        self.layout.trash.mkdir(parents=True, exist_ok=True)
        moved: list[Path] = []
        for path in paths:
            aside = self.layout.trash / f"{path.parent.name}-{path.name}-{os.urandom(4).hex()}"
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, aside)
                moved.append(aside)
        return moved


def drop_dead_links(layout: Layout) -> int:
    """Remove the links of readable views that point to artifacts that are gone, and the folders
    that are empty then; return how many links.
    """
    dropped = 0
    for view in _children(layout.home / "experiments"):
        if view.is_symlink() or not view.is_dir():
            continue
        before = dropped
        for folder, names, files in os.walk(view):
            for path in (Path(folder) / name for name in (*names, *files)):
                if path.is_symlink() and not path.exists() and _is_below(path, layout.artifacts):
                    path.unlink(missing_ok=True)
                    dropped += 1
        if dropped > before:
            _drop_empty_folders(view)
    return dropped


def _is_below(link: Path, folder: Path) -> bool:
    """Whether a link names something below a folder, as it is spelled."""
    named = os.path.normpath(link.parent / os.readlink(link))
    return Path(named).is_relative_to(folder)


def _drop_empty_folders(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        with contextlib.suppress(OSError):  # it is not empty
            Path(folder).rmdir()


def _delete(paths: Iterable[Path]) -> str:
    """Delete files and folders; return what stood in the way, '' when nothing did."""
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            return f"{path} cannot be removed: {error}"
    return ""


def _addresses(room: Path) -> Iterator[tuple[Target, Path]]:
    """Yield what lies at <room>/<asset>/<name>, with (asset, name)."""
    for folder in _children(room):
        for path in _children(folder):
            yield (folder.name, path.name), path


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder) if name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_locked(path: Path) -> bool:
    try:
        with path.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
