"""The guard on code identity: a stage's code changed; does its version rise, or are results equal?

In: the table of stages, their code, `code.lock`. Out: what changed, two ways out; a new lock.
A stage's `version` in `stages.py` enters every fingerprint. Forgetting to raise it leaves wrong
artifacts fresh; raising it for a renamed variable costs a cluster a week. So the lock holds a
digest of each stage's code, a test fails when they differ, and a person says which of both it is.
Source: `docs/code-identity.md`. Cost: under a second.
Command: `python -m activeuf_core.code_identity check | accept | bump | show | init`.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from activeuf_core.code_lock import COMMAND, LOCK_NAME, Entry, Lock
from activeuf_core.code_slice import CodeIndex, Piece, Slice, digest_of_slice
from activeuf_core.errors import ActiveUFError, ConfigError, choose_from
from activeuf_core.paths import PROJECT
from activeuf_core.stages import STAGES, Stage

INFRASTRUCTURE = (
    "activeuf_core.artifacts",  # publishes and reads folders; what is in them is the stage's
    "activeuf_core.catalog",  # resolves configs: what comes out is in the fingerprint
    "activeuf_core.catalog_files",
    "activeuf_core.code_identity",
    "activeuf_core.code_lock",
    "activeuf_core.code_slice",
    "activeuf_core.errors",
    "activeuf_core.figures",  # pictures for people; no stage reads one
    "activeuf_core.jobs",
    "activeuf_core.launchers",  # where a stage runs
    "activeuf_core.paths",
    "activeuf_core.provenance",
    "activeuf_core.recipes",
    "activeuf_core.stage",  # how a stage is started and reports
    "activeuf_core.stages",  # the table itself, with the versions
    "activeuf_core.task",
)
"""Modules, and packages with all in them, that cannot change a result: no slice follows them."""

STAGES_FILE = "activeuf_core/stages.py"


@dataclass(frozen=True)
class Change:
    """A stage whose code or version is not what the lock says. `pieces` are lines for people."""

    asset: str
    kind: str
    summary: str
    pieces: tuple[str, ...] = ()


class CodeIdentity:
    """The stages' code as it is, beside the lock."""

    def __init__(self, root: Path = PROJECT, stages: Sequence[Stage] = STAGES) -> None:
        self.root = root
        self.stages = {stage.asset: stage for stage in stages}
        self._index = CodeIndex(root, INFRASTRUCTURE)
        self._slices: dict[str, Slice] = {}

    @property
    def lock_path(self) -> Path:
        """Where the lock lies."""
        return self.root / LOCK_NAME

    def slice_of(self, asset: str) -> Slice:
        """Return the code that a stage's result depends on.

        Raises: ConfigError for an unknown stage, or one whose module has no code.
        """
        if asset not in self.stages:
            raise ConfigError(f"unknown stage {asset!r}; {choose_from(asset, self.stages)}.")
        if asset not in self._slices:
            stage = self.stages[asset]
            config = f"{stage.config.__module__}.{stage.config.__qualname__}"
            found = self._index.slice(stage.module, asset, also=(config,))
            if not found:
                raise ConfigError(
                    f"{asset}: {stage.module} has no code below {self.root}. Write it."
                )
            self._slices[asset] = found
        return self._slices[asset]

    def entry_of(self, asset: str) -> Entry:
        """Return the entry that the lock would hold for a stage as it is."""
        pieces = self.slice_of(asset)
        return Entry(self.stages[asset].version, digest_of_slice(pieces))

    def changes(self, lock: Lock) -> list[Change]:
        """Return the stages that are not as the lock says, in flow order."""
        found = [self._change(asset, lock) for asset in self.stages]
        gone = [
            Change(asset, "gone", f"{asset}: the lock names it, the table of stages does not")
            for asset in lock.stages
            if asset not in self.stages
        ]
        return [change for change in found if change] + gone

    def accept(self, lock: Lock, assets: Sequence[str], because: str, today: datetime.date) -> Lock:
        """Return a lock that takes the changed code of some stages as equivalent.

        Raises: ConfigError when a stage's code did not change, or its version did.
        """
        reason = " ".join(because.split())
        if not reason:
            raise ConfigError("--because is empty. Say why the results stay the same.")
        stages = dict(lock.stages)
        for asset in assets:
            now, known = self.entry_of(asset), lock.stages.get(asset)
            if known is None or known.version != now.version:
                raise ConfigError(
                    f"{asset}: is new, or its version changed. Record that: {COMMAND} bump {asset}"
                )
            if known.digest == now.digest:
                raise ConfigError(
                    f"{asset}: its code is what the lock says; there is nothing to accept."
                )
            line = f"{today.isoformat()} {known.digest} → {now.digest}: {reason}"
            stages[asset] = replace(now, accepted=(*known.accepted, line))
        return self._with_code(Lock(self._ordered(stages), lock.code))

    def record(self, lock: Lock, assets: Sequence[str]) -> Lock:
        """Return a lock with some stages as they are now, with nothing accepted."""
        stages = {**lock.stages, **{asset: self.entry_of(asset) for asset in assets}}
        return self._with_code(Lock(self._ordered(stages), lock.code))

    def _change(self, asset: str, lock: Lock) -> Change | None:
        now, known = self.entry_of(asset), lock.stages.get(asset)
        if known is None:
            return Change(asset, "new", f"{asset}: is new, the lock does not have it")
        if known.version != now.version:
            versions = f"version {known.version} in the lock, {now.version} in {STAGES_FILE}"
            return Change(asset, "version", f"{asset}: {versions}")
        if known.digest == now.digest:
            return None
        pieces = tuple(_differences(self.slice_of(asset), lock.code, self._still_used()))
        return Change(asset, "code", f"{asset}: its code changed (version {now.version})", pieces)

    def _still_used(self) -> set[Piece]:
        return {piece for asset in self.stages for piece in self.slice_of(asset)}

    def _ordered(self, stages: Mapping[str, Entry]) -> dict[str, Entry]:
        return {asset: stages[asset] for asset in self.stages if asset in stages}

    def _with_code(self, lock: Lock) -> Lock:
        """Bring the table of code up to date, except where a stage is still to be decided on."""
        open_assets = {change.asset for change in self.changes(lock) if change.kind == "code"}
        undecided = {piece for asset in open_assets for piece in self.slice_of(asset)}
        code: dict[Piece, str] = {}
        for asset in self.stages:
            for piece, digest in self.slice_of(asset).items():
                before = lock.code.get(piece)
                kept = before if piece in undecided else digest
                if kept is not None:
                    code[piece] = kept
        if open_assets:
            code = {**lock.code, **code}
        return Lock(lock.stages, code)


