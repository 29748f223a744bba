"""The stage `wandb_summary`: one W&B run per experiment, through dagster-wandb's resource.

In: `scores`; the metrics of the loop and of both trainings, where they are there. Out:
`wandb_run.json` with the run's id, mode and the keys that were written. The run's id is derived
from the experiment and from what its curves are of, and each row has its place in the run: so
writing twice is writing the same, and a score that comes later goes to the run that is there.
Offline unless a key is present; never a prompt for a login. A failure to reach W&B fails this asset
alone.

It runs beside the orchestrator, because compute nodes often have no way out. dagster-wandb imports
`wandb.sdk.internal.internal_api`, which wandb 0.30 removed: the lock pins wandb below it.
Command: `python -m activeuf_dagster.tracking --config … --run-dir …`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.errors import DataError
from activeuf_core.fingerprint import digest_of
from activeuf_core.paths import METRICS, SCORES
from activeuf_core.reporting import wandb_names
from activeuf_core.reporting.config import WandbSummaryConfig
from activeuf_core.reporting.wandb_names import CURVES
from activeuf_core.stage import StageContext, main

RESULT = "wandb_run.json"
ID_LENGTH = 16


def run(context: StageContext) -> None:
    """Write the experiment's W&B run."""
    config = context.config(WandbSummaryConfig)
    tracking = context.runtime.get("tracking", {})
    mode = tracking.get("mode", "none")
    scores = read_json(context.input("scores") / SCORES)
    summary = wandb_names.summary(scores, config.loss_type)
    history = [row for asset in CURVES for row in _curve(context, asset)]
    record: dict[str, Any] = {"mode": mode, "summary": summary, "history_rows": len(history)}
    if mode != "none":
        facts = {"experiment": config.experiment, "loss_type": config.loss_type}
        facts |= wandb_names.titles(scores, config.loss_type)
        facts |= wandb_names.benchmarks_of_means(scores, config.loss_type)
        record |= _write(_run_id(context, config), tracking, facts, summary, history)
    write_json(context.output / RESULT, record)
    context.add_metadata(mode=mode, keys_written=len(summary), history_rows=len(history))
    context.add_metadata(
        **{
            name: str(record[name])
            for name in ("wandb_run_id", "url", "folder")
            if record.get(name)
        }
    )
    context.add_table("summary", [{"key": name, "value": value} for name, value in summary.items()])
    written = mode == "none" or bool(record.get("wandb_run_id"))
    context.check(
        "wandb_run_written", written, "The run was written, or tracking is off.", mode=mode
    )


def _write(
    run_id: str,
    tracking: dict[str, Any],
    facts: dict[str, str],
    summary: dict[str, float],
    history: list[dict[str, Any]],
) -> dict[str, Any]:
    """Write one run under a given id; return where it is."""
    wandb = _wandb(tracking["mode"])
    folder = Path(tracking["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    with wandb.init(
        id=run_id,
        name=facts["experiment"],
        project=tracking.get("project") or "activeuf",
        entity=tracking.get("entity") or None,
        dir=str(folder),
        mode=tracking["mode"],
        resume="allow",
        config=facts,
    ) as wandb_run:
        for prefix in filter(None, CURVES.values()):
            wandb_run.define_metric(f"{prefix}*", step_metric=f"{prefix}step")
        for step, row in enumerate(history):  # what is there already is not written again
            wandb_run.log(row, step=step)
        wandb_run.summary.update(summary)
        return {"wandb_run_id": wandb_run.id, "url": wandb_run.url or "", "folder": wandb_run.dir}


def _wandb(mode: str) -> Any:
    """Return wandb, logged in through dagster-wandb's resource where a key is needed."""
    if mode == "offline":
        import wandb

        return wandb
    import dagster as dg
    from dagster_wandb import wandb_resource

    key = os.environ.get("WANDB_API_KEY")
    if not key:
        raise DataError(
            f"tracking is {mode}, but WANDB_API_KEY is not set. Set it, or "
            "ACTIVEUF_TRACKING=offline."
        )
    config: dict[str, Any] = {"wandb": {"config": {"api_key": key}}}
    if host := os.environ.get("WANDB_BASE_URL"):  # the resource would go to wandb.ai all the same
        config["wandb"]["config"]["host"] = host
    with dg.build_resources({"wandb": wandb_resource}, resource_config=config) as found:
        return found.wandb["sdk"]


def _run_id(context: StageContext, config: WandbSummaryConfig) -> str:
    """Return the id of an experiment's run: another one where its curves are of something else."""
    curves = {asset: prints for asset, prints in _prints(context).items() if asset in CURVES}
    return digest_of({"experiment": config.experiment, "curves": curves})[:ID_LENGTH]


def _prints(context: StageContext) -> dict[str, list[str]]:
    return {
        asset: sorted(found.values()) for asset, found in context.unit.input_fingerprints.items()
    }


def _curve(context: StageContext, asset: str) -> Iterator[dict[str, Any]]:
    """Yield the metrics of an asset, one row per batch or step; none of what is not there, or was
    never made.
    """
    prefix = CURVES[asset]
    for folder in context.inputs(asset).values():
        if not (folder / METRICS).is_file():
            continue
        with (folder / METRICS).open(encoding="utf-8") as handle:
            for line in handle:
                row = json.loads(line)
                yield {f"{prefix}{name}": v for name, v in row.items() if prefix or name != "step"}


if __name__ == "__main__":
    sys.exit(main({"wandb_summary": "activeuf_dagster.tracking:run"}))
