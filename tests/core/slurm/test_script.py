"""What the script of a wave does, seen by real bash: every value arrives byte for byte, or was
refused when the cluster file was read.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.config import parse
from activeuf_core.errors import ConfigError
from activeuf_core.paths import PROJECT
from activeuf_core.slurm.cluster import Container, Resources, SlurmCluster
from activeuf_core.slurm.script import (
    WaveSpec,
    render,
    sbatch_arguments,
    submission_environment,
)

PLAIN = (
    *("'", '"', "a'b\"c", "$(touch canary)", "`touch canary`", "; touch canary", "&& touch canary"),
    *("| touch canary", "> canary", "$HOME ${PATH}", "*", "?[a-z]", "~", "\\", "\\n", "a\\", "%"),
    *(
        "%j %u %%",
        "a b  c",
        " ",
        "é ☃ 日本 \u202e",
        "\u2028",
        "!touch",
        "#SBATCH --wrap=x",
        "{a,b}",
    ),
    *("@PROJECT@", "$'\\x41'", "<(touch canary)", "=", "x" * 1000, "$(touch canary)" * 60),
)
"""Strange, and an argument all the same: SLURM and the shell must see them as they are."""
REFUSED = (
    *("", "-rf", "--wrap=touch canary", "a\nb", "\ntouch canary\n", "a\tb", "a\r\nb", "\x07"),
    *("a\0b", "é" * 1000, "\ud800"),
)
"""What SLURM cannot take as the value of an option."""
RECORDER = """#!{python} -IS
import os, sys
os.environ["RECORDER_PID"] = str(os.getpid())
with open(os.environ["RECORD"], "wb") as out:
    out.write(b"\\0".join(os.fsencode(word) for word in sys.argv[1:]) + b"\\0\\0\\0")
    out.write(b"\\0".join(os.fsencode(f"{{k}}={{v}}") for k, v in os.environ.items()))
"""


@dataclass(frozen=True)
class Seen:
    """What the program that took the shell's place was given."""

    arguments: list[str]
    variables: dict[str, str]


Run = Callable[[WaveSpec], Seen]


def put_recorder(path: Path) -> str:
    """Make a program that writes down its arguments and its environment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RECORDER.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def spec(tmp_path: Path) -> WaveSpec:
    """A wave whose interpreter is a recorder."""
    (tmp_path / "project").mkdir()
    return WaveSpec(
        token="activeuf-dpo_model-0123456789",
        folder=str(tmp_path / "wave"),
        project=str(tmp_path / "project"),
        python=put_recorder(tmp_path / "bin" / "python"),
        size=1,
        resources=Resources(cpus=2),
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the script of a wave; srun and apptainer are recorders too."""
    for name in ("srun", "apptainer"):
        put_recorder(tmp_path / "bin" / name)
    script, record = tmp_path / "wave.sbatch", tmp_path / "record"
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "RECORD": str(record)}
    environment["SLURM_JOB_ID"] = "17"

    def run_spec(spec: WaveSpec) -> Seen:
        script.write_bytes(render(spec).encode())
        subprocess.run(["bash", "-n", script], check=True)
        command = ["bash", str(script)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
        assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"")
        assert list(tmp_path.rglob("canary")) == []
        arguments, _, variables = record.read_bytes().partition(b"\0\0\0")
        record.unlink()
        pairs = [os.fsdecode(pair).partition("=") for pair in variables.split(b"\0")]
        words = [os.fsdecode(word) for word in arguments.split(b"\0")]
        return Seen(words, {name: value for name, _, value in pairs})

    return run_spec


def slurm(**values: Any) -> SlurmCluster:
    return parse(SlurmCluster, {"launcher": "slurm", **values}, "my.yaml")


def random_strings(number: int) -> list[str]:
    generator = random.Random(7)
    signs = "'\"$()`;&|<>\\\n\r\t *?[]{}~!#%@=-é日\x01\x7f aA0canary/"
    return ["".join(generator.choices(signs, k=generator.randrange(40))) for _ in range(number)]