def raise_version(source: str, asset: str) -> tuple[str, str, bool]:
    """Raise a stage's version in the text of stages.py.

    A stage that is built by a function shares its version with the others that are.
    Returns: the new text, the new version, whether it is shared.
    Raises: ConfigError when the version is not a whole number written out.
    """
    calls = [
        {word.arg: word.value for word in node.keywords}
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Stage"
    ]
    named = [call for call in calls if getattr(call.get("asset"), "value", None) == asset]
    built = [call for call in calls if not isinstance(call.get("asset"), ast.Constant)]
    found = (named or built or [{}])[0].get("version")
    if not (isinstance(found, ast.Constant) and str(found.value).isdigit()):
        raise ConfigError(
            f"{STAGES_FILE}: the version of {asset} is not a number there. Raise it by hand."
        )
    version = str(int(str(found.value)) + 1)
    lines = source.splitlines(keepends=True)
    line = lines[found.lineno - 1].encode()
    lines[found.lineno - 1] = (
        line[: found.col_offset] + f'"{version}"'.encode() + line[found.end_col_offset :]
    ).decode()
    return "".join(lines), version, not named


def report(changes: Sequence[Change]) -> str:
    """Return what changed and the ways out, for people."""
    lines = [f"{LOCK_NAME} does not hold for {', '.join(c.asset for c in changes)}.", ""]
    groups = {
        change.pieces: [c for c in changes if c.pieces == change.pieces] for change in changes
    }
    for pieces, group in groups.items():
        lines += [change.summary for change in group]
        lines += [f"    {piece}" for piece in pieces]
    changed = " ".join(change.asset for change in changes if change.kind == "code")
    other = " ".join(change.asset for change in changes if change.kind in ("new", "version"))
    if changed:
        lines += [
            "",
            "Two ways out, for each of them:",
            f"  its results can differ:  {COMMAND} bump {changed}",
            f"      raises the version in {STAGES_FILE}; its partitions and all below turn stale.",
            f'  its results are equal:   {COMMAND} accept {changed} --because "…"',
            f"      adds a line with your reason to {LOCK_NAME}; every artifact stays fresh.",
        ]
    if other:
        lines += ["", f"Record the new stage or version:  {COMMAND} bump {other}"]
    if any(change.kind == "gone" for change in changes):
        lines += ["", f"Forget a stage that is gone: the next `{COMMAND} bump` or `accept` does."]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None, identity: CodeIdentity | None = None) -> int:
    """Run a command; the exit status is 1 when the lock does not hold, 2 for a wrong request."""
    arguments = _arguments(argv)
    try:
        return _COMMANDS[arguments.command](identity or CodeIdentity(), arguments)
    except ActiveUFError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _check(identity: CodeIdentity, arguments: argparse.Namespace) -> int:
    del arguments
    changes = identity.changes(Lock.load(identity.lock_path))
    _say(report(changes) if changes else f"{LOCK_NAME} holds for {len(identity.stages)} stages.")
    return 1 if changes else 0


