"""What Dagster loads: the definitions of a project."""

from __future__ import annotations

import warnings

import dagster as dg

from activeuf_dagster.automation import build_sensor
from activeuf_dagster.jobs import JOBS
from activeuf_dagster.materialization import build_assets
from activeuf_dagster.project import Project
from activeuf_dagster.sensors import build_config_nodes, build_observer


def build(project: Project) -> dg.Definitions:
    """Return the definitions of a project: assets in flow order, config nodes, jobs, sensors."""
    warnings.filterwarnings(
        "ignore", category=dg.BetaWarning
    )  # backfill policies, observable multi-assets
    return dg.Definitions(
        assets=[*build_assets(project), *build_config_nodes(project)],
        jobs=JOBS,
        sensors=[build_observer(project.catalog), build_sensor(project.catalog)],
        executor=dg.in_process_executor,
    )
