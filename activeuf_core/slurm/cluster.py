"""Cluster files: where jobs run, and what a job of each stage asks for.

In: `configs/clusters/<name>.yaml`. Out: `LocalCluster` or `SlurmCluster`. Nothing here is part of a
recipe: another cluster file makes nothing stale. What each value may hold: `values.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from activeuf_core.config import Section, StrictModel, parse, read_yaml
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.paths import PROJECT
from activeuf_core.slurm.values import (
    AbsolutePath,
    Line,
    Memory,
    Program,
    SbatchOption,
    Text,
    TimeLimit,
    Variable,
    VariableValue,
    check_path,
    check_text,
    kibibytes,
    minutes_of,
    size_of,
    time_of,
)
from activeuf_core.stages import STAGES

ON_CLUSTER = tuple(stage.asset for stage in STAGES if stage.placement == "cluster")
"""Assets whose jobs a cluster runs: the keys of `stages`."""
ACCELERATE_CONFIGS = PROJECT / "configs" / "accelerate"
OWN_SSH_OPTIONS = ("batchmode", "controlmaster", "controlpath", "controlpersist", "connecttimeout")


def _check_gpu_type(text: str) -> str:
    if any(sign in check_text(text) for sign in ":,= "):
        raise ValueError("must be a type as `sinfo -o %G` shows it, without ':' or ','")
    return text


def _check_accelerate(text: str) -> str:
    if not text.endswith((".yaml", ".yml", ".json")):
        raise ValueError("must be a .yaml or .json file as `accelerate config` writes it")
    if not text.startswith("/") and not (PROJECT / text).is_file():
        shipped = (str(path.relative_to(PROJECT)) for path in ACCELERATE_CONFIGS.glob("*.yaml"))
        raise ValueError(f"is no file below the project; {choose_from(text, shipped)}")
    return text


def _require_stages(stages: Mapping[str, Section]) -> Mapping[str, Section]:
    for asset in stages:
        if asset not in ON_CLUSTER:
            raise ValueError(f"no stage {asset!r}; {choose_from(asset, ON_CLUSTER)}")
    return stages


def _check_mount(text: str) -> str:
    parts = check_text(text).split(":")
    if len(parts) not in (2, 3) or "," in text or parts[2:] not in ([], ["ro"], ["rw"]):
        raise ValueError("must be 'source:destination' or 'source:destination:ro', without ','")
    check_path(parts[0])
    check_path(parts[1])
    return text


def _check_container_option(text: str) -> str:
    if not text.startswith("--"):
        raise ValueError("must be one argument that begins with '--'")
    check_text(text.lstrip("-"))
    return text


def _check_host(text: str) -> str:
    if any(sign.isspace() for sign in check_text(text)):
        raise ValueError("must be a destination of ssh, such as user@login.cluster, without blanks")
    return text


def _check_ssh_option(text: str) -> str:
    name, sign, value = check_text(text).partition("=")
    if not (name.isascii() and name.isalpha() and sign and value):
        raise ValueError("must have the form 'Option=value', as for `ssh -o`")
    if name.lower() in OWN_SSH_OPTIONS:
        raise ValueError(f"{name} is the launcher's own; remove it")
    return text


class Processes(StrictModel):
    """How a stage becomes several processes that know each other."""

    processes_per_node: int = Field(default=1, ge=1)
    """Started by one `accelerate launch` per node. With GPUs: as many as a node's GPUs."""
    accelerate: Annotated[Text, AfterValidator(_check_accelerate)] | None = None
    """Config file of accelerate, handed on as it is: below the project, or an absolute path. null:
    configs/accelerate/ddp.yaml, where there are several processes."""

    @property
    def is_launched(self) -> bool:
        """Whether `accelerate launch` starts the stage."""
        return self.processes_per_node > 1 or self.accelerate is not None


