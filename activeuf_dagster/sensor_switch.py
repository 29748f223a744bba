"""A sensor's switch, without loading a workspace: what the toggle in the UI does.

Dagster finds a switch by the names of code location, repository and sensor; how the location is
served plays no part. `InstigatorState` is no public API; `tests/graph/test_automation.py` turns a
real sensor on under a real daemon.
"""

from __future__ import annotations

import time

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

MODULE = "activeuf_dagster.definitions"
LOCATION, REPOSITORY = "activeuf", "__repository__"
"""As in workspace.yaml, and as Dagster calls the one repository of a module."""


def turn(instance: dg.DagsterInstance, sensor: str, *, on: bool) -> None:
    """Turn a sensor on or off; the daemon heeds it at its next look."""
    status = InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED
    before = _state(instance, sensor)
    if before is not None:
        data = before.instigator_data
        if on and isinstance(data, SensorInstigatorData):
            before = before.with_data(data.with_sensor_start_timestamp(time.time()))
        instance.update_instigator_state(before.with_status(status))
        return
    data = SensorInstigatorData(
        last_sensor_start_timestamp=time.time() if on else None, sensor_type=SensorType.STANDARD
    )
    instance.add_instigator_state(
        InstigatorState(origin_of(sensor), InstigatorType.SENSOR, status, data)
    )


def is_on(instance: dg.DagsterInstance, sensor: str) -> bool:
    """Whether a sensor that is off by default was turned on."""
    state = _state(instance, sensor)
    return state is not None and state.status == InstigatorStatus.RUNNING


def last_tick(instance: dg.DagsterInstance, sensor: str) -> tuple[float, str] | None:
    """Return when a sensor looked last and what it said; None when it never did."""
    state = _state(instance, sensor)
    ticks = (
        instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1) if state else ()
    )
    for one in ticks:
        error = one.error.message.strip() if one.error else ""
        return one.timestamp, error or one.skip_reason or one.status.value
    return None


def _state(instance: dg.DagsterInstance, sensor: str) -> InstigatorState | None:
    origin = origin_of(sensor)
    selector = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.STOPPED).selector_id
    return instance.get_instigator_state(origin.get_id(), selector)


def origin_of(sensor: str) -> RemoteInstigatorOrigin:
    """Return by what Dagster knows a sensor."""
    target = LoadableTargetOrigin(module_name=MODULE)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        loadable_target_origin=target, location_name=LOCATION
    )
    return RemoteRepositoryOrigin(location, REPOSITORY).get_instigator_origin(sensor)
