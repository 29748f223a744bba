from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.config import StrictModel, parse
from activeuf_core.errors import ConfigError
from activeuf_core.paths import PROJECT
from activeuf_core.slurm.cluster import (
    Container,
    Limits,
    LocalCluster,
    Resources,
    SlurmCluster,
    Ssh,
    read_cluster,
)

FILES = sorted((PROJECT / "configs" / "clusters").glob("*.yaml"))


def slurm(**values: Any) -> SlurmCluster:
    return parse(SlurmCluster, {"launcher": "slurm", **values}, "my.yaml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_files_that_we_ship_are_read(path: Path) -> None:
    cluster = read_cluster(path)
    assert cluster.launcher == ("local" if path.stem == "local" else "slurm")


def test_without_a_launcher_it_is_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("slots: 3\n")
    assert read_cluster(path) == LocalCluster(slots=3)


def test_an_unknown_launcher_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("launcher: slrum\n")
    with pytest.raises(ConfigError, match=r"c\.yaml.*'slrum'; did you mean 'slurm'.*local, slurm"):
        read_cluster(path)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"partition": "gpu"}, "unknown key 'partition'.*did you mean 'slurm_partition'"),
    ({"stages": {"dpo_modl": {}}}, "no stage 'dpo_modl'; did you mean 'dpo_model'"),
    ({"stages": {"leaderboard": {}}}, "no stage 'leaderboard'"),
    ({"stages": {"dpo_model": {"gpu": 1}}}, r"'stages.dpo_model.gpu'.*did you mean 'gpus'"),
    ({"stages": {"dpo_model": {"time": "1h"}}}, r"'stages.dpo_model.time'.*'1h'.*HH:MM:SS"),
    ({"defaults": {"time": 43200}}, "'defaults.time' has the value 43200.*quotes"),
    ({"defaults": {"memory": "64"}}, "'defaults.memory' has the value '64'.*K, M, G or T"),
    ({"defaults": {"cpus": 0}}, "'defaults.cpus' has the value 0"),
    ({"defaults": {"gpus": 1, "gpu_type": "a:1"}}, "'defaults.gpu_type'"),
    ({"account": "--wrap=x"}, "'account' has the value '--wrap=x'.*begin with '-'"),
    ({"account": 17}, "'account' has the value 17.*quotes"),
    ({"account": "a\nb"}, "'account'.*control character"),
    ({"account": "é" * 600}, "'account'.*has 1200 bytes"),
    ({"account": "\ud800"}, "'account'.*surrogate"),
    ({"scratch": "/tmp/%x"}, "'scratch'.*u .user., j .job id."),
    ({"scratch": "tmp"}, "'scratch'.*absolute"),
    ({"python": "~/python"}, "'python'.*absolute"),
    ({"setup": ["a\nb"]}, "'setup.0'.*one line"),
    ({"environment": {"A B": "x"}}, "'environment.A B.*no name of a variable"),
    ({"environment": {"SLURM_JOB_ID": "1"}}, "SLURM_JOB_ID is set by"),
    ({"environment": {"K": "1"}, "secrets": ["K"]}, "'secrets'.*K stands in `environment` too"),
    ({"poll_s": 9.0, "poll_max_s": 1.0}, r"'poll_max_s'.*below poll_s \(9.0\)"),
    ({"retries": {"memory_growth": 1.0}}, "'retries.memory_growth'"),
    ({"ssh": {"host": "-oProxyCommand=x"}}, "'ssh.host'.*begin with '-'"),
    ({"ssh": {"host": "a b"}}, "'ssh.host'.*blanks"),
    ({"ssh": {"host": "a", "files": "rsync"}}, "'ssh.files'.*where the files go"),
    ({"ssh": {"host": "a", "options": ["ControlPath=x"]}}, "ControlPath is the launcher's own"),
    ({"ssh": {"host": "a", "options": ["-v"]}}, "'ssh.options.0'"),
    ({"container": {"kind": "docker", "image": "x"}}, "'container.kind'.*pyxis"),
    ({"container": {"kind": "pyxis", "image": "x", "mounts": ["/a"]}}, "'container.mounts.0'"),
    ({"container": {"kind": "pyxis", "image": "x", "mounts": ["/a:b"]}}, "absolute"),
    ({"container": {"kind": "pyxis", "image": "x", "options": ["y"]}}, "begins with '--'"),
]


