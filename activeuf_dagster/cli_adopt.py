"""`activeuf adopt`: artifacts that were made elsewhere, verified and taken for an experiment."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from activeuf_core import view
from activeuf_core.adoption.offers import Offer, Wanted
from activeuf_core.adoption.places import look
from activeuf_core.adoption.taking import take
from activeuf_core.errors import ActiveUFError, ConfigError, choose_from
from activeuf_core.recipes import Node
from activeuf_core.stages import STAGES, stage_of
from activeuf_dagster.instance import ensure_instance
from activeuf_dagster.project import Project

console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
LATE = frozenset({"scores", "wandb_summary"})
"""Assets whose recipes depend on which scores are there: looked at when those have been taken."""
OPEN = "depends"
STATES = ("taken", "would be taken", OPEN, "there already", "refused")


class How(StrEnum):
    """How files get into the store."""

    COPY = "copy"
    LINK = "link"
    MOVE = "move"


@dataclass(frozen=True)
class Outcome:
    """What became of an offer."""

    offer: Offer
    state: str
    why: str = ""


def adopt(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH…",
            help="Another home or a part of it, an artifact, or the folders of earlier scripts.",
        ),
    ],
    experiment: Annotated[str, typer.Option("--as", help="The experiment that it is for.")],
    copy: Annotated[bool, typer.Option("--copy", help="Copy the files (the default).")] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Link the files: no space is taken.")
    ] = False,
    move: Annotated[
        bool, typer.Option("--move", help="Remove them there when all is well.")
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-config",
            metavar="KEY",
            help="A config key, an asset that is read, or `version`, that may differ.",
        ),
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Convert pickled weights (tensors only).")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be taken.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Take artifacts that were made elsewhere for an experiment, verified and recorded as such."""
    how = _how(copy=copy, link=link, move=move)
    project = Project.load()
    name = _one(project, experiment)
    taker = _Taker(project, name, tuple(accept or ()), how, allow_pickle=allow_pickle)
    found = [outcome for place in places for outcome in taker.take_from(place, dry_run=dry_run)]
    if as_json:
        sys.stdout.write(json.dumps(_as_json(found), indent=1) + "\n")
    else:
        _tell(found, name, dry_run=dry_run)
    if not found or any(outcome.state == "refused" for outcome in found):
        raise typer.Exit(1)


def _how(*, copy: bool, link: bool, move: bool) -> How:
    if copy + link + move > 1:
        raise ConfigError("--copy, --link and --move exclude one another: give one of them.")
    return How.LINK if link else How.MOVE if move else How.COPY


def _one(project: Project, experiment: str) -> str:
    """Return the one experiment that is meant. Raises: ConfigError for none or several."""
    found = list(project.catalog.chosen([experiment]))
    if len(found) > 1:
        allowed = choose_from(experiment, found)
        raise ConfigError(f"--as {experiment!r} means {len(found)} experiments; {allowed}.")
    return found[0]


