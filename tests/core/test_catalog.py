"""The catalog: what files declare, and how wrong ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.catalog import Catalog
from activeuf_core.errors import ConfigError
from activeuf_core.paths import Layout
from activeuf_core.recipes import RecipeBook
from tests.graph.conftest import write_small_project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a small project."""
    return write_small_project(tmp_path)


def load(folder: Path) -> Catalog:
    return Catalog.load(folder / "configs", Layout(folder / "home"))


def change(path: Path, **values: object) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))


def test_partitions_come_from_files(folder: Path) -> None:
    catalog = load(folder)
    assert catalog.partitions("prompts") == ("other", "tiny")
    assert catalog.partitions("completions") == ("other--a", "tiny--a", "tiny--b")
    assert catalog.partitions("dpo_model") == ("exp-a", "exp-b", "exp-c")


def test_a_config_names_content_and_never_a_path(folder: Path) -> None:
    resolved = load(folder).resolved("dpo_model", "exp-a")
    assert str(folder) not in str(resolved.full)
    assert resolved.locations == {"base": str(folder / "base")}


def test_moving_the_data_changes_nothing_and_editing_them_does(folder: Path) -> None:
    before = load(folder).config("prompts", "tiny")
    (folder / "elsewhere").mkdir()
    (folder / "pool.jsonl").rename(folder / "elsewhere" / "pool.jsonl")
    change(
        folder / "configs/datasets/tiny.yaml", prompts={"source": {"path": "elsewhere/pool.jsonl"}}
    )
    assert load(folder).config("prompts", "tiny") == before
    (folder / "elsewhere" / "pool.jsonl").write_text("{}")
    assert load(folder).config("prompts", "tiny") != before


def test_two_files_of_one_name_keep_their_places(folder: Path) -> None:
    for name in ("first", "second"):
        (folder / name).mkdir()
        (folder / name / "rows.jsonl").write_text(name)
    section = {
        "data": {"path": "first/rows.jsonl"},
        "judge": {"model": "base"},
        "length_control": {"data": {"path": "second/rows.jsonl"}},
    }
    change(folder / "configs/experiments/exp-a.yaml", benchmarks={"alpaca_eval": section})
    found = load(folder).resolved("alpaca_eval_score", "exp-a")
    names = (found.full["data"]["name"], found.full["length_control"]["data"]["name"])
    places = [found.locations[name] for name in names]
    assert places == [str(folder / name / "rows.jsonl") for name in ("first", "second")]


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("experiments/exp-a", {"sede": 3}, r"unknown key 'sede' \(value 3\); did you mean 'seed'"),
        ("experiments/exp-a", {"seed": "x"}, "key 'seed' has the value 'x'"),
        (
            "experiments/exp-a",
            {"dataset": "tinny"},
            "key 'dataset' has the value 'tinny'; did you mean 'tiny'",
        ),
        (
            "experiments/exp-a",
            {"benchmarks": {"gsm8": {}}},
            "unknown benchmark 'gsm8'; did you mean 'gsm8k'",
        ),
        (
            "experiments/exp-a",
            {"extends": "nothing"},
            "key 'extends' has the value 'nothing'; allowed: none",
        ),
        (
            "experiments/exp-a",
            {"dpo_model": {"base_model": "bse"}},
            "models.yaml does not declare; did you mean 'base'",
        ),
        (
            "experiments/exp-a",
            {"loop": {"acquisition": {"method": "random", "q": 1}}},
            "unknown key 'acquisition.q'",
        ),
        (
            "experiments/exp-a",
            {"benchmarks": {"gsm8k": {"limit": 0}}},
            "key 'limit' has the value 0",
        ),
        (
            "datasets/tiny",
            {"judge": {"mode": "oracle"}},
            "key 'judge.mode' has the value 'oracle'; allowed: ",
        ),
        ("datasets/tiny", {"model_pool": {"a/b": None}}, "cannot be a partition key"),
        ("datasets/tiny", {"model_pool": {"../x": None}}, "cannot be a partition key"),
        (
            "datasets/tiny",
            {"prompts": {"source": {"path": "$NOWHERE/p"}}},
            "'NOWHERE', which is not set",
        ),
        ("datasets/tiny", {"prompts": {"source": {"hub": "a/b"}}}, "needs a 'revision'"),
        ("models", {"base": {"pth": "x"}}, r"unknown key 'pth' \(value 'x'\); did you mean 'path'"),
    ],
)
def test_wrong_files_are_refused_by_name(
    folder: Path, file: str, values: dict, message: str
) -> None:
    path = folder / "configs" / f"{file}.yaml"
    change(path, **values)
    with pytest.raises(ConfigError, match=message) as caught:
        load(folder)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("name", ["exp-a.yml", "EXP-A.yaml"])
