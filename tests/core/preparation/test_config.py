"""Settings: what is refused, and what the system prompt becomes."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.config import identity_of, parse
from activeuf_core.errors import ConfigError
from activeuf_core.preparation.config import (
    PreparedDatasetConfig,
    RawDatasetConfig,
    SplitNames,
)

NAMED = {"name": "sums", "format": {"kind": "gsm8k"}}


def prepared(**settings: Any) -> PreparedDatasetConfig:
    return parse(PreparedDatasetConfig, {**NAMED, **settings}, "c.yaml")


def raw(**source: Any) -> RawDatasetConfig:
    return parse(RawDatasetConfig, {**NAMED, "source": source}, "c.yaml")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fractions": {"train": 0.8}}, "train 0.8 .* is 1.1; make them add up to 1"),
        ({"fractions": {"train": 0.0, "val": 0.5, "test": 0.5}}, "fractions.train"),
        ({"format": {"kind": "csv"}}, "'csv'; allowed: custom, gsm8k, openrubrics"),
        ({"format": {"kind": "custom", "columns": {"question": "q", "chosen": "c"}}}, "both or"),
        ({"prompt": {"tags": {"answer_end": "<answer>"}}}, "part of another tag"),
        ({"limit": 0}, "limit"),
        ({"validate": False}, "unknown key 'validate'.*did you mean 'validation'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        prepared(**settings)


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "kaggle", "dataset": "own/sums", "files": {}},
        {"kind": "kaggle", "dataset": "own/sums/versions/3", "version": 3, "files": {}},
        {"kind": "kaggle", "dataset": "own/sums", "version": 0, "files": {}},
        {"kind": "tfds", "builder": "gsm8k", "version": "1"},
        {"kind": "hf"},
        {"kind": "ftp"},
    ],
)
def test_a_source_without_a_version_or_a_name_is_refused(source: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        raw(**source)


def test_only_splits_that_are_named_are_given() -> None:
    assert SplitNames(test="dev").given() == {"train": "train", "test": "dev"}


def test_numbers_are_asked_for_between_the_tags() -> None:
    config = prepared(prompt={"tags": {"answer_start": "[[", "answer_end": "]]"}})
    assert "between <reasoning> and </reasoning>" in config.system_prompt
    assert "between [[ and ]]." in config.system_prompt


def test_rubrics_come_without_a_system_prompt() -> None:
    assert prepared(format={"kind": "openrubrics"}).system_prompt == ""


def test_a_system_prompt_of_ones_own_keeps_other_braces() -> None:
    config = prepared(prompt={"system": "Use {answer_start} and {x}."})
    assert config.system_prompt == "Use <answer> and {x}."


def test_a_place_is_no_part_of_a_recipe() -> None:
    one, other = (
        raw(kind="local", train={"name": name, "identity": "same"}) for name in ("a", "b")
    )
    assert identity_of(one) == identity_of(other)


def test_loading_a_tokenizer_is_no_light_work() -> None:
    tokenizer = {"name": "t", "identity": "x"}
    assert prepared().is_light and not prepared(budget={"tokenizer": tokenizer}).is_light
