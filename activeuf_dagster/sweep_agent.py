"""The program of a W&B sweep: one point, from the suggestion to the metric.

`wandb agent` starts it once per point, as the sweep file's `command` says:
`python -m activeuf_dagster.sweep_agent SWEEP '{"loop.batch_size": 64, …}'` (or `--key=value …`).
In: the name of a file in `configs/sweeps/`, the point. Out: the point as an experiment, up to date;
its curves and scores in the agent's W&B run. A point that was made before is not made again.

It ends with 0 when everything is complete, 1 when something failed or the point was refused.
SIGTERM and SIGINT stop the point: stages on this machine end, jobs on a cluster that nobody else
waits for are cancelled, what is complete stays. SIGUSR1 only leaves it: jobs go on, and W&B is
asked to give the point to another agent.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import yaml
from rich.console import Console

from activeuf_core.announcements import announced
from activeuf_core.catalog import Catalog
from activeuf_core.catalog_sweeps import key_of
from activeuf_core.errors import ActiveUFError, ConfigError, choose_from
from activeuf_core.recipes import Node, RecipeBook
from activeuf_core.stages import stage_of
from activeuf_core.sweep_points import candidate, checked_point, register
from activeuf_dagster.instance import ensure_instance
from activeuf_dagster.project import Project
from activeuf_dagster.sweep_report import PointReport

log = logging.getLogger("activeuf.sweep")
console = Console(highlight=False, soft_wrap=True)
OF_THE_AGENT = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_SERVICE")
"""What tells W&B's library that it writes the agent's run. A stage must not know: it writes its own
run, and two processes that write one run lose rows.
"""
OUTCOME, REASON, EXPERIMENT = "activeuf/outcome", "activeuf/reason", "activeuf/experiment"
STOPPED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Outcome:
    """How a point ended: complete, failed, refused, stopped or left; and why."""

    word: str
    reason: str = ""

    @property
    def exit_code(self) -> int:
        """Return what W&B is told: 0 for finished, else the run has failed."""
        return {"complete": 0, "stopped": STOPPED}.get(self.word, 1)


@dataclass
class Interruption:
    """What a signal wants; `is_left` after SIGUSR1."""

    is_left: bool = False

    def listen(self) -> None:
        """Turn signals into KeyboardInterrupt, as Dagster does while it runs."""
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGTERM, _interrupt)
        signal.signal(signal.SIGUSR1, self._leave)

    def ignore(self) -> None:
        """Let nothing interrupt the tidying up: an agent repeats itself every few seconds."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.is_left = True
        signal.raise_signal(signal.SIGINT)


class Point:
    """One point on its way."""

    def __init__(self, wandb_run: Any, sweep: str, given: Mapping[str, Any]) -> None:
        self.run = wandb_run
        self.sweep = sweep
        self.given = given
        self.experiment = ""

    def make(self) -> Outcome:
        """Register the point, bring it up to date, report."""
        project, self.experiment = placed(self.sweep, self.given)
        self.run.name = self.experiment
        self.run.config.update({EXPERIMENT: self.experiment}, allow_val_change=True)
        console.print(f"The point is experiment {self.experiment}.")
        report = PointReport(self.run, project.book(), self.experiment)
        is_complete = _up_to_date(project, report, nodes_of_point(report.book, self.experiment))
        report.finish()
        metric = project.catalog.sweeps[self.sweep].sweep.body.metric
        if metric and metric.name not in report.names:
            text = f"{metric.name} was never reported, by which the sweep compares its points"
            return Outcome("failed", "; ".join([*report.trouble[:5], text]))
        if report.trouble or not (is_complete or report.tracking_failed):
            return Outcome("failed", "; ".join(report.trouble[:5]))
        return Outcome("complete", "but for wandb_summary" if report.tracking_failed else "")

    def abandon(self) -> str:
        """Cancel the point's jobs that nobody else waits for; return what became of them."""
        import dagster as dg

        from activeuf_dagster.sweep_stop import awaited_by_others, cancel_jobs_of

        if not self.experiment:
            return ""
        why = f"its sweep stopped W&B run {self.run.id}"
        try:
            project = Project.load()  # with the points that others have registered since
            ensure_instance(project.layout)
            with dg.DagsterInstance.get() as instance:
                awaited = awaited_by_others(instance, project)
            ids = cancel_jobs_of(project, self.experiment, awaited, why)
        except ActiveUFError as error:
            return str(error)
        return f"cancelled {', '.join(ids)}" if ids else ""


