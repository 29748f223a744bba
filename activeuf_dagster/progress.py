"""The engine's events as lines for a terminal."""

from __future__ import annotations

import logging
import time

from rich.console import Console
from rich.text import Text

from activeuf_core.recipes import Node
from activeuf_core.stages import stage_of
from activeuf_dagster.events import (
    Blocked,
    Completed,
    Event,
    Failed,
    Progressed,
    Submitted,
    label,
)
from activeuf_dagster.materialization import describe


class ProgressLines(logging.Handler):
    """Prints one line per event: time since the start, nodes done, what happened.

    One command is several Dagster runs, and each of them says of its nodes how they ended: what was
    said before is neither said nor counted again.
    """

    def __init__(self, console: Console, total: int) -> None:
        super().__init__()
        self._console = console
        self._total = total
        self._done: set[Node] = set()
        self._told: set[str] = set()
        self._started = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record of the engine's log."""
        event = getattr(record, "event", None)
        text, style = self._line(event) if event else (record.getMessage(), "red")
        if text and (event is None or self._is_news(event)):
            seconds = int(time.monotonic() - self._started)
            head = f"{seconds // 60:02d}:{seconds % 60:02d} {len(self._done):>4}/{self._total} "
            self._console.print(Text.assemble((head, "dim"), (text, style)))

    def _is_news(self, event: Event) -> bool:
        """Whether this was not said before; how a node ended is said once."""
        match event:
            case Completed(recipe):
                said = f"{label(recipe.node)} {recipe.fingerprint}"
            case Failed() | Blocked():
                said = describe(event)
            case _:
                return True
        is_known = said in self._told
        self._told.add(said)
        return not is_known

    def _line(self, event: Event) -> tuple[str, str]:
        """Return what to say of an event, '' for nothing, and in which colour."""
        match event:
            case Submitted(_, nodes, launcher, _):
                heavy = [node for node in nodes if stage_of(node[0]).weight]
                return (f"{_names(heavy)} → {launcher}" if heavy else "", "")
            case Completed(recipe, manifest, is_adopted):
                self._done.add(recipe.node)
                how = "adopted" if is_adopted else f"{manifest.provenance['seconds']:.1f} s"
                failed = [check["name"] for check in manifest.checks if not check["passed"]]
                warning = f"  (check not passed: {', '.join(failed)})" if failed else ""
                return (
                    f"{label(recipe.node)} complete, {how}{warning}",
                    "yellow" if failed else "green",
                )
            case Failed(_, failure):
                log = "" if failure.log_path in failure.message else f"\n{failure.log_path}"
                return f"{describe(event)}{log}", "red"
            case Progressed(total=total):
                return f"  {describe(event)}" if total else "", "dim"
        return describe(event), ""


def _names(nodes: list[tuple[str, str]]) -> str:
    """Return nodes as people write them, long lists cut."""
    shown = ", ".join(label(node) for node in nodes[:4])
    return shown if len(nodes) <= 4 else f"{shown} and {len(nodes) - 4} more"
