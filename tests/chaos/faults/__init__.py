"""The fault matrix, a module per actor."""

from tests.chaos.faults import (
    accounting,
    controller,
    dagster,
    disk,
    node,
    orchestrator,
    preemption,
    submission,
    task,
)

__all__ = [
    "accounting",
    "controller",
    "dagster",
    "disk",
    "node",
    "orchestrator",
    "preemption",
    "submission",
    "task",
]
