"""Introduces the processes of one stage to one another: put before the stage's command.

In: that command, `python -m MODULE …`, and SLURM's variables. Out: nothing; this process becomes
the stage, or `accelerate launch`, which starts so many processes of it on this node. Nodes find
each other at a port of the job's first node. No shell is between.

Standard library only: it starts on every node. Commands, of which the second is for `srun` with
several tasks per node:
`python -m activeuf_core.launch --processes 4 [--config FILE] -- python -m activeuf_core.training …`
`python -m activeuf_core.launch -- python -m activeuf_core.training …`
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from activeuf_core.errors import ConfigError, LaunchError
from activeuf_core.paths import PROJECT

PLAIN_CONFIG = PROJECT / "configs" / "accelerate" / "ddp.yaml"
"""Each process holds the whole model. Always named: accelerate would look for the user's own."""
FIRST_PORT, NUM_PORTS = 10_000, 20_000
"""Below the ports that Linux gives to outgoing connections (32768 and up)."""
LEAST_GRACE_S = 30
PASSED_ON = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
"""What the launcher hands on to its processes; SIGUSR1 is how `srun` says that the time is up."""
SCONTROL_TIMEOUT_S = 30
EXIT_WRONG = 78
"""EX_CONFIG of sysexits.h."""
FIRST_HOST = re.compile(r"([^,\[]|\[[^\]]*\])+")
BRACKET = re.compile(r"\[([^\],-]*)[^\]]*\]")

Told = Mapping[str, str]


def command_and_environment(
    stage: Sequence[str], processes: int, config: Path | None, told: Told
) -> tuple[list[str], dict[str, str]]:
    """Return what to become, and the variables that it needs besides those it inherits.

    Args: stage: the stage's command. processes: per node; 0: `srun` has started them all. config:
    accelerate's. told: the environment.
    Raises: ConfigError for what cannot be launched; LaunchError without the first node's address.
    """
    if not processes:
        return list(stage), _introduced_by_srun(told)
    nodes = int(told.get("SLURM_STEP_NUM_NODES") or 1) if "SLURM_STEP_ID" in told else 1
    options = {
        "config_file": str(_usable(config or PLAIN_CONFIG)),
        "num_processes": str(nodes * processes),
        "num_machines": str(nodes),
    }
    variables = {
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(_grace(told)),
        "PET_SIGNALS_TO_HANDLE": PASSED_ON,
    }
    if nodes == 1:
        # A store of its own at a free port: neighbours on the node never meet.
        variables |= {"PET_STANDALONE": "1"}
    else:
        rank = told["SLURM_NODEID"]
        options |= {
            "machine_rank": rank,
            "main_process_ip": _address(first_host(told["SLURM_STEP_NODELIST"])),
            "main_process_port": str(port_of(told)),
            "rdzv_backend": "c10d",
            # Names of nodes do not tell who hosts the store: an address may be another card's.
            "rdzv_conf": f"is_host={int(rank == '0')}",
        }
        variables |= {"PET_RDZV_ID": _meeting(told)}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    python, module = _python_and_module(stage)
    return [python, "-m", "accelerate.commands.launch", *words, "--module", *module], variables


def launch_arguments(processes: int, config: str | None) -> list[str]:
    """Return the arguments of an interpreter that introduces what is put behind them.

    Args: processes: per node, of `accelerate launch`; 0: `srun` starts them. config: accelerate's.
    """
    counted = [f"--processes={processes}"] if processes else []
    named = [f"--config={config}"] if config else []
    return ["-m", "activeuf_core.launch", *counted, *named, "--"]


def first_host(nodes: str) -> str:
    """Return the first name of a list of nodes as SLURM writes it: `n[03-05,7],x1` is n03."""
    found = FIRST_HOST.match(nodes)
    if found is None:
        raise LaunchError(f"SLURM names no first node: its list of nodes is {nodes!r}.")
    return BRACKET.sub(r"\1", found.group())


