"""`activeuf adopt`: from another home, from a view, from the layout of earlier scripts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner, Result

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.errors import ConfigError
from activeuf_core.paths import Layout
from activeuf_dagster.cli import app
from activeuf_dagster.project import Project
from tests.fakes import tiny_models
from tests.fakes.launcher import instant_launchers
from tests.graph.conftest import EXPERIMENT, write_yaml


@pytest.fixture(autouse=True)
def _instant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Project, "launchers", instant_launchers)


def activeuf(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, arguments)


def adopt(*arguments: str) -> list[dict[str, Any]]:
    return json.loads(activeuf("adopt", *arguments, "--json").stdout)


def states(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["asset"]: row["state"] for row in rows}


def plan(experiment: str = "exp-a") -> dict[str, str]:
    rows = json.loads(activeuf("plan", experiment, "--json").stdout)["nodes"]
    return {row["asset"]: row["state"] for row in rows}


def write_experiment(folder: Path, **settings: object) -> None:
    path = folder / "configs" / "experiments" / "exp-a.yaml"
    write_yaml(path, {**EXPERIMENT, "seed": ord("a"), **settings})


@pytest.fixture
def other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another home, in which an experiment was materialized with the same config files."""
    place = folder / "colleague"
    monkeypatch.setenv("ACTIVEUF_HOME", str(place))
    assert activeuf("materialize", "exp-a").exit_code == 0
    monkeypatch.setenv("ACTIVEUF_HOME", str(folder / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "another_dagster"))
    (folder / "another_dagster").mkdir()
    return place


def test_all_of_another_home_is_taken_and_nothing_has_to_run(other: Path) -> None:
    rows = adopt(str(other), "--as", "exp-a")
    assert {row["state"] for row in rows} == {"taken"}
    assert {row["why"] for row in rows} == {"proven"}
    found = plan()
    assert {state for asset, state in found.items() if asset != "leaderboard"} == {"fresh"}
    assert {row["state"] for row in adopt(str(other), "--as", "exp-a")} == {"there already"}


def test_a_dry_run_takes_nothing(other: Path, folder: Path) -> None:
    rows = adopt(str(other), "--as", "exp-a", "--dry-run")
    assert states(rows)["dpo_model"] == "would be taken"
    assert states(rows)["scores"] == "depends"
    assert not (folder / "home" / "artifacts").exists()


def test_a_view_offers_what_its_links_name(other: Path) -> None:
    rows = adopt(str(other / "experiments" / "exp-a"), "--as", "exp-a")
    assert states(rows)["dpo_model"] == states(rows)["gsm8k_score"] == "taken"
    assert "prompts" not in states(rows)
    assert plan()["dpo_model"] == "fresh" and plan()["prompts"] == "missing"


def test_an_artifact_of_other_settings_is_refused_with_what_differs(
    other: Path, folder: Path
) -> None:
    write_experiment(folder, dpo_model={"base_model": "base", "epochs": 7})
    done = activeuf("adopt", str(other), "--as", "exp-a", "--json")
    row = next(row for row in json.loads(done.stdout) if row["asset"] == "dpo_model")
    assert done.exit_code == 1 and row["state"] == "refused"
    assert row["why"] == "it was made from something else: epochs: 3.0 → 7.0"
    assert plan()["reward_model"] == "fresh" and plan()["dpo_model"] == "missing"


def test_what_differs_can_be_accepted_and_is_a_claim_then(other: Path, folder: Path) -> None:
    write_experiment(folder, dpo_model={"base_model": "base", "epochs": 7})
    rows = adopt(str(other), "--as", "exp-a", "--accept-config", "epochs")
    assert next(row["why"] for row in rows if row["asset"] == "dpo_model") == (
        "claimed; differs: epochs"
    )
    manifest = manifest_of("dpo_model")
    assert manifest.metadata["adopted"] == "claimed by a person, not proven"
    assert manifest.provenance["adopted"]["accepted"] == ["epochs"]
    assert plan()["dpo_model"] == "fresh"


def test_a_truncated_artifact_is_refused_and_the_others_are_taken(other: Path) -> None:
    (folder,) = (other / "artifacts" / "dpo_model").iterdir()
    (folder / "value.json").write_text("{")
    rows = adopt(str(other), "--as", "exp-a")
    assert states(rows)["dpo_model"] == "refused"
    assert states(rows)["reward_model"] == "taken"


def test_other_content_of_the_same_size_is_refused_by_its_digest(other: Path) -> None:
    (folder,) = (other / "artifacts" / "dpo_model").iterdir()
    path = folder / "value.json"
    path.write_bytes(b"x" * path.stat().st_size)
    row = next(row for row in adopt(str(other), "--as", "exp-a") if row["asset"] == "dpo_model")
    assert row["state"] == "refused" and "corrupt: value.json" in row["why"]
    assert not list((other.parent / "home" / "imports").iterdir())


@pytest.mark.parametrize("how", ["--copy", "--link", "--move"])
def test_how_files_come_here(other: Path, how: str) -> None:
    (folder,) = (other / "artifacts" / "dpo_model").iterdir()
    adopt(str(folder), "--as", "exp-a", how)
    manifest = manifest_of("dpo_model")
    taken = Layout.default().artifact("dpo_model", manifest.fingerprint) / "value.json"
    assert taken.stat().st_nlink == (2 if how == "--link" else 1)
    assert folder.exists() is (how != "--move")