def test_every_value_of_a_variable_arrives(spec: WaveSpec, run: Run) -> None:
    texts = [text for text in (*PLAIN, *REFUSED, *random_strings(400)) if "\0" not in text]
    texts.remove("\ud800")
    given = {f"V{number}": text for number, text in enumerate(texts)}
    spec = replace(spec, environment=slurm(environment=given).environment)
    seen = run(spec).variables
    assert {name: seen.get(name) for name in given} == given


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 40_000])
def test_what_no_variable_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"environment\.A"):
        slurm(environment={"A": text})


@pytest.mark.parametrize("text", PLAIN, ids=ascii)
def test_every_path_arrives(text: str, spec: WaveSpec, run: Run, tmp_path: Path) -> None:
    part = text[:200].strip("/")
    project = tmp_path / part / "project"
    project.mkdir(parents=True)
    scratch = tmp_path / "scratch" / part
    cluster = slurm(
        project=str(project),
        python=put_recorder(tmp_path / f"x{part}" / "python"),
        scratch=str(scratch).replace("%", "%%"),
    )
    folder = str(tmp_path / part) if not {"%", "\\"} & set(part) else spec.folder
    seen = run(WaveSpec.of(cluster, spec.token, folder, 1, spec.resources))
    assert seen.arguments == ["-S", "-m", "activeuf_core.task", "--wave", folder]
    assert seen.variables["PYTHONPATH"] == seen.variables["PWD"] == str(project)
    assert seen.variables["TMPDIR"] == str(scratch) and scratch.is_dir()


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
@pytest.mark.parametrize("key", ["project", "python", "scratch"])
def test_what_no_path_can_hold_is_refused(key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"'{key}'"):
        slurm(**{key: f"/{text}" if text[1:] and text[0] != "-" else text})


@pytest.mark.parametrize("kind", ["pyxis", "apptainer"])
@pytest.mark.parametrize("text", PLAIN, ids=ascii)
def test_every_word_of_a_container_arrives(kind: str, text: str, spec: WaveSpec, run: Run) -> None:
    mount = f"/{text}:/x" if not {":", ","} & set(text) else "/a:/x"
    given = {"kind": kind, "image": text, "mounts": [mount], "options": [f"--a={text}"]}
    given["python"] = text if "~" not in text else "python3"
    box = slurm(container=given).container
    seen = run(replace(spec, container=box)).arguments
    pyxis = [f"--container-image={text}", f"--container-mounts={mount}", f"--a={text}"]
    apptainer = ["exec", "--bind", mount, f"--a={text}", text]
    words = pyxis if kind == "pyxis" else apptainer
    assert seen[-5 - len(words) : -5] == words
    assert seen[-5:] == [given["python"], "-m", "activeuf_core.task", "--wave", spec.folder]


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
@pytest.mark.parametrize("key", ["image", "mounts", "python"])
def test_what_no_container_can_be_given_is_refused(key: str, text: str) -> None:
    value = [f"/{text}:/{text}x:"] if key == "mounts" else text
    with pytest.raises(ConfigError, match=rf"container\.{key}"):
        slurm(container={"kind": "pyxis", "image": "x", key: value})


OPTIONS = {key: key for key in ("account", "qos", "constraint", "reservation")}
OPTIONS["slurm_partition"] = "partition"


@pytest.mark.parametrize("text", PLAIN, ids=ascii)
def test_every_option_is_one_argument_of_sbatch(text: str, spec: WaveSpec) -> None:
    extra = [f"--exclude={text}"]
    asked = slurm(defaults={**dict.fromkeys(OPTIONS, text), "extra_sbatch": extra}).defaults
    arguments = sbatch_arguments(replace(spec, resources=asked))
    assert {f"--{name}={text}" for name in (*OPTIONS.values(), "exclude")} <= set(arguments)
    assert arguments[-1] == f"{spec.folder}/wave.sbatch"


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
@pytest.mark.parametrize("key", OPTIONS)
def test_what_no_option_can_hold_is_refused(key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"'defaults.{key}'"):
        slurm(defaults={key: text})


def test_a_script_is_one_that_sbatch_takes_and_holds_no_options(spec: WaveSpec) -> None:
    text = render(replace(spec, environment={"A": "x\n#SBATCH --wrap=y\r\n#PBS -l z"}))
    assert text.startswith("#!/bin/bash\n")
    assert not [line for line in text.splitlines() if line.startswith(("#SBATCH", "#PBS"))]
    assert "\r" not in text


