"""Tiny random models with a tokenizer trained in code: real folders, made in a second."""

from __future__ import annotations

from pathlib import Path

CORPUS = (
    "a model answers a prompt with a completion",
    "Rate it from 1 to 5.",
    "user assistant system",
)
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTROL_TOKENS = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"]
HIDDEN_SIZE = 16


def build_tokenizer(folder: Path, *, chat_template: str | None = CHAT_TEMPLATE) -> None:
    """Save a byte-level tokenizer of about 300 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    plain.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=CONTROL_TOKENS[2:],
    )
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)


def build_model(
    folder: Path, kind: str = "LlamaForCausalLM", *, context: int = 256, num_labels: int = 1
) -> None:
    """Save a Llama of two layers with random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=320,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
        initializer_range=0.3,
        eos_token_id=None,
        pad_token_id=None,
    )
    config.num_labels = num_labels
    getattr(transformers, kind)(config).save_pretrained(folder)


def build(folder: Path, kind: str = "LlamaForCausalLM", **options: int) -> Path:
    """Save model and tokenizer; return the folder."""
    build_model(folder, kind, **options)
    build_tokenizer(folder)
    return folder


def poison(folder: Path, tensor: str) -> None:
    """Make the first value of a model's tensor NaN."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights[tensor].view(-1)[0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
