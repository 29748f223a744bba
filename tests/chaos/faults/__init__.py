"""The fault matrix, a module per actor."""

from tests.chaos.faults import (
    accounting,
    controller,
    node,
    orchestrator,
    preemption,
    submission,
    task,
)

__all__ = [
    "accounting",
    "controller",
    "node",
    "orchestrator",
    "preemption",
    "submission",
    "task",
]
