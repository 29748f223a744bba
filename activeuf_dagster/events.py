"""What happens while nodes are brought up to date, as the engine tells it."""

from __future__ import annotations

from dataclasses import dataclass

from activeuf_core.artifacts import Manifest
from activeuf_core.recipes import Node, Recipe


@dataclass(frozen=True)
class Failure:
    """Why a node is not complete, for people: the class, the message, the end of the log, and what
    to do next.
    """

    kind: str
    message: str
    log_path: str = ""
    log_tail: str = ""
    job_id: str = ""


@dataclass(frozen=True)
class Submitted:
    """A job with these nodes was given to a launcher."""

    job_id: str
    nodes: tuple[Node, ...]
    launcher: str
    log_path: str


@dataclass(frozen=True)
class Progressed:
    """A running node says how far it is; of 0 when its stage does not say."""

    node: Node
    done: int
    total: int
    unit: str
    eta_s: float | None
    job_id: str = ""
    log_path: str = ""


@dataclass(frozen=True)
class Completed:
    """A node is complete: made now, or adopted because its artifact was there."""

    recipe: Recipe
    manifest: Manifest
    is_adopted: bool
    job_id: str = ""


@dataclass(frozen=True)
class Failed:
    """A node's work ended without an artifact."""

    node: Node
    failure: Failure


@dataclass(frozen=True)
class Blocked:
    """A node was not tried, because what it reads failed, is missing, or did not pass a blocking
    check.
    """

    node: Node
    reason: str


@dataclass(frozen=True)
class Attached:
    """A node is being made already, by what `holder` says; it is waited for."""

    node: Node
    holder: str
    job_id: str = ""


@dataclass(frozen=True)
class Retried:
    """A node's job ended without an artifact, and another was started in its place."""

    node: Node
    job_id: str
    successor: str
    reason: str


Event = Attached | Retried | Submitted | Progressed | Completed | Failed | Blocked


def label(node: Node) -> str:
    """Return a node as people write it: `asset[partition]`."""
    return f"{node[0]}[{node[1]}]"