@pytest.mark.parametrize(("values", "said"), WRONG)
def test_a_wrong_value_is_refused_by_key_value_and_rule(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)my.yaml: .*{said}"):
        slurm(**values)


OWN = ["--wrap=x", "--wra=x", "--array=0-9", "--no-requeue", "--job-n=x", "--parsable", "-p", "--"]


@pytest.mark.parametrize("option", [*OWN, "--exclude=a\nb", "--exclude=" + "a" * 1100])
def test_extra_options_cannot_undo_the_protocol(option: str) -> None:
    with pytest.raises(ConfigError, match=r"defaults\.extra_sbatch\.0"):
        slurm(defaults={"extra_sbatch": [option]})


def test_a_stage_is_laid_over_the_defaults() -> None:
    defaults = {"cpus": 4, "gpus": 1, "gpu_type": "h100"}
    cluster = slurm(defaults=defaults, stages={"dpo_model": {"gpus": 4, "gpu_type": None}})
    found = cluster.resources_for("dpo_model")
    assert (found.cpus, found.gpus, found.gpu_type) == (4, 4, None)
    assert cluster.resources_for("features") == Resources(**defaults)


def test_processes_are_those_of_a_launch_on_each_node() -> None:
    asked = Resources(nodes=2, gpus=4, processes_per_node=4)
    assert (asked.tasks, asked.processes, asked.is_launched) == (2, 8, True)
    assert Resources(accelerate="configs/accelerate/zero3.yaml").is_launched
    assert not Resources(nodes=2, tasks_per_node=4).is_launched


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"tasks_per_node": 2, "processes_per_node": 2}, "leave tasks_per_node out"),
    ({"gpus": 4, "processes_per_node": 2}, "gpus 4: each process .* make the two equal"),
    ({"gpus": 4, "accelerate": "configs/accelerate/ddp.yaml"}, "processes_per_node 1 with gpus 4"),
]


@pytest.mark.parametrize(("asked", "said"), CONTRADICTIONS)
def test_processes_that_do_not_fit_the_job_are_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"dpo_model: .*{said}"):
        slurm(stages={"dpo_model": asked})


def test_processes_are_held_against_the_gpus_of_the_defaults() -> None:
    launched = {"processes_per_node": 4}
    assert slurm(defaults={"gpus": 4}, stages={"dpo_model": launched})
    with pytest.raises(ConfigError, match="dpo_model: processes_per_node 4 with gpus 1"):
        slurm(defaults={"gpus": 1}, stages={"dpo_model": launched})


@pytest.mark.parametrize("path", ["configs/accelerate/fsdp.yaml", "ddp.txt", "-x.yaml"])
def test_a_config_of_accelerate_that_is_not_there_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="accelerate"):
        slurm(stages={"dpo_model": {"accelerate": path}})


def test_this_machine_runs_a_stage_as_several_processes(tmp_path: Path) -> None:
    path = tmp_path / "here.yaml"
    path.write_text("stages: {dpo_model: {processes_per_node: 2}}")
    found = read_cluster(path)
    assert isinstance(found, LocalCluster) and found.stages["dpo_model"].is_launched
    path.write_text("stages: {dpo_modl: {processes_per_node: 2}}")
    with pytest.raises(ConfigError, match="did you mean 'dpo_model'"):
        read_cluster(path)


def test_a_light_job_asks_for_little_whatever_its_stage() -> None:
    cluster = slurm(stages={"completions": {"gpus": 8}}, light={"cpus": 2})
    assert cluster.resources_for("completions", light=True) == Resources(cpus=2)


