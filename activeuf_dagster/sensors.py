"""Config files as observable assets, and the one sensor: tell Dagster when a file has changed.

Observing starts no run of a stage; it only lets Dagster show which partitions are stale. Each tick
of the sensor reads the config folder again and compares the digest of every resolved config that a
materialized partition depends on with the one that was observed last: two queries and 0.02 ms per
partition.

No `from __future__ import annotations` here: Dagster reads the types of the operation's arguments
at run time.
"""

from collections.abc import Iterator

import dagster as dg

from activeuf_core.catalog import Catalog
from activeuf_core.errors import ConfigError
from activeuf_core.paths import Layout
from activeuf_core.stages import STAGES
from activeuf_dagster.graph import config_specs, dagster_partition
from activeuf_dagster.materialization import OPERATIONS, operation_of
from activeuf_dagster.project import Project
from activeuf_dagster.recorded import observed_versions, recorded_versions
from activeuf_dagster.recording import observation
from activeuf_dagster.served import note_partitions

INTERVAL_S = 30
PER_TICK = 2000
"""Storing one takes 10 ms or more, and a tick may take a minute: the next one goes on."""


def changed_observations(
    instance: dg.DagsterInstance, project: Project
) -> list[dg.AssetObservation]:
    """Return observations of those configs that are not what was observed of them last.

    What was observed last is asked of the instance and not remembered: a run that began under an
    older config observes that one again when it records its artifact.
    """
    made = recorded_versions(instance)
    seen = observed_versions(instance)
    events: list[dg.AssetObservation] = []
    for stage in STAGES:
        for partition in project.catalog.partitions(stage.asset):
            node = (stage.asset, partition)
            if dagster_partition(partition) is not None and node not in made:
                continue
            version = project.catalog.resolved(*node).identity_digest
            if seen.get(node) != version:
                events.append(observation(node, version))
    return events


def build_config_nodes(project: Project) -> list[dg.AssetsDefinition]:
    """Return the config nodes as observable assets: observing one notes the current digest of its
    configs.
    """
    return [_config_nodes(project, name) for name in OPERATIONS]


def _config_nodes(project: Project, name: str) -> dg.AssetsDefinition:
    stages = [stage for stage in STAGES if operation_of(stage.asset) == name]

    @dg.multi_observable_source_asset(
        name=f"configs_of_{name}", specs=config_specs(project.catalog, stages), can_subset=True
    )
    def configs(context: dg.AssetExecutionContext) -> Iterator[dg.AssetObservation]:
        wanted = {key.path[-1] for key in context.selected_asset_keys}
        for stage in stages:
            for partition in (
                project.catalog.partitions(stage.asset) if stage.asset in wanted else ()
            ):
                version = project.catalog.resolved(stage.asset, partition).identity_digest
                yield observation((stage.asset, partition), version)

    return configs


def build_observer(loaded: Catalog) -> dg.SensorDefinition:
    """Return the sensor.

    Args: loaded: the partitions that this code server knows.
    """

    @dg.sensor(
        name="observe_configs",
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Observes the config nodes of materialized partitions; starts no run.",
    )
    def observe_configs(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """Observe what changed in the config files, and tell which partitions are served."""
        note_partitions(Layout.default(), loaded)
        try:
            project = Project.load()
        except ConfigError as error:
            return dg.SkipReason(
                f"A config file is wrong; what is shown as stale may be out of date. {error}"
            )
        changed = changed_observations(context.instance, project)
        return dg.SensorResult(asset_events=changed[:PER_TICK])

    return observe_configs
