"""Recovery: which nodes have to run so that what was asked for is fresh, and why each. Pure.

In: what is known of every node (a `Fact`), upstream first, and a `Wish`. Out: a `Recovery`: what to
run, what only has to be recorded, and why everything else that is not fresh is left out.

A node runs when its artifact is not there and one of these holds:

    it was asked for    its state and its asset are among those that were asked for
    it waits            it reads, directly or not, one that was asked for, and all else that it
                        needs is there or runs too
    it is needed        one of the above cannot be made without it

A table that is made from whatever exists (optional inputs) has another recipe as soon as more
exists: it runs, and what reads it, when something that it may read does. A failure that was not
asked for is not tried again, and what needs it is left out with it; so is what somebody else makes
already. A complete artifact of the recipe as it is now is never made again, whatever lies upstream
of it: its recipe says all that it depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from activeuf_core.expected import ExpectedBook
from activeuf_core.plan import TO_RUN, Knowledge, State, Status
from activeuf_core.recipes import Node
from activeuf_core.stages import stage_of

SETTLED = ("fresh", "unrecorded")
"""States of nodes for which nothing has to run."""
FREE = ("missing", "stale", "broken")
"""States of nodes that may be made along with what they read."""


@dataclass(frozen=True)
class Fact:
    """What a decision needs to know of a node.

    `is_complete`: its artifact is there, made from what is there now. `is_recorded`: so Dagster
    says. `needs`: what it reads and cannot be made without. `may_read`: what it reads if it exists;
    `reads_something`: whether any of it does.
    """

    state: State
    reason: str = ""
    is_complete: bool = False
    is_recorded: bool = False
    needs: tuple[Node, ...] = ()
    may_read: tuple[Node, ...] = ()
    reads_something: bool = True


@dataclass(frozen=True)
class Wish:
    """What was asked for.

    `states`: which states are to be mended. `assets`: to what the recovery is confined, None for
    all; what those need upstream is made all the same. `busy`: who makes a node already. `barred`:
    why a node must not be made.
    """

    states: frozenset[State] = TO_RUN
    assets: frozenset[str] | None = None
    busy: Mapping[Node, str] = field(default_factory=dict)
    barred: Mapping[Node, str] = field(default_factory=dict)

    def names(self, node: Node) -> bool:
        """Whether a node's asset was asked for."""
        return self.assets is None or node[0] in self.assets


@dataclass(frozen=True)
class Recovery:
    """What is to be done, upstream first.

    `left_out`: what is not fresh besides, was asked for or stands in the way of it, and why it is
    left out. `not_asked`: the rest that is not fresh.
    """

    to_run: Mapping[Node, str]
    to_record: tuple[Node, ...]
    left_out: Mapping[Node, str]
    not_asked: tuple[Node, ...] = ()


def facts_of(
    now: ExpectedBook, found: Mapping[Node, Status], knowledge: Knowledge
) -> dict[Node, Fact]:
    """Return the facts of nodes whose status is known, in the same order.

    Args: now: a book that counts on nothing that is not there yet.
    """
    facts: dict[Node, Fact] = {}
    for node, one in found.items():
        optional = {item.asset for item in stage_of(node[0]).inputs if item.optional}
        above = now.upstream(*node)
        fingerprint = one.fingerprint if one.state in SETTLED else now.fingerprint(*node)
        facts[node] = Fact(
            state=one.state,
            reason=one.reason,
            is_complete=knowledge.found[node[0], fingerprint].is_complete,
            is_recorded=knowledge.recorded.get(node) == fingerprint,
            needs=tuple(o for o in above if o[0] not in optional and o in found),
            may_read=tuple(o for o in above if o[0] in optional and o in found),
            reads_something=not optional or any(now.is_there(*o) for o in above),
        )
    return facts


