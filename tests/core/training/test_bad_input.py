"""Bad input to a training: a reason that says what to do, and nothing published."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from activeuf_core.errors import ActiveUFError
from activeuf_core.paths import PREFERENCES, TRAINING_LOG
from activeuf_core.schemas import PREFERENCE, assistant_message, write_rows
from tests.core.training.conftest import MakeTraining, preference_row, train
from tests.fakes import tiny_models

ASSETS = ("dpo_model", "reward_model")
Break = Callable[[Path], None]


def replaced(name: str, values: list[Any]) -> Break:
    """Write one column anew."""

    def change(file: Path) -> None:
        table = pq.read_table(file)
        column = pa.array(values * table.num_rows)
        pq.write_table(table.set_column(table.schema.get_field_index(name), name, column), file)

    return change


def without(name: str) -> Break:
    return lambda file: pq.write_table(pq.read_table(file).drop([name]), file)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def rewritten(*changed: dict[str, Any], count: int = 8) -> Break:
    rows = [preference_row(i, **changes) for i, changes in enumerate(changed)]
    rows += [preference_row(i) for i in range(len(rows), count)]
    return lambda file: write_rows(file, PREFERENCE, rows)


DATA: dict[str, tuple[Break, str]] = {
    "truncated": (cut, r"preferences\.parquet: cannot be read as Parquet"),
    "not there": (Path.unlink, r"preferences\.parquet"),
    "no rows": (rewritten(count=0), "0 of 0 comparisons are left"),
    "no column": (without("rejected"), "column rejected is missing.* Materialize"),
    "text for turns": (replaced("chosen", ["hello"]), "column chosen holds str 'hello'"),
    "turns without a role": (
        replaced("chosen", [[{"content": "x"}]]),
        "column chosen holds list .*role and content",
    ),
    "text for scores": (replaced("chosen_score", ["4"]), "column chosen_score holds str '4'"),
    "equal sides": (
        rewritten({"rejected": preference_row(0)["chosen"]}),
        "1 with chosen = rejected",
    ),
    "empty side": (rewritten({"chosen": assistant_message(" ")}), "1 with an empty chosen"),
    "no prompt": (rewritten({"prompt": []}), "1 with a prompt that does not end with a user"),
    "all too long": (
        rewritten(*[{"chosen": assistant_message("x " * 60)}] * 8),
        "0 of 8 comparisons are left .* 8 longer than max_tokens = 64.*Raise max_tokens",
    ),
}


def many_tokens(model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens([f"<new{i}>" for i in range(40)])
    tokenizer.save_pretrained(model)


MODEL: dict[str, tuple[Break, str]] = {
    "no config": (lambda model: (model / "config.json").unlink(), r"no config\.json"),
    "no weights": (lambda model: (model / "model.safetensors").unlink(), "holds no .*safetensors"),
    "cut weights": (lambda model: cut(model / "model.safetensors"), "cannot be loaded"),
    "NaN weights": (
        lambda model: tiny_models.poison(model, "model.norm.weight"),
        r"1 weights hold NaN .*model\.norm\.weight",
    ),
    "no chat template": (
        lambda model: (model / "chat_template.jinja").unlink(),
        "no chat template",
    ),
    "another tokenizer": (many_tokens, "knows 345 tokens, its embedding 320"),
    "no tokenizer": (
        lambda model: [(model / name).unlink() for name in TOKENIZER_FILES] and None,
        "tokenizer cannot be loaded",
    ),
}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def assert_refused(context: Any, said: str) -> None:
    with pytest.raises(ActiveUFError, match=f"(?s){said}"):
        train(context)
    assert {path.name for path in context.output.iterdir()} <= {TRAINING_LOG}


@pytest.mark.parametrize("asset", ASSETS)
@pytest.mark.parametrize("name", DATA)
def test_wrong_comparisons(
    make_training: MakeTraining, preferences: Path, tmp_path: Path, name: str, asset: str
) -> None:
    change, said = DATA[name]
    data = shutil.copytree(preferences, tmp_path / "data")
    change(data / PREFERENCES)
    assert_refused(make_training(asset, data=data), said)


@pytest.mark.parametrize("name", MODEL)
def test_wrong_model(
    make_training: MakeTraining, tiny_model: Path, tmp_path: Path, name: str
) -> None:
    change, said = MODEL[name]
    model = shutil.copytree(tiny_model, tmp_path / "model")
    change(model)
    assert_refused(make_training("dpo_model", model=model), said)