def _accept(identity: CodeIdentity, arguments: argparse.Namespace) -> int:
    lock = Lock.load(identity.lock_path)
    today = datetime.datetime.now(tz=datetime.UTC).date()
    _write(identity, identity.accept(lock, arguments.stages, arguments.because, today))
    _say(f"accepted as equal: {', '.join(arguments.stages)}. Commit {LOCK_NAME} with the change.")
    return 0


def _bump(identity: CodeIdentity, arguments: argparse.Namespace) -> int:
    """Raise versions that nobody raised yet, and record the stages."""
    lock = Lock.load(identity.lock_path)
    path = identity.root / STAGES_FILE
    stages = dict(identity.stages)
    for asset in arguments.stages:
        identity.slice_of(asset)
        known = lock.stages.get(asset)
        if known is None or known.version != stages[asset].version:
            continue
        source, version, is_shared = raise_version(path.read_text(encoding="utf-8"), asset)
        path.write_text(source, encoding="utf-8")
        module = stages[asset].module
        shared = {name for name, stage in stages.items() if is_shared and stage.module == module}
        for name in {asset, *shared}:
            stages[name] = replace(stages[name], version=version)
    raised = [name for name, stage in stages.items() if stage is not identity.stages[name]]
    after = CodeIdentity(identity.root, tuple(stages.values()))
    _write(after, after.record(lock, [*arguments.stages, *raised]))
    for name in dict.fromkeys([*arguments.stages, *raised]):
        _say(f"{name}: version {stages[name].version}; its partitions and all below are stale now.")
    return 0


def _init(identity: CodeIdentity, arguments: argparse.Namespace) -> int:
    del arguments
    _write(identity, identity.record(Lock(), list(identity.stages)))
    _say(f"{LOCK_NAME}: written anew for {len(identity.stages)} stages; nothing is accepted.")
    return 0


def _show(identity: CodeIdentity, arguments: argparse.Namespace) -> int:
    for asset in arguments.stages:
        _say(f"{asset}: version {identity.entry_of(asset).version}")
        for file, name in sorted(identity.slice_of(asset)):
            _say(f"    {file}: {name}")
    return 0


_COMMANDS = {"check": _check, "accept": _accept, "bump": _bump, "init": _init, "show": _show}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Guard the identity of the stages' code."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say which stages' code is not what the lock says")
    accept = commands.add_parser("accept", help="take changed code as giving equal results")
    accept.add_argument("--because", required=True, help="why the results stay the same")
    bump = commands.add_parser("bump", help="raise the version of stages whose results can differ")
    show = commands.add_parser("show", help="list the code that a stage's results depend on")
    commands.add_parser("init", help="write the lock anew, forgetting what was accepted")
    for command in (accept, bump, show):
        command.add_argument("stages", nargs="+", metavar="STAGE")
    return parser.parse_args(argv)


def _differences(now: Slice, locked: Slice, used: set[Piece]) -> list[str]:
    """Return one line per definition that changed; the lock's table is shared by all stages."""
    lines = []
    for (file, name), digest in sorted(now.items()):
        before = locked.get((file, name))
        if before != digest:
            lines.append(f"{'new' if before is None else 'changed':8} {file}: {name}")
    files = {file for file, _ in now}
    lost = [piece for piece in locked if piece[0] in files and piece not in used]
    lines += [f"{'gone':8} {file}: {name}" for file, name in sorted(lost)]
    return lines or ["it uses other definitions than before, each unchanged in itself"]


def _write(identity: CodeIdentity, lock: Lock) -> None:
    identity.lock_path.write_text(lock.text(), encoding="utf-8")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