class Resources(Processes):
    """What one job, or one task of an array, asks for."""

    nodes: int = Field(default=1, ge=1)
    tasks_per_node: int = Field(default=1, ge=1)
    """More than one task in all: `srun` starts one process of the stage per task, or, where
    `accelerate launch` does that, one launch per node."""
    cpus: int = Field(default=1, ge=1)
    """Per task; the processes of one `accelerate launch` share them."""
    gpus: int = Field(default=0, ge=0)
    """Per node."""
    gpu_type: Annotated[Text, AfterValidator(_check_gpu_type)] | None = None
    memory: Memory | None = "4G"
    """Per node; null: the cluster's own default."""
    time: TimeLimit = "01:00:00"
    """Limit of one attempt. What has checkpoints is continued, see `Limits.requeues`."""
    slurm_partition: Text | None = None
    account: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    reservation: Text | None = None
    units_per_job: int = Field(default=1, ge=1)
    """Short stages: so many partitions one after the other in one task, which spares their starts.
    Each is still recorded, and fails, on its own; the time limit is that of all of them."""
    extra_sbatch: tuple[SbatchOption, ...] = ()
    """More arguments of sbatch, each as it is handed over: `--exclude=node[7-9]`."""

    @property
    def minutes(self) -> int:
        """Time limit in minutes."""
        return minutes_of(self.time)

    @property
    def tasks(self) -> int:
        """What `srun` starts, over all nodes."""
        return self.nodes * self.tasks_per_node

    @property
    def processes(self) -> int:
        """Processes of the stage, over all nodes."""
        return self.tasks * self.processes_per_node

    @property
    def contradiction(self) -> str:
        """What does not fit together, '' when all does."""
        if self.is_launched and self.tasks_per_node > 1:
            return (
                f"tasks_per_node {self.tasks_per_node} with processes_per_node "
                f"{self.processes_per_node} or `accelerate`: one `accelerate launch` per node "
                "starts all processes of the node; leave tasks_per_node out"
            )
        if self.is_launched and self.gpus and self.processes_per_node != self.gpus:
            return (
                f"processes_per_node {self.processes_per_node} with gpus {self.gpus}: each process "
                "works on one GPU of its own; make the two equal"
            )
        return ""

    def with_more_memory(self, factor: float, limit: str | None) -> Resources | None:
        """Return the same with `factor` times the memory, at most `limit`; None: it has that."""
        if self.memory is None or limit is None or kibibytes(self.memory) >= kibibytes(limit):
            return None
        more = min(kibibytes(self.memory) * factor, kibibytes(limit))
        return self.model_copy(update={"memory": size_of(more)})

    def with_more_time(self, factor: float, limit: str | None) -> Resources | None:
        """Return the same with `factor` times the time, at most `limit`; None: it has that."""
        if limit is None or self.minutes >= minutes_of(limit):
            return None
        more = min(-int(-self.minutes * factor // 1), minutes_of(limit))
        return self.model_copy(update={"time": time_of(more)})


class Container(StrictModel):
    """An image that the stages run in."""

    kind: Literal["pyxis", "apptainer"]
    image: Text
    """pyxis: what `srun --container-image` takes; apptainer: a .sif file or a URI."""
    mounts: tuple[Annotated[Text, AfterValidator(_check_mount)], ...] = ()
    """`source:destination[:ro]`. The project, its home and `scratch` must be seen inside."""
    python: Program = "python3"
    """Interpreter inside the image."""
    options: tuple[Annotated[str, AfterValidator(_check_container_option)], ...] = ()
    """More arguments: of `srun` for pyxis, of `apptainer exec` for apptainer."""


class Ssh(StrictModel):
    """The login node, when sbatch is not on this machine. One connection carries every call."""

    host: Annotated[Text, AfterValidator(_check_host)]
    project: AbsolutePath | None = None
    """The checkout there; null: the same path as here."""
    home: AbsolutePath | None = None
    """ACTIVEUF_HOME there; null: the same path as here."""
    files: Literal["shared", "rsync"] = "shared"
    """shared: both machines see the same files. rsync: inputs go there, artifacts come back."""
    options: tuple[Annotated[Text, AfterValidator(_check_ssh_option)], ...] = ()
    """For `ssh -o`: `Port=2222`, `IdentityFile=…`."""
    persist_s: int = Field(default=600, ge=1)
    """How long the idle connection stays open."""
    connect_timeout_s: int = Field(default=15, ge=1)

    @field_validator("files")
    @classmethod
    def _rsync_needs_places(cls, files: str, info: ValidationInfo) -> str:
        if files == "rsync" and not (info.data.get("project") and info.data.get("home")):
            raise ValueError("with rsync, `project` and `home` must say where the files go")
        return files


class Limits(StrictModel):
    """How far retries go. Everything else that fails is given up at once."""

    memory: Memory | None = None
    """Most that a job may get after it ran out of memory; null: never more than it asked for."""
    time: TimeLimit | None = None
    """Most that a job may get after its time limit ended it without a new checkpoint."""
    memory_growth: float = Field(default=2.0, gt=1.0)
    time_growth: float = Field(default=2.0, gt=1.0)
    node_failures: int = Field(default=3, ge=0)
    """Attempts that a failed node, a failed boot or a lost job may cost."""
    preemptions: int = Field(default=100, ge=0)
    requeues: int = Field(default=20, ge=0)
    """How often a job that wrote a checkpoint before its time limit goes on in a new one."""


class LocalCluster(StrictModel):
    """This machine: jobs are processes."""

    launcher: Literal["local"] = "local"
    slots: int | None = Field(default=None, ge=1)
    """Heavy stages that run at a time; null: one per core."""
    stages: Mapping[str, Processes] = Field(default_factory=dict)
    """Per asset, how many processes; each takes the slots of a stage."""

    @field_validator("stages")
    @classmethod
    def _known_assets(cls, stages: Mapping[str, Processes]) -> Mapping[str, Processes]:
        return _require_stages(stages)


class SlurmCluster(StrictModel):
    """A SLURM cluster, from its login node or over SSH."""

    launcher: Literal["slurm"]
    account: Text | None = None
    slurm_partition: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None

    ssh: Ssh | None = None
    project: AbsolutePath | None = None
    """The checkout as the nodes see it; null: `ssh.project`, or this one."""
    python: Program | None = None
    """Interpreter on the nodes; null: the project's .venv/bin/python."""
    container: Container | None = None
    scratch: AbsolutePath | None = None
    """Folder on the node for temporary files and caches; %u is the user, %j the job id, %% a %.
    Nothing removes it: name a place that the cluster empties."""
    setup: tuple[Line, ...] = ()
    """Lines of shell, run as they stand before the task: `module load cuda`."""
    environment: Mapping[Variable, VariableValue] = Field(default_factory=dict)
    """Plain variables. They are written to the script, where everybody may read them."""
    secrets: tuple[Variable, ...] = ("HF_TOKEN", "WANDB_API_KEY", "ACTIVEUF_JUDGE_KEY")
    """Variables of the orchestrator, where set, that jobs get through a file only you can read."""

    defaults: Resources = Resources()
    light: Resources = Resources(time="00:30:00")
    """For jobs that only move rows, whatever their stage."""
    stages: Mapping[str, Resources] = Field(default_factory=dict)
    """Per asset, what differs from `defaults`."""
    max_parallel: int | None = Field(default=None, ge=1)
    """Tasks of one array that run at a time; null: no limit of ours."""
    max_array_size: int | None = Field(default=None, ge=1)
    """null: the controller is asked."""
    retries: Limits = Limits()

    poll_s: float = Field(default=2.0, gt=0.0)
    """Between two looks at the queue while something happens; it grows to `poll_max_s` when the
    controller is slow or nothing moves."""
    poll_max_s: float = Field(default=30.0, gt=0.0)
    call_timeout_s: float = Field(default=30.0, gt=0.0)
    """Of one scheduler command."""
    settle_s: float = Field(default=15.0, gt=0.0)
    """How long a submission without an answer must be missing from the queue of a controller that
    answers, before it counts as never received."""
    lease_s: float = Field(default=30.0, gt=0.0)
    """After this long without a sign of life, another orchestrator may submit in one's place."""
    warn_s: int = Field(default=90, ge=1, le=65535)
    """SLURM's warning before the time limit: the time there is for a checkpoint."""

    @field_validator("scratch")
    @classmethod
    def _placeholders(cls, scratch: str | None) -> str | None:
        rest = (scratch or "").replace("%%", "").replace("%u", "").replace("%j", "")
        if "%" in rest:
            raise ValueError("allowed after a %: u (user), j (job id), % (a % itself)")
        return scratch

    @field_validator("secrets")
    @classmethod
    def _not_written_out(cls, secrets: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        both = sorted(set(secrets) & set(info.data.get("environment", {})))
        if both:
            raise ValueError(f"{both[0]} stands in `environment` too, in plain text; remove it")
        return secrets

    @field_validator("stages")
    @classmethod
    def _known_assets(cls, stages: Mapping[str, Resources]) -> Mapping[str, Resources]:
        return _require_stages(stages)

    @model_validator(mode="after")
    def _consistent_with_the_defaults(self) -> SlurmCluster:
        found = {asset: self.resources_for(asset) for asset in self.stages}
        for name, asked in {"defaults": self.defaults, "light": self.light, **found}.items():
            if asked.contradiction:
                raise ValueError(f"{name}: {asked.contradiction}")
        return self

    @field_validator("poll_max_s")
    @classmethod
    def _not_below_the_first(cls, longest: float, info: ValidationInfo) -> float:
        if longest < info.data.get("poll_s", 0.0):
            raise ValueError(f"must not be below poll_s ({info.data['poll_s']})")
        return longest

    @property
    def node_project(self) -> str:
        """The checkout as the nodes see it."""
        return self.project or (self.ssh and self.ssh.project) or str(PROJECT)

    @property
    def node_python(self) -> str:
        """The interpreter on the nodes."""
        return self.python or f"{self.node_project}/.venv/bin/python"

    def node_home(self, home: Path) -> str:
        """Return the ACTIVEUF_HOME as the nodes see it; `home` is where it lies here."""
        return (self.ssh and self.ssh.home) or str(home)

    def resources_for(self, asset: str, light: bool = False) -> Resources:
        """Return what a job of a stage asks for, complete with the cluster's account and places."""
        base = self.light if light else self.defaults
        given = None if light else self.stages.get(asset)
        own = {name: getattr(given, name) for name in given.model_fields_set} if given else {}
        found = base.model_copy(update=own)
        shared = ("account", "slurm_partition", "qos", "constraint")
        missing = {name: getattr(self, name) for name in shared if getattr(found, name) is None}
        return found.model_copy(update=missing)


LAUNCHERS: Mapping[str, type[LocalCluster] | type[SlurmCluster]] = {
    "local": LocalCluster,
    "slurm": SlurmCluster,
}


def read_cluster(path: Path) -> LocalCluster | SlurmCluster:
    """Read a cluster file.

    Raises: ConfigError, naming every wrong key, its value and what is allowed.
    """
    data = read_yaml(path)
    name = data.get("launcher", "local")
    if not isinstance(name, str) or name not in LAUNCHERS:
        raise ConfigError(f"{path}: launcher is {name!r}; {choose_from(name, LAUNCHERS)}.")
    return parse(LAUNCHERS[name], data, path)
