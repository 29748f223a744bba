"""Taking an offer: a copy beside the store, verified byte by byte, then published like any other.

In: an offer. Out: an artifact under the fingerprint that the experiment's recipe expects, whose
manifest says where it came from, who took it, and whether its recipe is proven or claimed. The copy
is made in `<home>/imports/`; one that was not finished is garbage.
Cost: each file is read twice and written once; with links it is read twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from activeuf_core.adoption.offers import Offer, Wanted
from activeuf_core.artifacts import Manifest, file_sha256, problem_with, write_json
from activeuf_core.attempts import Attempts
from activeuf_core.errors import ArtifactError
from activeuf_core.jobs import new_job_id
from activeuf_core.paths import METRICS, PREFERENCES, Layout, RunFolder
from activeuf_core.recipes import Recipe

Mode = Literal["copy", "link", "move"]
CLAIM = "claimed by a person, not proven"
PROVEN = "proven by its manifest"


def take(offer: Offer, wanted: Wanted, mode: Mode) -> Manifest:
    """Take an offer that is good; return the manifest that stands there afterwards.

    A complete artifact that is there already stays. Args: mode: link: hard links, which take no
    space, and through which a later change of the source would damage the artifact. move: the
    source's files are removed once the artifact is published.
    Raises: ArtifactError when a file is not what the offer's manifest says, or when a process works
    on the artifact; OSError when files cannot be read, linked or written.
    """
    recipe = wanted.recipes[offer.node]
    store = wanted.book.store
    standing = store.inspect(recipe.asset, recipe.fingerprint).manifest
    if standing is not None:
        return standing
    with _staging(store.layout) as folder:
        _fill(folder, offer, mode)
        if offer.manifest is not None:
            problem = problem_with(folder, offer.manifest, digests=True)
            if problem:
                raise ArtifactError(f"{offer.source}: {problem}.")
        manifest = _manifest(offer, recipe, wanted, folder)
        with store.claim(recipe.asset, recipe.fingerprint) as ours:
            if not ours:
                raise ArtifactError(
                    f"{recipe.asset}[{recipe.partition}]: a process works on it. Adopt it when "
                    "that has ended."
                )
            permit = Attempts(store.layout).fence(recipe.asset, recipe.fingerprint)
            published = store.publish(manifest, folder, permit)
    if mode == "move":
        _remove_taken(offer)
    return published


@contextlib.contextmanager
def _staging(layout: Layout) -> Iterator[Path]:
    """Make a folder beside the store, locked while it is in use."""
    layout.imports.mkdir(parents=True, exist_ok=True)
    folder = layout.imports / os.urandom(8).hex()
    lock = folder.with_suffix(".lock")
    with lock.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _fill(folder: Path, offer: Offer, mode: Mode) -> None:
    for name, source in offer.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode == "link" and name not in offer.written:
            os.link(source.resolve(), target)
        else:
            shutil.copyfile(source, target)
    if offer.pickled:
        from activeuf_core.adoption.pickled import convert

        convert(offer.pickled, folder)
    if offer.rows:
        from activeuf_core.schemas import PREFERENCE, write_rows

        write_rows(folder / PREFERENCES, PREFERENCE, offer.rows)
        (folder / METRICS).touch()  # of the loop, which nobody kept
    for name, content in offer.written.items():
        write_json(folder / name, content)


def _manifest(offer: Offer, recipe: Recipe, wanted: Wanted, folder: Path) -> Manifest:
    """Return the manifest of what is taken, without its files."""
    full = wanted.resolved(offer.node).full
    origin: dict[str, Any] = {
        "from": str(offer.source.absolute()),
        "at": time.time(),
        "by": _who(),
        "recipe": PROVEN if offer.is_proven else CLAIM,
        "accepted": list(offer.accepted),
        "not_known": list(offer.not_known),
    }
    told: dict[str, Any] = {**offer.metadata, "adopted_from": origin["from"]}
    provenance: Mapping[str, Any]
    if offer.manifest is not None:
        provenance = offer.manifest.provenance
    else:
        provenance = _own_provenance(offer, wanted, recipe)
    if not offer.is_proven:
        origin["digests"] = {
            str(p): file_sha256(p) for p in (*offer.files.values(), *_named(offer))
        }
        told["adopted"] = origin["recipe"]
        if offer.not_known:
            told["not_known"] = ", ".join(offer.not_known)
    return Manifest(
        asset=recipe.asset,
        partition=recipe.partition,
        fingerprint=recipe.fingerprint,
        version=recipe.version,
        generation=recipe.generation,
        config=full,
        inputs=recipe.inputs,
        metadata=told,
        checks=offer.checks,
        provenance={**provenance, "adopted": origin},
    )


def _named(offer: Offer) -> list[Path]:
    """Return the files that were read and not taken."""
    if offer.source.is_file():
        return [offer.source]
    return [*offer.pickled, *(sorted(offer.source.rglob("*.arrow")) if offer.rows else ())]


def _own_provenance(offer: Offer, wanted: Wanted, recipe: Recipe) -> dict[str, Any]:
    """Return what is known of how something was made by nobody knows whom; its log says what was
    looked at.
    """
    job_id = new_job_id("adopt")
    log = RunFolder(wanted.layout.run(job_id)).log
    log.parent.mkdir(parents=True)
    lines = [
        f"{recipe.asset}[{recipe.partition}], adopted by {_who()}",
        f"from {offer.source.absolute()}",
        f"Its recipe is {CLAIM}.",
        f"Let pass though it differs: {', '.join(offer.accepted) or 'nothing'}.",
        f"Checks that are not known: {', '.join(offer.not_known) or 'none'}.",
    ]
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "job_id": job_id,
        "seconds": 0.0,
        "git_commit": "",
        "libraries": {},
        "launcher": "adopted",
        "published": time.time(),
    }


def _remove_taken(offer: Offer) -> None:
    """Remove the files that were taken, and the folder when it was an artifact."""
    if offer.manifest is not None:
        shutil.rmtree(offer.source)
        return
    for path in (*offer.files.values(), *_named(offer)):
        path.unlink(missing_ok=True)


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{os.uname().nodename}"
    except (KeyError, OSError):  # a user id without a name, as in a container
        return f"{os.getuid()}@{os.uname().nodename}"