def test_an_experiment_declared_twice_is_refused(folder: Path, name: str) -> None:
    text = (folder / "configs/experiments/exp-a.yaml").read_text()
    (folder / "configs/experiments" / name).write_text(text)
    with pytest.raises(ConfigError, match="declared twice"):
        load(folder)


@pytest.mark.parametrize("name", ["a b", "a,b", "a..b", "-a", "é", "a|b"])
def test_names_that_cannot_be_keys_are_refused(folder: Path, name: str) -> None:
    text = (folder / "configs/experiments/exp-a.yaml").read_text()
    (folder / "configs/experiments" / f"{name}.yaml").write_text(text)
    with pytest.raises(ConfigError, match="cannot be a partition key"):
        load(folder)


def test_a_key_given_twice_is_refused(folder: Path) -> None:
    with (folder / "configs/experiments/exp-a.yaml").open("a") as handle:
        handle.write("seed: 5\n")
    with pytest.raises(ConfigError, match="given twice"):
        load(folder)


def test_text_that_is_not_yaml_is_refused(folder: Path) -> None:
    (folder / "configs/experiments/exp-a.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load(folder)


def test_defaults_lie_under_an_experiment(folder: Path) -> None:
    (folder / "configs/defaults").mkdir()
    (folder / "configs/defaults/shared.yaml").write_text(
        "dpo_model: {learning_rate: 0.25, epochs: 2}\n"
    )
    change(
        folder / "configs/experiments/exp-a.yaml",
        extends="shared",
        dpo_model={"base_model": "base", "epochs": 5},
    )
    full = load(folder).resolved("dpo_model", "exp-a").full
    assert (full["learning_rate"], full["epochs"]) == (0.25, 5)


def test_the_seed_of_an_experiment_reaches_loop_and_trainings(folder: Path) -> None:
    catalog = load(folder)
    seeds = {
        catalog.resolved(a, "exp-b").full["seed"]
        for a in ("preference_dataset", "dpo_model", "reward_model")
    }
    assert seeds == {ord("b")}


def lazy(folder: Path, **judge: object) -> None:
    models = folder / "configs/models.yaml"
    change(models, judge={"hub": "some/judge", "revision": "abc"})
    own = {"mode": "llm", "model": "judge", **judge}
    change(folder / "configs/datasets/tiny.yaml", judging="lazy", judge=own)


def test_lazy_judging_leaves_the_annotations_out_of_the_graph(folder: Path) -> None:
    lazy(folder)
    catalog = load(folder)
    book = RecipeBook(catalog, ArtifactStore(Layout(folder / "home")))
    assert book.recipe("candidate_pool", "tiny").inputs["annotations"] == {}
    seen, frontier = set(), [("preference_dataset", "exp-a")]
    while frontier:
        seen |= set(frontier)
        frontier = [above for node in frontier for above in book.upstream(*node)]
    assert {asset for asset, _ in seen} == {
        "preference_dataset",
        "candidate_pool",
        "features",
        "completions",
        "prompts",
    }
    loop = catalog.resolved("preference_dataset", "exp-a")
    assert (loop.full["judging"], loop.full["judge"]["mode"]) == ("lazy", "llm")
    assert loop.locations["judge"] == "some/judge@abc"


def test_where_a_judge_is_served_makes_nothing_stale(folder: Path) -> None:
    lazy(folder, server={"url": "http://one:8000/v1"})
    before = load(folder).config("preference_dataset", "exp-a")
    lazy(folder, server={"url": "http://two:8000/v1", "concurrency": 3})
    assert load(folder).config("preference_dataset", "exp-a") == before
    lazy(folder, server={"top_logprobs": 5})
    assert load(folder).config("preference_dataset", "exp-a") != before


def test_eager_written_out_changes_nothing(folder: Path) -> None:
    book = RecipeBook(load(folder), ArtifactStore(Layout(folder / "home")))
    before = book.recipe("preference_dataset", "exp-a").fingerprint
    change(folder / "configs/datasets/tiny.yaml", judging="eager")
    book = RecipeBook(load(folder), ArtifactStore(Layout(folder / "home")))
    assert book.recipe("preference_dataset", "exp-a").fingerprint == before


def test_lazy_judging_refuses_a_judge_that_costs_nothing(folder: Path) -> None:
    change(folder / "configs/datasets/tiny.yaml", judging="lazy")
    with pytest.raises(ConfigError, match=r"judging: lazy saves nothing .*judging: eager"):
        load(folder)


def test_lazy_judging_refuses_a_method_that_ranks_by_the_judge(folder: Path) -> None:
    lazy(folder)
    change(folder / "configs/experiments/exp-b.yaml", loop={"acquisition": {"method": "maxmin"}})
    with pytest.raises(ConfigError, match=r"exp-b.*'maxmin' ranks completions"):
        load(folder)
