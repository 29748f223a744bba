"""The text of a wave's script and the arguments of its sbatch: pure functions of a `WaveSpec`.

In: a spec, and the template `slurm/wave.sbatch`. Out: text. A wave is one submission: a plain job,
or an array whose tasks run one run folder each. What comes from a config reaches sbatch as
arguments, which pass through no shell, and the script in quotes; only `setup` stands as written.
Secrets are in neither: the task reads them from a file.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from activeuf_core.errors import ConfigError
from activeuf_core.launch import launch_arguments
from activeuf_core.paths import PROJECT, WAVE_SCRIPT
from activeuf_core.slurm.cluster import Container, Resources, SlurmCluster
from activeuf_core.slurm.values import (
    CONTROL,
    check_line,
    check_path,
    check_program,
    check_variable,
    check_variable_value,
)

TEMPLATE = PROJECT / "slurm" / WAVE_SCRIPT
TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
MODULE = re.compile(r"\w+(\.\w+)*", re.ASCII)
BARE = ("-S",)
"""The wrapper needs no site-packages, which cost it a tenth of its start: PYTHONPATH is enough. In
an image the project may be installed there, and the image may not pass PYTHONPATH on."""
MAX_FOLDER_BYTES = 900
"""Leaves room for the names of the files in it."""
STAGE_PYTHON = "ACTIVEUF_STAGE_PYTHON"
"""Tells the wrapper of a job with several tasks which interpreter the image has."""
PASSED_ON = re.compile(
    r"(HOME|USER|LOGNAME|SHELL|PATH|LD_LIBRARY_PATH|LANG|LC_\w+|TZ|TERM|SLURM_CONF|"
    r"MODULE\w*|LMOD_\w+|LOADEDMODULES|BASH_ENV|BASH_FUNC_(module|ml|_module_raw)(%%|\(\)))"
)
"""Variables that sbatch and a login shell's modules need."""


@dataclass(frozen=True)
class WaveSpec:
    """One submission, checked.

    `folder` is the wave's folder as the nodes see it; `token` finds the submission again in the
    queue; `size` is the number of array elements, 1 for a plain job.
    """

    token: str
    folder: str
    project: str
    python: str
    size: int
    resources: Resources
    max_parallel: int | None = None
    setup: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    container: Container | None = None
    scratch: str | None = None
    warn_s: int = 90
    requeues: int = 0
    """How often the task may put itself back into the queue before its time limit."""
    module: str = "activeuf_core.task"

    def __post_init__(self) -> None:
        """Refuse what SLURM or a shell would read otherwise. Raises: ConfigError."""
        if not TOKEN.fullmatch(self.token) or self.token.startswith("-"):
            raise ConfigError(f"token {self.token!r}: allowed are 1 to 64 of A-Z a-z 0-9 . _ -")
        if not MODULE.fullmatch(self.module):
            raise ConfigError(f"module {self.module!r}: expected a dotted name of Python")
        for name, number in {"size": self.size, "max_parallel": self.max_parallel}.items():
            if number is not None and number < 1:
                raise ConfigError(f"{name} is {number}; allowed: 1 and more.")
        _checked("folder", self.folder, check_path)
        if "%" in self.folder or "\\" in self.folder:
            raise ConfigError(
                f"folder {self.folder!r}: SLURM replaces % and \\ in the path of a log. Move "
                "ACTIVEUF_HOME to a path without them."
            )
        if len(self.folder.encode()) > MAX_FOLDER_BYTES:
            raise ConfigError(
                f"folder {self.folder!r} has more than {MAX_FOLDER_BYTES} bytes; SLURM takes no "
                "longer paths. Move ACTIVEUF_HOME."
            )
        _checked("project", self.project, check_path)
        _checked("python", self.python, check_program)
        for line in self.setup:
            _checked("setup", line, check_line)
        for name, value in self.environment.items():
            _checked("environment", name, check_variable)
            _checked(f"environment.{name}", value, check_variable_value)

    @classmethod
    def of(
        cls, cluster: SlurmCluster, token: str, folder: str, size: int, resources: Resources
    ) -> WaveSpec:
        """Return the spec of a wave on a cluster."""
        return cls(
            token=token,
            folder=folder,
            project=cluster.node_project,
            python=cluster.node_python,
            size=size,
            resources=resources,
            max_parallel=cluster.max_parallel,
            setup=cluster.setup,
            environment=cluster.environment,
            container=cluster.container,
            scratch=cluster.scratch,
            warn_s=cluster.warn_s,
            requeues=cluster.retries.requeues,
        )

    @property
    def warning(self) -> int:
        """Seconds between SLURM's warning and the limit: of a short job at most half its time."""
        return min(self.warn_s, self.resources.minutes * 30)

    @property
    def script(self) -> str:
        """Where the rendered script lies."""
        return f"{self.folder}/{WAVE_SCRIPT}"

    @property
    def log(self) -> str:
        """Where SLURM writes what the script prints, with `%a` for an array's index."""
        return f"{self.folder}/slurm-%a.log" if self.size > 1 else f"{self.folder}/slurm.log"