class _Taker:
    """Takes what places offer for one experiment."""

    def __init__(
        self,
        project: Project,
        experiment: str,
        accepted: Sequence[str],
        how: How,
        *,
        allow_pickle: bool,
    ) -> None:
        self._project = project
        self._experiment = experiment
        self._accepted = accepted
        self._how = how
        self._allow_pickle = allow_pickle

    def take_from(self, place: Path, *, dry_run: bool) -> list[Outcome]:
        """Take what is good; what depends on which scores are there, in a second look."""
        wanted, offers = self._look(place)
        early = [offer for offer in offers if offer.node[0] not in LATE]
        late = [offer for offer in offers if offer.node[0] in LATE]
        if dry_run:
            return [*(_foretold(one, wanted) for one in early), *_foretold_late(late, wanted)]
        found = [self._take(offer, wanted) for offer in early]
        if late:
            found += self._take_late(place, {offer.node for offer in late})
        self._record([one.offer.node for one in found if one.state == "taken"])
        return found

    def _take_late(self, place: Path, nodes: set[Node]) -> list[Outcome]:
        """Take one table after the other: each depends on what is there."""
        found: list[Outcome] = []
        for asset in (stage.asset for stage in STAGES if stage.asset in LATE):
            wanted, offers = self._look(place) if place.exists() else (self._wanted(), [])
            mine = [one for one in offers if one.node in nodes and one.node[0] == asset]
            found += [self._take(one, wanted) for one in mine if not one.problem]
        return found

    def _wanted(self) -> Wanted:
        from activeuf_dagster.planning import nodes_of

        book = self._project.book()
        return Wanted.of(book, self._experiment, nodes_of(book, [self._experiment]))

    def _look(self, place: Path) -> tuple[Wanted, list[Offer]]:
        wanted = self._wanted()
        return wanted, look(place, wanted, accepted=self._accepted, allow_pickle=self._allow_pickle)

    def _take(self, offer: Offer, wanted: Wanted) -> Outcome:
        expected = _foretold(offer, wanted)
        if expected.state != "would be taken":
            return expected
        try:
            manifest = take(offer, wanted, self._how.value)
        except (ActiveUFError, OSError) as error:
            return Outcome(offer, "refused", str(error))
        if stage_of(offer.node[0]).dimension == "experiment":
            view.refresh(wanted.layout, self._experiment, offer.node[0], manifest.fingerprint)
        return Outcome(offer, "taken", expected.why)

    def _record(self, nodes: Sequence[Node]) -> None:
        """Have Dagster know what was taken."""
        import dagster as dg

        from activeuf_dagster.unrecorded import record

        if nodes:
            ensure_instance(self._project.layout)
            with dg.DagsterInstance.get() as instance:
                record(instance, self._project.book(), list(nodes))


def _foretold(offer: Offer, wanted: Wanted) -> Outcome:
    recipe = wanted.recipes[offer.node]
    if wanted.book.store.inspect(recipe.asset, recipe.fingerprint).is_complete:
        return Outcome(offer, "there already")
    if offer.problem:
        return Outcome(offer, "refused", offer.problem)
    if offer.accepted:
        return Outcome(offer, "would be taken", f"claimed; differs: {', '.join(offer.accepted)}")
    return Outcome(offer, "would be taken", "proven" if offer.is_proven else "claimed")


def _foretold_late(offers: Sequence[Offer], wanted: Wanted) -> Iterator[Outcome]:
    """Yield what becomes of offers that are looked at once more when the scores have been taken."""
    for offer in offers:
        outcome = _foretold(offer, wanted)
        is_open = outcome.state == "refused"
        why = "taken if it was made from the scores that are there then"
        yield Outcome(offer, OPEN, why) if is_open else outcome


def _tell(found: Sequence[Outcome], experiment: str, *, dry_run: bool) -> None:
    if not found:
        console.print(
            f"Nothing there is for {escape(experiment)}. Looked for: artifacts of its recipes (as "
            "another home has them); model folders (config.json with weights); "
            "results/<benchmark>/metrics.json; saved data sets."
        )
        return
    colours = {"refused": "red", "there already": "dim"}
    table = Table("asset", "partition", "state", box=None)
    for column in ("why", "from"):
        table.add_column(column, overflow="fold")
    for one in found:
        asset, partition = one.offer.node
        state = f"[{colours.get(one.state, 'green')}]{one.state}"
        place = str(one.offer.source)
        table.add_row(asset, partition, state, escape(one.why), escape(place))
    console.print(table)
    counts = {state: sum(one.state == state for one in found) for state in STATES}
    console.print("\n" + ", ".join(f"{n} {state}" for state, n in counts.items() if n))
    if any(one.why.startswith("claimed") for one in found):
        console.print(
            f"*Claimed* is your word that it is what the recipe of {escape(experiment)} makes: "
            "manifest and Dagster say so. Checks that nobody can repeat are listed as not known."
        )
    if not dry_run and counts["taken"]:
        console.print(f"`activeuf plan {escape(experiment)}` says what is still missing.")


def _as_json(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [
        {
            "asset": one.offer.node[0],
            "partition": one.offer.node[1],
            "state": one.state,
            "why": one.why,
            "from": str(one.offer.source),
            "not_known": list(one.offer.not_known),
        }
        for one in found
    ]
