"""The command line's view of jobs on clusters: `activeuf jobs`.

    activeuf jobs                     what waits and runs, why it waits, how far it is
    activeuf jobs cancel JOB… | --all end jobs, whoever submitted them
    activeuf jobs log JOB [--follow]  the end of a job's log

JOB is our id, SLURM's (`23`: a whole array, `23_4`: one task of it), or `asset[partition]`. All of
it works without an orchestrator, and with a controller that is down as far as files go.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from activeuf_core.artifacts import read_json
from activeuf_core.errors import ConfigError, LaunchError, choose_from
from activeuf_core.jobs import load_job
from activeuf_core.launchers.local import tail_of
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.slurm import cancellation, evidence
from activeuf_core.slurm.overview import JobOverview, chosen, facts_of, gather, overview
from activeuf_core.slurm.waves import Ledger
from activeuf_dagster.project import Project

app = typer.Typer(help="Jobs on clusters: what waits and runs; cancel; logs.")
console = Console(highlight=False, soft_wrap=True)
ALIKE_SHOWN = 3
"""Of more than twice as many jobs of one array that wait for the same, so many are shown."""
FOLLOW_EVERY_S = 1.0
LOG_LINES = 40
Words = Annotated[list[str] | None, typer.Argument(metavar="JOB…")]


@app.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, every job.")] = False,
    full: Annotated[bool, typer.Option(help="Show every task of an array that waits.")] = False,
) -> None:
    """List what waits and runs on clusters, whichever orchestrator submitted it."""
    if context.invoked_subcommand is not None:
        return
    found, trouble = look(Project.load())
    if as_json:
        body = {"jobs": [asdict(job) for job in found], "trouble": trouble}
        sys.stdout.write(json.dumps(body, indent=1) + "\n")
        return
    for line in (*_lines(found, full=full), *_orchestrators(found)):
        console.print(line)
    for text in trouble:
        console.print(f"[yellow]{escape(text)}")


@app.command()
def cancel(
    words: Words = None,
    everything: Annotated[bool, typer.Option("--all", help="All jobs of this home.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Cancel jobs, waiting or running; the orchestrator that waits for them does not try again."""
    layout = Project.load().layout
    found = overview(gather(layout), None)
    targets = list(found) if everything else _meant(found, words or ())
    if not targets:
        console.print("There is no job to cancel.")
        return
    if everything and not yes:
        typer.confirm(f"Cancel all {len(targets)} jobs of {layout.home}?", abort=True)
    if not _cancel(targets):
        raise typer.Exit(1)


@app.command()
def log(
    word: Annotated[str, typer.Argument(metavar="JOB")],
    follow: Annotated[bool, typer.Option(help="Go on until the job ends.")] = False,
    lines: Annotated[int, typer.Option(help="Lines to begin with.")] = LOG_LINES,
) -> None:
    """Print the end of the log of a job's newest start."""
    layout = Project.load().layout
    job_id = _one_job(layout, word)
    text = _tail(layout, job_id, lines)
    console.print(f"[dim]{escape(str(RunFolder(layout.run(job_id)).latest_start().log))}")
    sys.stdout.write(f"{text}\n" if text else "")
    if follow:
        _follow(layout, job_id)
    elif not text:
        console.print("It is empty: the job has not begun, or has printed nothing yet.")


def look(project: Project) -> tuple[list[JobOverview], list[str]]:
    """Return all open jobs, and what stood in the way of knowing more: one look per cluster."""
    found: list[JobOverview] = []
    trouble: list[str] = []
    facts = sorted(gather(project.layout), key=lambda one: one.wave.cluster)
    for cluster, group in groupby(facts, key=lambda one: one.wave.cluster):
        members = list(group)
        rows = None
        try:
            scheduler = project.scheduler(cluster)
            rows = scheduler.queue(list(dict.fromkeys(one.wave.token for one in members)))
        except (LaunchError, ConfigError) as error:
            trouble.append(f"{cluster}: {error} What is shown of it is what the files say.")
        found += overview(members, rows)
    return found, trouble


def _cancel(targets: Sequence[JobOverview]) -> bool:
    """Cancel jobs wave by wave, telling what happens; return whether all of it worked."""
    project = Project.load()
    ledger, done = Ledger(project.layout), True
    message = cancellation.by_whom("activeuf jobs cancel")
    by_wave = groupby(sorted(targets, key=lambda job: job.wave), key=lambda job: job.wave)
    for token, group in by_wave:
        members, wave = list(group), ledger.read(token)
        assert wave is not None  # it was read a moment ago
        ids = [job.job_id for job in members]
        try:
            scheduler = project.scheduler(wave.cluster)
            cancellation.cancel(project.layout, scheduler, wave, ids, message)
        except LaunchError as error:
            console.print(
                f"[red]not cancelled yet: {escape(', '.join(ids))}: {escape(str(error))}[/] The "
                "wish is written down, and an orchestrator that waits for them carries it out. "
                "Without one, try again when the controller answers."
            )
            done = False
            continue
        for job in members:
            name = f"SLURM job {job.slurm_id}" if job.slurm_id else "not submitted yet"
            console.print(f"cancelled {escape(', '.join(job.artifacts))} ({name}, {job.job_id})")
        if members[0].slurm_id and not facts_of(project.layout, wave):
            ledger.close(token, "its last jobs were cancelled")
    return done