def test_the_task_takes_the_place_of_the_shell(spec: WaveSpec, tmp_path: Path) -> None:
    script = tmp_path / "wave.sbatch"
    script.write_text(render(spec))
    record = tmp_path / "record"
    with subprocess.Popen(["bash", script], env={**os.environ, "RECORD": str(record)}) as process:
        pass
    assert f"RECORDER_PID={process.pid}".encode() in record.read_bytes().split(b"\0")


def test_setup_is_the_users_own_shell(spec: WaveSpec, run: Run) -> None:
    lines = ('export A="$((1 + 1)) $OMP_NUM_THREADS$NOT_SET"', "cd /")
    seen = run(replace(spec, setup=lines)).variables
    assert (seen["A"], seen["PWD"]) == ("2 2", "/")


def test_a_failing_line_of_setup_ends_the_job(spec: WaveSpec, tmp_path: Path) -> None:
    text = render(replace(spec, setup=("false", f"touch {tmp_path}/canary")))
    assert subprocess.run(["bash", "-c", text]).returncode == 1
    assert not (tmp_path / "canary").exists()


def test_variables_of_every_job(spec: WaveSpec, run: Run) -> None:
    seen = run(replace(spec, environment={"OMP_WAIT_POLICY": "active"}, requeues=3)).variables
    assert (seen["OMP_NUM_THREADS"], seen["OMP_WAIT_POLICY"]) == ("2", "active")
    assert (seen["ACTIVEUF_REQUEUES"], seen["ACTIVEUF_WARN_S"]) == ("3", "90")


def test_several_tasks_are_started_by_srun_around_the_stage(spec: WaveSpec, run: Run) -> None:
    asked = Resources(nodes=2, tasks_per_node=4, cpus=3)
    seen = run(replace(spec, resources=asked)).arguments
    start = ["srun", "--nodes=2", "--ntasks=8", "--ntasks-per-node=4", "--cpus-per-task=3"]
    introduced = [spec.python, "-m", "activeuf_core.launch", "--"]
    assert seen[5:] == ["--", *start, "--kill-on-bad-exit=1", *introduced]


def test_processes_of_one_node_are_started_by_accelerate_alone(spec: WaveSpec, run: Run) -> None:
    asked = Resources(processes_per_node=4, cpus=10, accelerate="configs/accelerate/fsdp2.yaml")
    seen = run(replace(spec, resources=asked))
    config = f"--config={spec.project}/configs/accelerate/fsdp2.yaml"
    launch = [spec.python, "-m", "activeuf_core.launch", "--processes=4", config, "--"]
    assert seen.arguments[5:] == ["--", *launch]
    assert seen.variables["OMP_NUM_THREADS"] == "2"


def test_processes_of_two_nodes_are_one_task_per_node(spec: WaveSpec, run: Run) -> None:
    asked = Resources(nodes=2, processes_per_node=4, gpus=4)
    seen = run(replace(spec, resources=asked)).arguments
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1"} <= set(seen)
    assert seen[-5:] == [spec.python, "-m", "activeuf_core.launch", "--processes=4", "--"]


@pytest.mark.parametrize("kind", ["pyxis", "apptainer"])
def test_an_image_launches_with_its_own_interpreter(kind: Any, spec: WaveSpec, run: Run) -> None:
    box = Container(kind=kind, image="i", python="/opt/python")
    seen = run(replace(spec, container=box, resources=Resources(processes_per_node=2))).arguments
    launch = ["/opt/python", "-m", "activeuf_core.launch", "--processes=2", "--"]
    assert seen[-6:] == ["--", *launch]


@pytest.mark.parametrize("kind", ["pyxis", "apptainer"])
def test_several_tasks_in_an_image(kind: Any, spec: WaveSpec, run: Run) -> None:
    box = Container(kind=kind, image="i", python="/opt/python")
    seen = run(replace(spec, container=box, resources=Resources(nodes=2, gpus=1)))
    tail = ["--container-image=i"] if kind == "pyxis" else ["apptainer", "exec", "--nv", "i"]
    introduced = ["/opt/python", "-m", "activeuf_core.launch", "--"]
    assert seen.arguments[6] == "srun"
    assert seen.arguments[-len(tail) - 4 :] == [*tail, *introduced]
    assert seen.variables["ACTIVEUF_STAGE_PYTHON"] == "/opt/python"