def test_places_of_the_cluster_hold_where_a_stage_names_none() -> None:
    cluster = slurm(account="a", qos="normal", stages={"dpo_model": {"qos": "long"}})
    assert cluster.resources_for("dpo_model").qos == "long"
    light = cluster.resources_for("dpo_model", light=True)
    assert (light.account, light.qos, light.slurm_partition) == ("a", "normal", None)


TIMES = [("30", 30), ("0:10", 1), ("90:30", 91), ("01:30:00", 90), ("1:00:01", 61)]
TIMES += [("2-00", 2880), ("1-01:30", 1530), ("1-00:00:01", 1441)]


@pytest.mark.parametrize(("text", "minutes"), TIMES)
def test_time_limits_are_read_as_slurm_reads_them(text: str, minutes: int) -> None:
    assert Resources(time=text).minutes == minutes


@pytest.mark.parametrize(
    "text", ["", "0", "00:00:00", "1:2:3:4", "-5", "1-", "1.5", "²", "9999-00"]
)
def test_a_time_limit_that_slurm_cannot_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="'time'"):
        parse(Resources, {"time": text}, "c.yaml")


GROWTH = [("4G", "64G", "8G"), ("40G", "64G", "64G"), ("1536M", "1T", "3G"), ("900K", "1G", "2M")]


@pytest.mark.parametrize(("memory", "limit", "more"), GROWTH)
def test_memory_grows_up_to_the_limit(memory: str, limit: str, more: str) -> None:
    grown = Resources(memory=memory, cpus=3).with_more_memory(2.0, limit)
    assert grown == Resources(memory=more, cpus=3)


@pytest.mark.parametrize(("memory", "limit"), [("64G", "64G"), ("64G", None), (None, "64G")])
def test_there_is_no_more_memory_to_give(memory: str | None, limit: str | None) -> None:
    assert Resources(memory=memory).with_more_memory(2.0, limit) is None


def test_time_grows_up_to_the_limit() -> None:
    asked = Resources(time="01:00:00")
    longer = asked.with_more_time(1.5, "2-00")
    assert longer is not None and longer.minutes == 90
    assert Resources(time="20:00:00").with_more_time(2.0, "1-06") == Resources(time="1-06:00:00")
    assert asked.with_more_time(2.0, "60") is None
    assert asked.with_more_time(2.0, None) is None


def test_paths_on_the_nodes(tmp_path: Path) -> None:
    here = slurm()
    assert here.node_python == f"{PROJECT}/.venv/bin/python"
    assert here.node_home(tmp_path) == str(tmp_path)
    there = slurm(ssh={"host": "login", "project": "/p", "home": "/h"})
    assert (there.node_python, there.node_home(tmp_path)) == ("/p/.venv/bin/python", "/h")
    assert slurm(project="/x", ssh={"host": "login", "project": "/p"}).node_project == "/x"


def test_what_is_allowed_passes() -> None:
    slurm(
        defaults={"extra_sbatch": ["--exclude=node[7-9]", "--wait-all-nodes=1", "--exclusive"]},
        container=Container(kind="pyxis", image="docker://a/b:1", mounts=("/a:/b:ro",)),
        ssh=Ssh(host="me@login", options=("Port=22",)),
        scratch="/scratch/%u/%j/%%",
        environment={"EMPTY": "", "LINES": "a\nb"},
    )


MODELS = (SlurmCluster, Resources, Container, Ssh, Limits, LocalCluster)


@pytest.mark.parametrize("model", MODELS)
def test_the_documents_name_every_key(model: type[StrictModel]) -> None:
    text = (PROJECT / "docs" / "configs.md").read_text("utf-8")
    named = {name for code in re.findall(r"`([\w.]+)`", text) for name in code.split(".")}
    assert set(model.model_fields) - named == set()
