"""The engine's events as lines for a terminal."""

from __future__ import annotations

import logging
import time

from rich.console import Console
from rich.text import Text

from activeuf_core.stages import stage_of
from activeuf_dagster.events import Completed, Event, Failed, Progressed, Submitted, label
from activeuf_dagster.materialization import describe


class ProgressLines(logging.Handler):
    """Prints one line per event: time since the start, nodes done, what happened."""

    def __init__(self, console: Console, total: int) -> None:
        super().__init__()
        self._console = console
        self._total = total
        self._done = 0
        self._started = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record of the engine's log."""
        event = getattr(record, "event", None)
        text, style = self._line(event) if event else (record.getMessage(), "red")
        if text:
            seconds = int(time.monotonic() - self._started)
            head = f"{seconds // 60:02d}:{seconds % 60:02d} {self._done:>4}/{self._total} "
            self._console.print(Text.assemble((head, "dim"), (text, style)))

    def _line(self, event: Event) -> tuple[str, str]:
        """Return what to say of an event, '' for nothing, and in which colour."""
        match event:
            case Submitted(_, nodes, launcher, _):
                heavy = [node for node in nodes if stage_of(node[0]).weight]
                return (f"{_names(heavy)} → {launcher}" if heavy else "", "")
            case Completed(recipe, manifest, is_adopted):
                self._done += 1
                how = "adopted" if is_adopted else f"{manifest.provenance['seconds']:.1f} s"
                failed = [check["name"] for check in manifest.checks if not check["passed"]]
                warning = f"  (check not passed: {', '.join(failed)})" if failed else ""
                return (
                    f"{label(recipe.node)} complete, {how}{warning}",
                    "yellow" if failed else "green",
                )
            case Failed(_, failure):
                return f"{describe(event)}\n{failure.log_path}", "red"
            case Progressed(total=total):
                return f"  {describe(event)}" if total else "", "dim"
        return describe(event), ""


def _names(nodes: list[tuple[str, str]]) -> str:
    """Return nodes as people write them, long lists cut."""
    shown = ", ".join(label(node) for node in nodes[:4])
    return shown if len(nodes) <= 4 else f"{shown} and {len(nodes) - 4} more"
