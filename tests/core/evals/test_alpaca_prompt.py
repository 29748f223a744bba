"""What the judge of two outputs reads, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from activeuf_core.errors import DataError
from activeuf_core.evals.alpaca_prompt import (
    Comparison,
    is_output_first,
    own_prompt,
    read_prompt,
)

PAIR = Comparison("Say {output_2}.", "ours {instruction}", "theirs", True)
LABELS = ("m", "M")
TURNS = "<|im_start|>system\nYou judge.\n<|im_end|>\n<|im_start|>user\n{turn}\n<|im_end|>"


def written(folder: Path, text: str) -> Path:
    path = folder / "judge.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_our_words_show_both_outputs_with_their_labels() -> None:
    system, user = own_prompt(LABELS).ask(PAIR)
    assert system["role"] == "system"
    assert '<answer label="m">\nours {instruction}\n</answer>' in user["content"]
    assert user["content"].endswith("m or M.")


def test_the_second_position_shows_the_reference_first() -> None:
    other = Comparison("a", "ours", "theirs", False)
    text = own_prompt(LABELS).ask(other)[1]["content"]
    assert text.index("theirs") < text.index("ours")


def test_what_a_text_holds_is_never_taken_for_a_placeholder(tmp_path: Path) -> None:
    prompt = read_prompt(written(tmp_path, "{instruction}|{output_1}|{output_2}|{"), LABELS)
    (turn,) = prompt.ask(PAIR)
    assert turn == {"role": "user", "content": "Say {output_2}.|ours {instruction}|theirs|{"}


def test_a_file_can_have_turns(tmp_path: Path) -> None:
    text = TURNS.replace("{turn}", "{instruction} {output_1} {output_2}\nm or M")
    system, user = read_prompt(written(tmp_path, text), LABELS).ask(PAIR)
    assert (system["content"], user["content"][-6:]) == ("You judge.", "m or M")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{instruction} {output_1}", r"lacks \{output_2\}"),
        (
            TURNS.replace("{turn}", "{instruction}{output_1}{output_2}") + " more",
            "outside of turns",
        ),
        ("<|im_start|>user\n{instruction}{output_1}{output_2}", "not closed"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_prompt(written(tmp_path, text), LABELS)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.txt: the judge's prompt cannot be read"):
        read_prompt(tmp_path / "gone.txt", LABELS)


def test_other_words_have_another_digest(tmp_path: Path) -> None:
    other = read_prompt(written(tmp_path, "{instruction}{output_1}{output_2}"), LABELS)
    assert other.sha256 != own_prompt(LABELS).sha256


def test_the_position_depends_on_seed_and_instruction_alone() -> None:
    texts = [f"instruction {n}" for n in range(400)]
    drawn = [is_output_first(0, text) for text in texts]
    assert drawn == [is_output_first(0, text) for text in texts]
    assert 160 < sum(drawn) < 240
    assert drawn != [is_output_first(1, text) for text in texts]


def test_the_longer_text_is_cut_in_half() -> None:
    assert Comparison("a", "12345678", "123", True).shortened().output == "1234"
    assert Comparison("a", "1", "123456", True).shortened().reference == "123"