def placed(sweep: str, given: Mapping[str, Any]) -> tuple[Project, str]:
    """Return the project that knows a point as an experiment, and the experiment; registered where
    neither the sweep's file nor an earlier suggestion has it.

    Raises: ConfigError for a point that is no experiment.
    """
    project = Project.load()
    if sweep not in project.catalog.sweeps:
        known = choose_from(sweep, project.catalog.sweeps)
        raise ConfigError(f"there is no sweep {sweep!r} in {project.configs}; {known}.")
    one = project.catalog.sweeps[sweep]
    key, kept = key_of(one.sweep, checked_point(one.sweep, given), project.configs)
    if key in one.experiments or key in one.same_as:
        return project, one.same_as.get(key, key)
    new = candidate(project.layout, sweep, key, kept)
    try:
        catalog = Catalog.load(project.configs, project.layout, [new])
    except ConfigError as error:
        raise ConfigError(f"the point {dict(given)} is no experiment: {error}") from error
    found = catalog.sweeps[sweep]
    if key not in found.same_as:
        register(new)
    return replace(project, catalog=catalog), found.same_as.get(key, key)


def nodes_of_point(book: RecipeBook, experiment: str) -> list[Node]:
    """Return what belongs to a point and all that it reads; no leaderboard, which would change with
    every point of every agent.
    """
    from activeuf_dagster.planning import nodes_of

    found = nodes_of(book, [experiment])
    return [node for node in found if stage_of(node[0]).dimension != "none"]


def parsed(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the sweep's name and the point, given as JSON or as `--key=value`.

    Raises: ConfigError.
    """
    match words:
        case [sweep, text] if text.startswith("{"):
            try:
                return sweep, json.loads(text)
            except ValueError as error:
                raise ConfigError(f"the point {text!r} is no JSON: {error}") from None
        case [sweep, *flags] if all(flag.startswith("--") and "=" in flag for flag in flags):
            pairs = [flag[2:].partition("=") for flag in flags]
            return sweep, {name: yaml.safe_load(value) for name, _, value in pairs}
    raise ConfigError(
        f"arguments {list(words)!r}; expected: SWEEP and the point, as JSON or as --key=value. In "
        'the sweep file: command: ["${env}", python, -m, activeuf_dagster.sweep_agent, SWEEP, '
        '"${args_json}"].'
    )


def main(words: Sequence[str] | None = None) -> int:
    """Make one point; return the exit code. A stopped one ends by the signal that stopped it, which
    the agent does not count as a failure.
    """
    interruption = Interruption()
    interruption.listen()
    try:
        sweep, given = parsed(sys.argv[1:] if words is None else words)
        wandb_run = _open_run()
    except ActiveUFError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return STOPPED
    point = Point(wandb_run, sweep, given)
    outcome = _outcome_of(point, interruption)
    interruption.ignore()
    wandb_run.summary.update({OUTCOME: outcome.word, REASON: outcome.reason[:1000]})
    console.print(f"{outcome.word} {outcome.reason}".rstrip(), markup=False)
    wandb_run.finish(exit_code=outcome.exit_code)
    if outcome.word == "stopped":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    return outcome.exit_code


def _outcome_of(point: Point, interruption: Interruption) -> Outcome:
    try:
        return point.make()
    except ActiveUFError as error:
        word = "refused" if isinstance(error, ConfigError) else "failed"
        return Outcome(word, f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        interruption.ignore()
        if interruption.is_left:
            point.run.mark_preempting()
            return Outcome("left", "this agent's time is up; jobs on a cluster go on")
        return Outcome("stopped", point.abandon())


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _open_run() -> Any:
    """Return the W&B run that the agent asked for. Raises: ConfigError with what W&B says."""
    import wandb

    try:
        wandb_run = wandb.init(resume="allow")
    except wandb.Error as error:
        raise ConfigError(
            f"W&B gives no run ({error}). Set WANDB_API_KEY or call `wandb login`; "
            "WANDB_MODE=offline tries a point without."
        ) from error
    for name in OF_THE_AGENT:
        os.environ.pop(name, None)
    return wandb_run


def _up_to_date(project: Project, report: PointReport, nodes: Sequence[Node]) -> bool:
    """Materialize what is not complete, the engine's events printed and told to W&B; return whether
    all of it succeeded. Others see meanwhile what is made here.
    """
    import dagster as dg

    from activeuf_dagster import unrecorded
    from activeuf_dagster.code_location import build
    from activeuf_dagster.exact_waves import exact_waves
    from activeuf_dagster.foreground import run_waves
    from activeuf_dagster.planning import statuses
    from activeuf_dagster.terminal import show_progress

    project.launchers()  # a wrong name is said now
    ensure_instance(project.layout)
    with dg.DagsterInstance.get() as instance:
        found = statuses(instance, report.book, nodes)
        known = [node for node, one in found.items() if one.state == "unrecorded"]
        todo = [node for node, one in found.items() if one.state not in ("fresh", "unrecorded")]
        console.print(f"{len(found) - len(todo)} of {len(found)} asset partitions are complete.")
        unrecorded.record(instance, report.book, known)
        if not todo:
            return True
        show_progress(console, len(todo))
        logging.getLogger("activeuf.engine").addHandler(report)
        with announced(project.layout, todo):
            return run_waves(build(project), instance, exact_waves(todo, project), project)


if __name__ == "__main__":
    sys.exit(main())