def sbatch_arguments(spec: WaveSpec) -> list[str]:
    """Return the arguments of sbatch, which pass through no shell.

    Held, so that nothing runs before its id is on disk. Named and commented by the token, so that
    it is found when the answer is lost. What a requeue of SLURM appends to its log, it keeps.
    """
    asked = spec.resources
    options = {
        "job-name": spec.token,
        "comment": spec.token,
        "output": spec.log,
        "open-mode": "append",
        "chdir": spec.project,
        "export": "ALL",
        "signal": f"B:USR1@{spec.warning}",
        "array": _array(spec),
        "nodes": asked.nodes,
        "ntasks-per-node": asked.tasks_per_node,
        "cpus-per-task": asked.cpus,
        "mem": asked.memory,
        "time": asked.time,
        "gres": _gpus(asked),
        "account": asked.account,
        "partition": asked.slurm_partition,
        "qos": asked.qos,
        "constraint": asked.constraint,
        "reservation": asked.reservation,
    }
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    flags = ["--parsable", "--hold", "--requeue", "--kill-on-invalid-dep=yes"]
    return [*flags, *given, *asked.extra_sbatch, spec.script]


def render(spec: WaveSpec) -> str:
    """Return the text of the script."""
    nodes = spec.resources.nodes
    # Without --ntasks srun takes the job's number of tasks, and ignores the one per node.
    on_each_node = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    variables = {**_variables(spec), **spec.environment}
    values = {
        "PROJECT": quote(spec.project),
        "SCRATCH": _expanded(spec.scratch or ""),
        "ON_EACH_NODE": f"{_joined(on_each_node)} " if nodes > 1 else "",
        "ENVIRONMENT": "\n".join(f"export {name}={quote(variables[name])}" for name in variables),
        "SETUP": "\n".join(spec.setup) or ":",
        "COMMAND": _joined(_command(spec)),
    }
    # One pass: a value that looks like a name of the template stays as it is.
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], TEMPLATE.read_text("utf-8"))