def test_dagster_is_told_where_it_came_from(other: Path) -> None:
    adopt(str(other), "--as", "exp-a")
    with dg.DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("dpo_model"))
    assert event is not None and event.asset_materialization is not None
    told = event.asset_materialization.metadata
    assert told["origin"].value == "adopted from the store"
    assert str(told["adopted_from"].value).startswith(str(other / "artifacts" / "dpo_model"))


def test_wrong_words_are_refused(folder: Path) -> None:
    for words in (["absent", "--as", "exp-a"], [str(folder), "--as", "exp-*"], [".", "--as", "x"]):
        assert isinstance(activeuf("adopt", *words).exception, ConfigError)
    home = folder / "home" / "artifacts"
    home.mkdir(parents=True)
    refused = activeuf("adopt", str(home), "--as", "exp-a").exception
    assert isinstance(refused, ConfigError) and "is in this home" in str(refused)


@pytest.fixture
def scripts(folder: Path) -> Path:
    """Folders as earlier scripts left them, of models of the experiment's architecture."""
    shutil.rmtree(folder / "base")
    tiny_models.build(folder / "base")
    root = folder / "scratch" / "models"
    tiny_models.build(root / "dpo" / "run-7")
    tiny_models.poison(root / "dpo" / "run-7", "model.norm.weight")  # as training would: it differs
    tiny_models.build(root / "reward_models" / "run-7", "LlamaForSequenceClassification")
    tiny_models.poison(root / "reward_models" / "run-7", "model.norm.weight")
    write_yaml(root / "dpo" / "run-7" / "dpo_training.yaml", {})
    for name in ("gsm8k", "minerva_math", "ifeval", "truthfulqa"):
        path = root / "dpo" / "run-7" / "results" / f"{name}_tulu" / "metrics.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"metrics": [{"primary_score": 0.5, "num_instances": 8}]}))
    domains = ("Factuality", "Focus", "Math", "Precise IF", "Safety", "Ties", "Mean")
    path = root / "reward_models" / "run-7" / "metrics.json"
    path.write_text(json.dumps(dict.fromkeys(domains, 0.25)))
    return root


def test_what_earlier_scripts_left_is_taken_and_counts(scripts: Path) -> None:
    rows = adopt(str(scripts), "--as", "exp-a")
    assert {row["state"] for row in rows} == {"taken"} and len(rows) == 7
    found = plan()
    assert found["dpo_model"] == found["reward_model"] == found["gsm8k_score"] == "fresh"
    assert found["preference_dataset"] == found["prompts"] == "missing"


def test_scores_can_be_computed_on_an_adopted_model(scripts: Path) -> None:
    shutil.rmtree(scripts / "dpo" / "run-7" / "results")
    adopt(str(scripts), "--as", "exp-a")
    assert plan()["gsm8k_score"] == "missing"
    definitions = _definitions()
    with dg.DagsterInstance.get() as instance:
        done = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey("gsm8k_score")],
            partition_key="exp-a",
            raise_on_error=False,
        )
    assert done.success and plan()["gsm8k_score"] == "fresh"
    assert plan()["preference_dataset"] == "missing"


def test_the_claim_is_written_down(scripts: Path) -> None:
    adopt(str(scripts), "--as", "exp-a")
    manifest = manifest_of("dpo_model")
    origin = manifest.provenance["adopted"]
    assert origin["recipe"] == manifest.metadata["adopted"] == "claimed by a person, not proven"
    assert str(scripts / "dpo" / "run-7" / "model.safetensors") in origin["digests"]
    assert [check["name"] for check in manifest.checks] == ["weights_changed"]
    assert "training_loss_finite" in manifest.metadata["not_known"]
    log = Layout.default().run(manifest.provenance["job_id"]) / "stage.log"
    assert "run-7" in log.read_text()


def test_the_scores_of_a_refused_model_are_refused_with_it(scripts: Path) -> None:
    (scripts / "dpo" / "run-7" / "model.safetensors").unlink()  # config.json is written first
    rows = adopt(str(scripts), "--as", "exp-a")
    found = states(rows)
    assert found["dpo_model"] == found["gsm8k_score"] == "refused"
    assert found["reward_model"] == found["rewardbench2_score"] == "taken"
    assert "was it ever saved whole" in next(r["why"] for r in rows if r["asset"] == "dpo_model")


def test_a_metrics_file_can_be_named_alone(scripts: Path) -> None:
    path = scripts / "dpo" / "run-7" / "results" / "gsm8k_tulu" / "metrics.json"
    assert states(adopt(str(path), "--as", "exp-a")) == {"gsm8k_score": "taken"}


def test_of_two_runs_the_one_that_is_meant_has_to_be_named(scripts: Path) -> None:
    shutil.copytree(scripts / "dpo" / "run-7", scripts / "dpo" / "run-8")
    rows = adopt(str(scripts / "dpo"), "--as", "exp-a")
    assert {row["state"] for row in rows} == {"refused"}
    assert states(adopt(str(scripts / "dpo" / "run-8"), "--as", "exp-a"))["dpo_model"] == "taken"


def manifest_of(asset: str, experiment: str = "exp-a") -> Any:
    book = Project.load().book()
    store = ArtifactStore(Layout.default())
    manifest = store.inspect(asset, book.recipe(asset, experiment).fingerprint).manifest
    assert manifest is not None
    return manifest


def _definitions() -> dg.Definitions:
    from activeuf_dagster.code_location import build

    return build(Project.load())