def test_scratch_knows_user_and_job(spec: WaveSpec, run: Run, tmp_path: Path) -> None:
    seen = run(replace(spec, scratch=f"{tmp_path}/%u/%j%%")).variables
    user = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
    assert seen["TMPDIR"] == f"{tmp_path}/{user}/17%"
    assert seen["TRITON_CACHE_DIR"] == f"{seen['TMPDIR']}/triton"


def test_every_node_gets_its_scratch(spec: WaveSpec) -> None:
    text = render(replace(spec, scratch="/s", resources=Resources(nodes=2, tasks_per_node=4)))
    assert "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 mkdir -p" in text


def test_arguments_of_a_plain_job(spec: WaveSpec) -> None:
    arguments = sbatch_arguments(spec)
    assert {"--parsable", "--hold", "--requeue", "--kill-on-invalid-dep=yes"} <= set(arguments)
    assert f"--job-name={spec.token}" in arguments and f"--comment={spec.token}" in arguments
    assert f"--output={spec.folder}/slurm.log" in arguments and "--signal=B:USR1@90" in arguments
    assert not [word for word in arguments if word.startswith(("--array", "--gres", "--qos"))]


def test_arguments_of_an_array(spec: WaveSpec) -> None:
    asked = Resources(gpus=4, gpu_type="h100", memory=None, time="01:00:00")
    arguments = sbatch_arguments(replace(spec, size=27, max_parallel=8, resources=asked))
    assert {"--array=0-26%8", "--gres=gpu:h100:4", "--time=01:00:00"} <= set(arguments)
    assert f"--output={spec.folder}/slurm-%a.log" in arguments
    assert not [word for word in arguments if word.startswith("--mem")]


def test_a_short_job_is_warned_at_half_time(spec: WaveSpec) -> None:
    arguments = sbatch_arguments(replace(spec, resources=Resources(time="2")))
    assert "--signal=B:USR1@60" in arguments


WRONG = [
    ({"token": "a b"}, "token 'a b'"),
    ({"token": "x" * 65}, "token"),
    ({"size": 0}, "size is 0"),
    ({"max_parallel": 0}, "max_parallel is 0"),
    ({"folder": "wave"}, "folder: 'wave'.*absolute"),
    ({"folder": "/a/%j"}, "ACTIVEUF_HOME"),
    ({"folder": "/a\\b"}, "ACTIVEUF_HOME"),
    ({"folder": "/" + "x" * 950}, "ACTIVEUF_HOME"),
    ({"module": "os; x"}, "module"),
    ({"setup": ("a\nb",)}, "setup"),
    ({"environment": {"A=B": ""}}, "environment"),
    ({"environment": {"A": "\0"}}, r"environment\.A"),
    ({"project": "p"}, "project"),
    ({"python": "-c"}, "python"),
]


@pytest.mark.parametrize(("values", "said"), WRONG)
def test_a_wrong_spec_is_refused(values: dict[str, Any], said: str, spec: WaveSpec) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(spec, **values)


def test_the_wave_of_a_cluster(spec: WaveSpec) -> None:
    cluster = slurm(max_parallel=2, warn_s=60, retries={"requeues": 1}, setup=["true"])
    wave = WaveSpec.of(cluster, spec.token, spec.folder, 9, spec.resources)
    assert (wave.max_parallel, wave.warn_s, wave.requeues, wave.setup) == (2, 60, 1, ("true",))
    assert (wave.project, wave.python) == (str(PROJECT), f"{PROJECT}/.venv/bin/python")


def test_no_secret_goes_with_a_submission() -> None:
    module = {"BASH_FUNC_module%%": "() { :; }", "MODULEPATH": "/m"}
    kept = {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "SLURM_CONF": "/c", **module}
    given = {"WANDB_API_KEY": "k", "SLURM_JOB_ID": "1", "SBATCH_WAIT": "1", "AWS_SECRET": "s"}
    assert submission_environment({**kept, **given}) == kept