def _meant(found: Sequence[JobOverview], words: Iterable[str]) -> list[JobOverview]:
    """Return the jobs that words mean. Raises: ConfigError for a word that means none."""
    targets: dict[str, JobOverview] = {}
    for word in words:
        jobs = chosen(found, word)
        if not jobs:
            known = [name for job in found for name in (job.slurm_id, *job.artifacts) if name]
            raise ConfigError(
                f"no job {word!r} waits or runs; {choose_from(word, known)}. `activeuf jobs` "
                "lists them with their ids."
            )
        targets |= {job.job_id: job for job in jobs}
    if not targets:
        raise ConfigError("name a job, or give --all; `activeuf jobs` lists them.")
    return list(targets.values())


def _one_job(layout: Layout, word: str) -> str:
    """Return the id of the one job that a word means, also of one that has ended."""
    if RunFolder(layout.run(word)).job.exists():
        return word
    found = _meant(overview(gather(layout), None), [word])
    if len(found) > 1:
        raise ConfigError(
            f"{word!r} means {len(found)} jobs; choose one: "
            f"{', '.join(job.slurm_id or job.job_id for job in found)}."
        )
    return found[0].job_id


def _tail(layout: Layout, job_id: str, lines: int) -> str:
    """Return the end of the stage's log, or else of what SLURM and the task wrapper printed."""
    run = RunFolder(layout.run(job_id))
    text = tail_of(run.latest_start().log, lines) or tail_of(run.task_log, lines)
    for one in [] if text else gather(layout):
        if one.job.job_id == job_id:
            path = evidence.slurm_log(layout.wave(one.wave.token), one.index, one.wave.size)
            text = tail_of(path, lines)
    return text


def _follow(layout: Layout, job_id: str) -> None:
    """Print what comes into a job's log until the job ends, also that of the job in its place."""
    run = RunFolder(layout.run(job_id))
    path = run.latest_start().log
    position = path.stat().st_size if path.exists() else 0
    while True:
        has_ended = _has_ended(layout, run)
        newest = run.latest_start().log
        if newest != path:
            path, position = newest, 0
        if path.exists():
            with path.open("rb") as handle:
                handle.seek(position)
                text = handle.read()
            position += len(text)
            sys.stdout.write(text.decode("utf-8", errors="replace"))
            sys.stdout.flush()
        if has_ended:
            break
        time.sleep(FOLLOW_EVERY_S)
    if run.ended.exists():
        ended = read_json(run.ended)
        console.print(f"[yellow]{ended['kind']}: {escape(ended['message'])}")
        if successor := ended.get("successor"):
            console.print(f"[yellow]Tried again as {successor}:")
            _follow(layout, str(successor))


def _has_ended(layout: Layout, run: RunFolder) -> bool:
    if run.ended.exists() or not evidence.open_units(layout, load_job(run.job)):
        return True
    return evidence.has_said_its_end(run)


def _lines(found: Sequence[JobOverview], *, full: bool) -> list[str]:
    """Return jobs as lines of text, those of an array that wait alike cut short."""
    if not found:
        return ["No job of this home waits or runs on a cluster."]
    counts = Counter(job.state for job in found)
    lines = [", ".join(f"{number} {state}" for state, number in counts.items())]
    for _, group in groupby(found, key=lambda job: (job.wave, job.state, job.why, job.done)):
        members = list(group)
        cut = len(members) > 2 * ALIKE_SHOWN and members[0].elapsed_s is None and not full
        shown = members[:ALIKE_SHOWN] if cut else members
        lines += [line for job in shown for line in _job_lines(job)]
        if cut:
            rest = f"… and {len(members) - len(shown)} more {members[0].state} of the same array"
            lines.append(f"{rest} (--full shows them)")
    return lines


def _job_lines(job: JobOverview) -> list[str]:
    place = f" on {job.nodes}" if job.nodes else ""
    spent = "" if job.elapsed_s is None else f"{_clock(job.elapsed_s)} of "
    why = f": {job.why}" if job.why else ""
    head = f"{job.slurm_id or '-':<10} [bold]{escape(', '.join(job.artifacts))}[/]"
    lines = [f"{head}  {job.state}{place}{escape(why)}, {spent}{_clock(job.limit_s)}"]
    if job.done is not None:
        eta = "" if job.eta_s is None else f", about {_clock(int(job.eta_s))} left"
        lines.append(f"{'':<10} {job.done} of {job.total} {escape(job.unit)}{eta}")
    if job.attempt > 1 or job.history:
        lines.append(f"{'':<10} attempt {job.attempt}")
    before = [f"{'':<10}   before: {one['detail']} → {one['action']}" for one in job.history]
    return [*lines, *map(escape, before), f"{'':<10} [dim]job {job.job_id}[/]"]


def _orchestrators(found: Sequence[JobOverview]) -> list[str]:
    words = {True: "lives", False: "has ended", None: "is on another machine"}
    counts = Counter((job.orchestrator, job.orchestrator_lives, job.cluster) for job in found)
    return [
        f"orchestrator {who} {words[lives]}: {number} of these jobs, on {cluster}"
        for (who, lives, cluster), number in counts.items()
    ]


def _clock(seconds: int) -> str:
    """Return seconds as SLURM writes a time: 1-02:03:04, 2:03:04."""
    days, rest = divmod(seconds, 86400)
    text = f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{text.zfill(8)}" if days else text
