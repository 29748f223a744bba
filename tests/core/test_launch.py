"""What introduces the processes of a stage: pure of SLURM's variables, and once for real."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from activeuf_core import launch
from activeuf_core.errors import ConfigError, LaunchError
from activeuf_core.launch import command_and_environment, first_host, port_of
from activeuf_core.paths import PROJECT

STAGE = ["/usr/bin/python", "-m", "activeuf_core.training", "--config", "c", "--run-dir", "r"]
STEP = {
    "SLURM_JOB_ID": "70123",
    "SLURM_STEP_ID": "3",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "localhost,gpu[07-08]",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}
"""Of the third of four tasks, the first on the second of two nodes."""
SHIPPED = sorted((PROJECT / "configs" / "accelerate").glob("*.yaml"))
SCRIPT = """
import json, os, sys
from activeuf_core import processes
told = processes.gather({name: os.environ.get(name) for name in ("RANK", "ACCELERATE_USE_FSDP")})
if processes.current().is_first:
    open(sys.argv[1], "w").write(json.dumps(told))
processes.part()  # threads of a rendezvous that outlives its process abort it
"""


def _knows_no_name(host: str, port: object) -> None:
    raise OSError(f"{host}:{port}: Name or service not known")


def options(command: list[str]) -> dict[str, str]:
    """Return the options of accelerate launch, by name."""
    words = command[3 : command.index("--module")]
    return dict(zip(words[0::2], words[1::2], strict=True))


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("n[03-05,7],x1", "n03"), ("a,b", "a"), ("r[2-3]n[1,4]-ib", "r2n1-ib")],
)
def test_the_first_node_of_a_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_a_list_of_no_nodes_is_refused() -> None:
    with pytest.raises(LaunchError, match="no first node"):
        first_host("")


def test_jobs_beside_each_other_have_ports_of_their_own() -> None:
    ports = {port_of({"SLURM_JOB_ID": str(number)}) for number in range(79_990, 80_990)}
    assert len(ports) == 1000
    assert min(ports) >= 10_000 and max(ports) < 30_000


def test_one_node_needs_no_port() -> None:
    command, variables = command_and_environment(STAGE, 4, None, {"ACTIVEUF_WARN_S": "90"})
    assert command[:3] == ["/usr/bin/python", "-m", "accelerate.commands.launch"]
    assert command[command.index("--module") + 1 :] == STAGE[2:]
    found = options(command)
    assert (found["--num_processes"], found["--num_machines"]) == ("4", "1")
    assert found["--config_file"].endswith("configs/accelerate/ddp.yaml")
    assert (variables["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"], variables["PET_STANDALONE"]) == ("90", "1")
    assert "SIGUSR1" in variables["PET_SIGNALS_TO_HANDLE"]


def test_two_nodes_meet_at_the_first(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("distributed_type: MULTI_GPU")
    command, variables = command_and_environment(STAGE, 4, own, STEP)
    assert options(command) == {
        "--config_file": str(own),
        "--num_processes": "8",
        "--num_machines": "2",
        "--machine_rank": "1",
        "--main_process_ip": "localhost",
        "--main_process_port": "20123",
        "--rdzv_backend": "c10d",
        "--rdzv_conf": "is_host=0",
    }
    assert variables["PET_RDZV_ID"] == "activeuf-70123-0-3"


def test_a_requeued_job_meets_under_another_name() -> None:
    _, variables = command_and_environment(STAGE, 1, None, {**STEP, "SLURM_RESTART_COUNT": "2"})
    assert variables["PET_RDZV_ID"] == "activeuf-70123-2-3"


def test_tasks_of_srun_are_introduced_by_their_numbers() -> None:
    command, variables = command_and_environment(STAGE, 0, None, STEP)
    assert command == STAGE
    assert variables == {
        "RANK": "2",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "20123",
    }


def test_a_task_alone_is_introduced_to_nobody() -> None:
    assert command_and_environment(STAGE, 0, None, {"SLURM_NTASKS": "1"}) == (STAGE, {})


def test_a_node_without_a_name_is_reached_by_the_address_that_slurm_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho NodeName=$4 NodeAddr=127.0.0.9 Port=1\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(socket, "getaddrinfo", _knows_no_name)
    nameless = {**STEP, "SLURM_STEP_NODELIST": "no-such-node-[1-2]"}
    _, variables = command_and_environment(STAGE, 0, None, nameless)
    assert variables["MASTER_ADDR"] == "127.0.0.9"
    scontrol.write_text("#!/bin/sh\necho 'no such node' >&2\n")
    with pytest.raises(LaunchError, match=r"no address of node no-such-node-1: .*no such node"):
        command_and_environment(STAGE, 0, None, nameless)


def test_a_config_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml cannot be read"):
        command_and_environment(STAGE, 2, tmp_path / "gone.yaml", {})


@pytest.mark.parametrize("name", ["zero2.yaml", "zero3.yaml"])
def test_deepspeed_that_is_not_installed_is_said(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda _: None)
    config = PROJECT / "configs" / "accelerate" / name
    assert launch.main(["--processes=2", f"--config={config}", "--", *STAGE]) == launch.EXIT_WRONG
    assert "DeepSpeed" in capsys.readouterr().err


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_accelerate_takes_the_shipped_configs(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    found = load_config_from_file(str(path))  # refuses keys that it does not know
    assert found.mixed_precision == "no"
    known = {action.dest for action in launch_command_parser()._actions}
    body = yaml.safe_load(path.read_text("utf-8"))
    named = {*body.get("fsdp_config", {}), *body.get("deepspeed_config", {})}
    assert named <= known


def test_two_processes_find_each_other_through_accelerate(tmp_path: Path) -> None:
    (tmp_path / "a_stage.py").write_text(SCRIPT)
    config = PROJECT / "configs" / "accelerate" / "fsdp2.yaml"
    stage = [sys.executable, "-m", "a_stage", str(tmp_path / "found.json")]
    command = [*launch.launch_arguments(2, str(config)), *stage]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{PROJECT}:{tmp_path}"}
    subprocess.run([sys.executable, *command], check=True, timeout=120, env=environment)
    told = json.loads((tmp_path / "found.json").read_text())
    assert told == [{"RANK": rank, "ACCELERATE_USE_FSDP": "true"} for rank in ("0", "1")]
