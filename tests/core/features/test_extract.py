"""The stage `features` on a tiny random model: the right token, cuts, resuming, damaged models."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from activeuf_core import paths, pretrained
from activeuf_core.errors import DataError
from activeuf_core.features import extract
from activeuf_core.features.precision import decode, encode
from activeuf_core.processes import Processes
from activeuf_core.schemas import (
    CANDIDATE,
    assistant_message,
    read_rows,
    user_message,
    write_rows,
)
from activeuf_core.stage import StageContext
from tests.fakes import tiny_models
from tests.fakes.stage_context import passed

Extract = Callable[..., StageContext]
TEXTS = ("short", "a longer completion", "x", "a completion of middling size", "y" * 60)


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    folder = tmp_path / "pool"
    folder.mkdir()
    rows = [
        {
            "prompt_id": f"p{index}",
            "prompt": user_message("a prompt"),
            "model": "m",
            "completion": text,
            "ratings": "{}",
        }
        for index, text in enumerate(TEXTS)
    ]
    write_rows(folder / paths.CANDIDATES, CANDIDATE, rows)
    return folder


@pytest.fixture
def run(make_context: Callable[..., StageContext], candidates: Path, tiny_model: Path) -> Extract:
    """Return a function that runs the stage with some settings, and a model of its own."""

    def extract_features(model: Path = tiny_model, **config: Any) -> StageContext:
        settings = {"model": {"name": "tiny", "identity": "x"}, "batch_size": 2, **config}
        inputs = {"candidate_pool": {"d": candidates}}
        context = make_context("features", settings, inputs, {"tiny": model})
        extract.run(context)
        return context

    return extract_features


def features(context: StageContext) -> np.ndarray:
    return np.load(context.output / paths.FEATURES, mmap_mode="r")


def index(context: StageContext) -> list[dict[str, Any]]:
    return read_rows(context.output / paths.FEATURE_INDEX)


def test_feature_is_the_last_hidden_state_of_the_last_token(run: Extract, tiny_model: Path) -> None:
    context = run(storage="float32")
    tokenizer = pretrained.load_tokenizer(str(tiny_model))
    model = pretrained.load_model("AutoModel", str(tiny_model), "float32")
    for row, text in enumerate(TEXTS):
        [ids] = tokenizer.encode([[*user_message("a prompt"), *assistant_message(text)]])
        with torch.no_grad():
            alone = model(torch.tensor([ids])).last_hidden_state[0, -1]
        assert features(context)[row] == pytest.approx(alone.numpy(), abs=1e-5)
        assert index(context)[row]["num_tokens"] == len(ids)


def test_matrix_and_index_follow_the_candidates(run: Extract) -> None:
    context = run()
    assert features(context).shape == (5, tiny_models.HIDDEN_SIZE)
    assert features(context).dtype == np.float16
    assert [(row["row"], row["prompt_id"]) for row in index(context)] == [
        (number, f"p{number}") for number in range(5)
    ]
    assert passed(context) == {"features_finite": True, "features_not_truncated": True}


def test_long_conversation_is_cut_on_the_right_and_flagged(run: Extract) -> None:
    context = run(max_tokens=40)
    flagged = [row["row"] for row in index(context) if row["truncated"]]
    assert flagged == [4]
    assert index(context)[4]["num_tokens"] == 40
    assert not passed(context)["features_not_truncated"]


def test_context_of_the_model_bounds_the_length(run: Extract) -> None:
    assert run(max_tokens=4096).metadata["max_tokens"] == 256


def test_chunks_do_not_change_the_result(run: Extract, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = features(run(storage="float32"))
    monkeypatch.setattr(extract, "CHUNK_ROWS", 2)
    assert np.array(features(run(storage="float32"))) == pytest.approx(np.array(whole), abs=1e-5)


@pytest.mark.parametrize(("chunks_each", "rows"), [(1, [0, 1, 4]), (99, [1, 3, 4])])
def test_many_chunks_are_dealt_out_whole_few_by_batches(
    chunks_each: int, rows: list[int], run: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "CHUNK_ROWS", 2)
    monkeypatch.setattr(extract, "CHUNKS_EACH", chunks_each)
    monkeypatch.setattr(extract.processes, "current", lambda: Processes(0, 2))
    monkeypatch.setattr(extract.processes, "gather", lambda value: [value])
    kept: list[int] = []
    add = extract.FeatureStore.add

    def note(self: extract.FeatureStore, rows: Sequence[int], *rest: Any) -> None:
        kept.extend(rows)
        add(self, rows, *rest)

    monkeypatch.setattr(extract.FeatureStore, "add", note)
    run(batch_size=1)
    assert sorted(kept) == rows


def test_interrupted_run_goes_on_where_it_was(
    run: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = np.array(features(run()))
    original, calls = extract.Extractor._features, []

    def interrupted(self: extract.Extractor, token_ids: Sequence[Sequence[int]]) -> np.ndarray:
        calls.append(len(token_ids))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, token_ids)

    monkeypatch.setattr(extract.Extractor, "_features", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    resumed = run()
    assert calls == [2, 2, 2, 1]
    assert resumed.metadata["resumed_candidates"] == 2
    assert np.array_equal(features(resumed), expected)


def test_nan_features_name_their_rows(run: Extract, tiny_model: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(tiny_model, tmp_path / "damaged")
    tiny_models.poison(damaged, "model.norm.weight")
    with pytest.raises(
        DataError, match=r"2 candidates are NaN or infinite: row 4 \(prompt 'p4', 'm'"
    ):
        run(damaged)


def test_features_beyond_the_precision_of_the_disk_are_refused(
    run: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(self: extract.Extractor, token_ids: Sequence[Sequence[int]]) -> np.ndarray:
        return np.full((len(token_ids), self.size), 1e5, dtype=np.float32)

    monkeypatch.setattr(extract.Extractor, "_features", large)
    with pytest.raises(DataError, match=r"do not fit float16 \(largest value 1e\+05\)"):
        run()
    assert features(run(storage="float32"))[0, 0] == pytest.approx(1e5)
    assert decode(features(run(storage="bfloat16")))[0, 0] == pytest.approx(1e5, rel=2**-8)


def test_bfloat16_is_the_nearest_to_the_feature(run: Extract) -> None:
    whole = np.array(features(run(storage="float32")))
    context = run(storage="bfloat16")
    assert np.array_equal(decode(features(context)), decode(encode(whole, "bfloat16")))
    assert passed(context)["features_finite"]


def test_zero_rows_fail_the_blocking_check(run: Extract, monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(self: extract.Extractor, token_ids: Sequence[Sequence[int]]) -> np.ndarray:
        return np.zeros((len(token_ids), self.size), dtype=np.float32)

    monkeypatch.setattr(extract.Extractor, "_features", zeros)
    assert not passed(run())["features_finite"]


def test_model_without_weights_is_refused(run: Extract, tmp_path: Path) -> None:
    tiny_models.build_tokenizer(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(DataError, match="has no weights"):
        run(tmp_path / "empty")


def test_model_without_chat_template_says_so(run: Extract, tmp_path: Path) -> None:
    tiny_models.build_model(tmp_path / "plain")
    tiny_models.build_tokenizer(tmp_path / "plain", chat_template=None)
    assert run(tmp_path / "plain").metadata["plain_chat_template"] is True


def test_empty_pool_is_refused(run: Extract, candidates: Path) -> None:
    write_rows(candidates / paths.CANDIDATES, CANDIDATE, [])
    with pytest.raises(DataError, match="has no rows"):
        run()
