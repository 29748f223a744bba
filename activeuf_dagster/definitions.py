"""Table of contents of the graph: assets in flow order, config nodes, jobs, the sensor."""

from __future__ import annotations

from activeuf_dagster.code_location import build
from activeuf_dagster.project import Project

defs = build(Project.load())