def port_of(told: Told) -> int:
    """Return where the processes of a job meet. Jobs of one node have ids near to one another, and
    so other ports.
    """
    return FIRST_PORT + int(told["SLURM_JOB_ID"]) % NUM_PORTS


def _introduced_by_srun(told: Told) -> dict[str, str]:
    """Return the variables by which torch's processes know each other, from SLURM's of a step."""
    rank, count = told.get("SLURM_PROCID", "0"), told.get("SLURM_NTASKS", "1")
    if count == "1":
        return {}
    nodes = int(told.get("SLURM_STEP_NUM_NODES") or 1)
    return {
        "RANK": rank,
        "WORLD_SIZE": count,
        "LOCAL_RANK": told["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(int(count) // nodes),
        "MASTER_ADDR": _address(first_host(told["SLURM_STEP_NODELIST"])),
        "MASTER_PORT": str(port_of(told)),
    }


def _meeting(told: Told) -> str:
    """Name this start of this job, so that nobody left from an earlier start joins it."""
    parts = (told["SLURM_JOB_ID"], told.get("SLURM_RESTART_COUNT") or "0", told["SLURM_STEP_ID"])
    return "activeuf-" + "-".join(parts)


def _address(host: str) -> str:
    """Return how a node is reached: by its name, or else by the address that SLURM knows."""
    with contextlib.suppress(OSError):
        socket.getaddrinfo(host, None)
        return host
    try:
        done = subprocess.run(
            ["scontrol", "show", "node", "-o", host],
            capture_output=True,
            text=True,
            timeout=SCONTROL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"no address of node {host}: {error}.") from error
    found = re.search(r"\bNodeAddr=(\S+)", done.stdout)
    if found is None:
        raise LaunchError(
            f"no address of node {host}: its name is not known here, nor to scontrol "
            f"({done.stderr.strip()}). The processes of one stage must reach each other."
        )
    return found[1]


def _usable(config: Path) -> Path:
    """Return accelerate's config file. Raises: ConfigError when it cannot be used here."""
    try:
        text = config.read_text("utf-8")
    except OSError as error:
        raise ConfigError(
            f"accelerate: {config} cannot be read ({error}). Name a file below the project, or an "
            "absolute path that every node sees."
        ) from error
    wants_deepspeed = re.search(r"^distributed_type:\s*['\"]?DEEPSPEED", text, re.MULTILINE)
    if wants_deepspeed and importlib.util.find_spec("deepspeed") is None:
        raise ConfigError(
            f"accelerate: {config} asks for DeepSpeed, which {sys.executable} does not have. "
            "Install it there (`pip install deepspeed`), or name configs/accelerate/fsdp2.yaml."
        )
    return config


def _grace(told: Told) -> int:
    """Return how many seconds the processes have for a checkpoint after SIGTERM."""
    return max(LEAST_GRACE_S, int(told.get("ACTIVEUF_WARN_S") or 0))


def _python_and_module(stage: Sequence[str]) -> tuple[str, list[str]]:
    if len(stage) < 3 or stage[1] != "-m":
        raise ConfigError(f"launch: {' '.join(stage)!r} is no `python -m MODULE …`.")
    return stage[0], list(stage[2:])


def main(arguments: Sequence[str]) -> int:
    """Become the stage, or what starts it. Returns: an exit code where that is not possible."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(prog="activeuf_core.launch", description="Introduce.")
    parser.add_argument("--processes", type=int, default=0, help="per node, of accelerate launch")
    parser.add_argument("--config", type=Path, help="accelerate's config file")
    given = parser.parse_args(arguments[:cut])
    try:
        command, variables = command_and_environment(
            arguments[cut + 1 :], given.processes, given.config, os.environ
        )
    except (ConfigError, LaunchError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_WRONG
    return os.execvpe(command[0], command, {**os.environ, **variables})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