def submission_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for sbatch: what it and modules need, and nothing else.

    SLURM keeps the environment of a submission and gives it to the job, so keys and tokens stay
    out, and so do SLURM's and sbatch's variables of a job that the orchestrator itself may run in.
    """
    return {name: value for name, value in environ.items() if PASSED_ON.fullmatch(name)}


def quote(text: str) -> str:
    """Return `text` as one word of bash on one line.

    Control characters are spelled out: sbatch refuses a script with a carriage return before a line
    feed, and would read a line of a value that begins like one of its comments.
    """
    return CONTROL.sub(lambda found: f"'$'\\x{ord(found[0]):02x}''", shlex.quote(text))


def _joined(command: list[str]) -> str:
    return " ".join(quote(word) for word in command)


def _checked(key: str, value: str, check: Callable[[str], str]) -> None:
    try:
        check(value)
    except ValueError as error:
        raise ConfigError(f"{key}: {value!r} {error}.") from error


def _array(spec: WaveSpec) -> str | None:
    if spec.size == 1:
        return None
    throttle = f"%{spec.max_parallel}" if spec.max_parallel else ""
    return f"0-{spec.size - 1}{throttle}"


def _gpus(asked: Resources) -> str | None:
    if not asked.gpus:
        return None
    return ":".join(filter(None, ["gpu", asked.gpu_type, str(asked.gpus)]))


def _variables(spec: WaveSpec) -> dict[str, str]:
    """Return what every job is given; a cluster file's `environment` comes after it."""
    box = spec.container if spec.resources.tasks > 1 else None
    return {
        "PYTHONPATH": spec.project,
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(_threads(spec.resources)),
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
        "ACTIVEUF_WARN_S": str(spec.warning),
        "ACTIVEUF_REQUEUES": str(spec.requeues),
        **({STAGE_PYTHON: box.python} if box else {}),
    }


def _expanded(scratch: str) -> str:
    """Return the path of the scratch folder as one word of bash: %u, %j and %% filled in."""
    known = {"%u": '"$(id -un)"', "%j": '"${SLURM_JOB_ID:-$$}"', "%%": "%"}
    parts = re.split(r"(%[uj%])", scratch)
    return "".join(known.get(part) or quote(part) for part in parts if part) or "''"


def _command(spec: WaveSpec) -> list[str]:
    """Return the task wrapper's command: inside the image, or around it where srun starts the
    stage, for no image has SLURM's commands.
    """
    wrapper = ["-m", spec.module, "--wave", spec.folder]
    bare = [spec.python, *BARE]
    one = ["srun", "--nodes=1", "--ntasks=1", f"--cpus-per-task={spec.resources.cpus}"]
    introduced = _introduced(spec)
    if spec.resources.tasks > 1:
        return [*bare, *wrapper, "--", *_inside(spec, _srun(spec.resources)), *introduced]
    prefix = ["--", *introduced] if introduced else []
    if spec.container is None:
        return [*bare, *wrapper, *prefix]
    start = one if spec.container.kind == "pyxis" else []
    return [*_inside(spec, start), spec.container.python, *wrapper, *prefix]


def _introduced(spec: WaveSpec) -> list[str]:
    """Return what introduces the stage's processes to each other; [] for a process alone."""
    asked = spec.resources
    if asked.processes == 1 and not asked.is_launched:
        return []
    python = spec.container.python if spec.container else spec.python
    config = asked.accelerate and str(PurePosixPath(spec.project, asked.accelerate))
    return [python, *launch_arguments(asked.processes_per_node if asked.is_launched else 0, config)]


def _threads(asked: Resources) -> int:
    return max(1, asked.cpus // asked.processes_per_node)


def _srun(asked: Resources) -> list[str]:
    """Return how one process per task is started. srun takes no cpus-per-task from its job."""
    return [
        "srun",
        f"--nodes={asked.nodes}",
        f"--ntasks={asked.tasks}",
        f"--ntasks-per-node={asked.tasks_per_node}",
        f"--cpus-per-task={asked.cpus}",
        "--kill-on-bad-exit=1",
    ]


def _inside(spec: WaveSpec, start: list[str]) -> list[str]:
    """Return `start` so that what follows it runs in the image, if there is one."""
    box = spec.container
    if box is None:
        return start
    if box.kind == "pyxis":
        mounts = [f"--container-mounts={','.join(box.mounts)}"] if box.mounts else []
        return [*start, f"--container-image={box.image}", *mounts, *box.options]
    gpus = ["--nv"] if spec.resources.gpus else []
    binds = [word for mount in box.mounts for word in ("--bind", mount)]
    return [*start, "apptainer", "exec", *gpus, *binds, *box.options, box.image]