def decide(facts: Mapping[Node, Fact], wish: Wish) -> Recovery:
    """Return what to run of some nodes, given upstream first: nothing more, nothing less."""
    stuck = _stuck(facts, wish)
    chosen = _asked_for(facts, wish, stuck)
    _add_what_waits(facts, wish, chosen)
    _add_what_is_needed(facts, chosen)
    to_run = {node: chosen[node] for node in facts if node in chosen}
    to_record = [
        node
        for node, one in facts.items()
        if one.is_complete and not one.is_recorded and node not in chosen
    ]
    left_out: dict[Node, str] = {}
    not_asked: list[Node] = []
    for node, one in facts.items():
        if one.state in SETTLED or node in chosen:
            continue
        is_asked = one.state in wish.states or one.state == "running"
        if wish.names(node) and (node in stuck or is_asked):
            left_out[node] = stuck.get(node) or _why_not(one)
        else:
            not_asked.append(node)
    return Recovery(to_run, tuple(to_record), left_out, tuple(not_asked))


def _stuck(facts: Mapping[Node, Fact], wish: Wish) -> dict[Node, str]:
    """Return the nodes that this recovery cannot make, and why."""
    stuck: dict[Node, str] = {}
    for node, one in facts.items():
        if one.is_complete:
            continue
        if node in wish.busy:
            stuck[node] = f"on its way in {wish.busy[node]}"
        elif node in wish.barred:
            stuck[node] = wish.barred[node]
        elif one.state == "blocked":
            stuck[node] = one.reason
        elif one.state == "failed" and "failed" not in wish.states:
            stuck[node] = f"failed, and failures were not asked for: {one.reason}"
        else:
            waits = next((other for other in one.needs if other in stuck), None)
            if waits is not None:
                stuck[node] = f"needs {_label(waits)}: {stuck[waits]}"
    return stuck


def _asked_for(
    facts: Mapping[Node, Fact], wish: Wish, stuck: Mapping[Node, str]
) -> dict[Node, str]:
    chosen: dict[Node, str] = {}
    for node, one in facts.items():
        is_asked = one.state in wish.states and wish.names(node)
        is_open = not one.is_complete and node not in stuck
        reads = one.reads_something or any(other in chosen for other in one.may_read)
        if is_asked and is_open and reads:
            said = one.reason.startswith(one.state)
            chosen[node] = one.reason if said else f"{one.state}: {one.reason}"
    return chosen


def _add_what_waits(facts: Mapping[Node, Fact], wish: Wish, chosen: dict[Node, str]) -> None:
    """Choose what reads a chosen node; `grown`: the nodes that get another recipe thereby."""
    grown: set[Node] = set()
    for node, one in facts.items():
        more = [other for other in one.may_read if other in chosen]
        more += [other for other in one.needs if other in grown]
        above = more if one.is_complete else [*more, *(o for o in one.needs if o in chosen)]
        if node not in chosen and above and _may_wait(facts, wish, chosen, node):
            chosen[node] = f"reads {_label(above[0])}, which is made"
        if more and node in chosen:
            grown.add(node)


def _may_wait(
    facts: Mapping[Node, Fact], wish: Wish, chosen: Mapping[Node, str], node: Node
) -> bool:
    """Whether a node that reads a chosen one can be made with the chosen ones."""
    one = facts[node]
    is_free = (
        wish.names(node)
        and node not in {**wish.busy, **wish.barred}
        and one.state in (*SETTLED, *FREE)
    )
    return is_free and all(other in chosen or facts[other].is_complete for other in one.needs)


def _add_what_is_needed(facts: Mapping[Node, Fact], chosen: dict[Node, str]) -> None:
    for node in reversed(list(facts)):
        if node in chosen:
            for other in facts[node].needs:
                if not facts[other].is_complete:
                    chosen.setdefault(other, f"{_label(node)} needs it")


def _why_not(one: Fact) -> str:
    """Return why a node that was asked for, and that could be made, is left out."""
    if one.is_complete:
        return f"complete, made from what exists; {one.reason}"
    return one.reason if one.reads_something else "nothing that it reads is there or is made"


def _label(node: Node) -> str:
    return f"{node[0]}[{node[1]}]"
