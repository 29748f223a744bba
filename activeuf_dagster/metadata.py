"""A manifest as Dagster metadata: counts, previews, plots, and where to look."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from activeuf_core.artifacts import Manifest
from activeuf_core.paths import Layout, RunFolder

PLOT_LIMIT_BYTES = 60_000
"""Plots are stored in the event log; a larger one is linked instead."""

EXECUTION = (
    *("launcher", "host", "slurm_job_id", "slurm_cluster", "nodes", "cpus", "gpus"),
    *("queue_wait_s", "run_time_s", "peak_memory_mb", "peak_gpu_memory_mb"),
    *("attempt", "start", "slurm_restarts"),
)
"""What is shown of how something was made, in this order."""
ORDINARY = {"gpus": 0, "gpu_hours": 0.0, "start": 1, "slurm_restarts": 0}
"""Values that go without saying: every entry takes 300 bytes of the event log per partition."""


def of_manifest(
    manifest: Manifest, layout: Layout, *, is_adopted: bool
) -> dict[str, dg.MetadataValue]:
    """Return what a person wants to see beside a materialization.

    The fingerprint is its data version, and stands in the artifact's path.
    """
    folder = layout.artifact(manifest.asset, manifest.fingerprint)
    shown = {name: _value(value, folder) for name, value in manifest.metadata.items()}
    provenance = manifest.provenance
    log = RunFolder(layout.run(str(provenance["job_id"]))).log
    commit = str(provenance["git_commit"])
    return {
        **shown,
        "artifact": dg.MetadataValue.path(str(folder)),
        "log": dg.MetadataValue.path(str(log)),
        "config": dg.MetadataValue.json(dict(manifest.config)),
        **({"origin": dg.MetadataValue.text("adopted from the store")} if is_adopted else {}),
        "seconds": dg.MetadataValue.float(round(float(provenance["seconds"]), 2)),
        "job_id": dg.MetadataValue.text(str(provenance["job_id"])),
        **({"git_commit": dg.MetadataValue.text(commit)} if commit else {}),
        **_if_any("libraries", provenance["libraries"]),
        "size_mb": dg.MetadataValue.float(
            round(sum(file.size for file in manifest.files) / 1e6, 3)
        ),
        **_execution(provenance),
    }


def _if_any(name: str, value: Mapping[str, Any]) -> dict[str, dg.MetadataValue]:
    return {name: dg.MetadataValue.json(dict(value))} if value else {}


def _execution(provenance: Mapping[str, Any]) -> dict[str, dg.MetadataValue]:
    """Return where and at what price something was made; what nobody knows is left out: memory of
    an older artifact, SLURM's facts outside SLURM.
    """
    kept = {name: provenance[name] for name in EXECUTION if name in provenance}
    if kept.get("nodes") == kept.get("host"):
        kept.pop("nodes", None)
    if "slurm_job_id" in provenance:
        hours = float(provenance.get("run_time_s", provenance["seconds"])) / 3600
        kept["cpu_hours"] = round(hours * provenance["cpus"], 4)
        kept["gpu_hours"] = round(hours * provenance["gpus"], 4)
    told = {name: value for name, value in kept.items() if ORDINARY.get(name) != value}
    found = {name: _value(value, Path()) for name, value in told.items()}
    if history := provenance.get("history"):
        rows = [{name: entry[name] for name in ("job_id", "detail", "action")} for entry in history]
        found["earlier_attempts"] = dg.MetadataValue.md(markdown_table(rows))
    return found


def of_check(values: Mapping[str, Any]) -> dict[str, dg.MetadataValue]:
    """Return the values that a check reports."""
    return {name: _value(value, Path()) for name, value in values.items()}


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a Markdown table; a cell's pipes and line ends are escaped."""
    if not rows:
        return "(no rows)"
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in columns) + " |" for row in rows]
    return "\n".join(lines)


def _value(value: Any, folder: Path) -> dg.MetadataValue:
    if isinstance(value, Mapping):
        return _rich_value(value, folder)
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float):
        return dg.MetadataValue.float(value)
    return dg.MetadataValue.text(str(value))


def _rich_value(value: Mapping[str, Any], folder: Path) -> dg.MetadataValue:
    kind = value.get("kind")
    if kind == "table":
        return dg.MetadataValue.md(markdown_table(value["rows"]))
    if kind == "markdown":
        return dg.MetadataValue.md(value["text"])
    if kind == "plot":
        return _plot(folder / value["path"])
    return dg.MetadataValue.json(dict(value))


def _plot(path: Path) -> dg.MetadataValue:
    data = path.read_bytes()
    if len(data) > PLOT_LIMIT_BYTES:
        return dg.MetadataValue.path(str(path))
    return dg.MetadataValue.md(
        f"![{path.stem}](data:image/png;base64,{base64.b64encode(data).decode()})"
    )


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
