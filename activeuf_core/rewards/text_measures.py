"""Plain measures of a text: its words, how much it repeats itself, how much it copies.

In: texts. Out: words, shares in [0, 1]. Pure. Cost: 0.1 ms for 1,000 characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, numbers included."""
    return WORD.findall(text.lower())


def repetition(text: str, size: int = 3) -> float:
    """Return the share of runs of `size` words that stood in the text before; 0 for short texts."""
    words = words_of(text)
    runs = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return 1.0 - len(set(runs)) / len(runs) if runs else 0.0


def copied_words(words: Sequence[str], source: Sequence[str], size: int) -> list[bool]:
    """Return for each word whether it is part of a run of `size` words that the source has too."""
    known = {tuple(source[i : i + size]) for i in range(len(source) - size + 1)}
    copied = [False] * len(words)
    for start in range(len(words) - size + 1):
        if tuple(words[start : start + size]) in known:
            copied[start : start + size] = [True] * size
    return copied
