"""Judgements that were paid for, by content: whoever asks the same judge the same question again,
in whatever experiment and on whatever machine, finds the answer here.

In: keys (digests of questions) and five numbers each. Out: the numbers, exact to the last bit.
A judge has a folder of its own, named by a digest of all that decides its answers. Every process
appends to a file of its own in it and reads everybody's, so writers need no locks, also on NFS. A
record is 64 bytes with a check sum: one that is torn or damaged is passed over, and judged again.
Of two answers to one question either may be read.
Cost, among a million judgements: 3 µs per look-up, 18 µs for the key of a question of 3,000
characters, 9 µs to add one; they load in 1.5 s and take 72 MB.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activeuf_core.artifacts import write_json
from activeuf_core.fingerprint import canonical_json, digest_of

log = logging.getLogger("activeuf")

RECORD = np.dtype([("key", "<u8", 2), ("values", "<f8", 5), ("check", "<u8")])
WIDTH = 5
SUFFIX = ".judgements"
ABOUT = "judge.json"
RECENT_AT_MOST = 200_000
"""Records in a dictionary; when there are more they are sorted into the array."""
FLUSH_EVERY_S = 1.0
FACTORS = np.array(
    [
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0xD6E8FEB86659FD93,
        0xA0761D6478BD642F,
        0xE7037ED1A0B428DB,
        0x8EBC6AF09C88C6E3,
    ],
    dtype=np.uint64,
)
"""Odd numbers, so that no flipped bit of a word leaves the sum as it was."""
OFFSET = np.uint64(0x2545F4914F6CDD1D)
"""What the sum of an empty record is: zeros that a lost block leaves are no record."""

Values = tuple[float, ...]
Records = NDArray[np.void]


def key_of(question: Any) -> bytes:
    """Return the key of a question: 16 bytes that depend on every character of it."""
    return hashlib.sha256(canonical_json(question).encode()).digest()[:16]


class JudgementCache:
    """The answers of one judge; a context manager that flushes what was added."""

    def __init__(self, folder: Path, judge: Mapping[str, Any]) -> None:
        """Read what is there.

        Args: folder: of all judges. judge: all that decides the answers, as JSON.
        """
        self.folder = folder / digest_of(judge)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / ABOUT).exists():
            write_json(self.folder / ABOUT, dict(judge))
        self.num_damaged = 0
        self._sorted: Records = np.empty(0, RECORD)
        self._first: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._recent: dict[bytes, Values] = {}
        self._read: dict[str, int] = {}
        self._handle: int | None = None
        self._own = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self._flushed = time.monotonic()
        self.refresh()

    def __len__(self) -> int:
        """Return the number of records that are known, repeated ones included."""
        return len(self._sorted) + len(self._recent)

    def get(self, keys: Sequence[bytes]) -> list[Values | None]:
        """Return the values of each key, None where they are not known."""
        if not keys:
            return []
        wanted_N2 = np.frombuffer(b"".join(keys), dtype="<u8").reshape(-1, 2)
        places = np.searchsorted(self._first, wanted_N2[:, 0])
        return [
            self._recent.get(key) or self._find(place, *pair)
            for key, place, pair in zip(keys, places.tolist(), wanted_N2.tolist(), strict=True)
        ]

    def put(self, answers: Mapping[bytes, Sequence[float]]) -> None:
        """Add answers: they outlive this process at once, and the machine within a second."""
        if not answers:
            return
        records = np.zeros(len(answers), RECORD)
        records["key"] = np.frombuffer(b"".join(answers), dtype="<u8").reshape(-1, 2)
        records["values"] = list(answers.values())
        records["check"] = _check_of(records)
        self._append(records.tobytes())
        for key, values in answers.items():
            self._recent[key] = tuple(map(float, values))
        if time.monotonic() - self._flushed >= FLUSH_EVERY_S:
            self.flush()

    def refresh(self) -> None:
        """Read what others have added since the last time."""
        parts = []
        for entry in sorted(os.scandir(self.folder), key=lambda entry: entry.name):
            if entry.name.endswith(SUFFIX) and entry.name != self._own:
                part = self._new_in(entry)
                parts += [part] if len(part) else []
        if sum(map(len, parts)) + len(self._recent) > RECENT_AT_MOST:
            self._sort_in(parts)
            return
        for part in parts:
            keys, values = part["key"].tobytes(), part["values"].tolist()
            for index, found in enumerate(values):
                self._recent.setdefault(keys[16 * index : 16 * index + 16], tuple(found))

    def flush(self) -> None:
        """Wait until what was added is on the disk."""
        self._flushed = time.monotonic()
        if self._handle is not None:
            os.fsync(self._handle)

    def __enter__(self) -> JudgementCache:
        """Return the cache itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Flush and close, whatever happened."""
        self.flush()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _find(self, place: int, first: int, second: int) -> Values | None:
        """Look at the sorted records from the first on that can have the key."""
        while place < len(self._first) and self._first[place] == first:
            if self._sorted["key"][place, 1] == second:
                return tuple(self._sorted["values"][place].tolist())
            place += 1
        return None

    def _append(self, data: bytes) -> None:
        """Write whole records to the end of our file; a torn one stays the last of its file."""
        if self._handle is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            self._own = f"{self._own.rpartition('-')[0]}-{secrets.token_hex(4)}{SUFFIX}"
            self._handle = os.open(self.folder / self._own, flags, 0o664)
        written = os.write(self._handle, data)
        if written < len(data):
            os.close(self._handle)
            self._handle = None
            whole = written - written % RECORD.itemsize
            self._append(data[whole:])  # to another file: a full disk raises here

    def _new_in(self, entry: os.DirEntry[str]) -> Records:
        """Return the sound records of a file that were not read yet."""
        start = self._read.get(entry.name, 0)
        size = os.stat(entry.path).st_size // RECORD.itemsize * RECORD.itemsize
        if size <= start:
            return np.empty(0, RECORD)
        count = (size - start) // RECORD.itemsize
        with open(entry.path, "rb") as handle:
            handle.seek(start)
            found = np.frombuffer(handle.read(count * RECORD.itemsize), dtype=RECORD)
        self._read[entry.name] = size
        is_sound = found["check"] == _check_of(found)
        bad = int(np.count_nonzero(~is_sound))
        if bad:
            self.num_damaged += bad
            log.warning("%s: %d damaged judgements are passed over.", entry.path, bad)
        return found[is_sound]

    def _sort_in(self, parts: Sequence[Records]) -> None:
        recent = np.zeros(len(self._recent), RECORD)
        if self._recent:
            recent["key"] = np.frombuffer(b"".join(self._recent), dtype="<u8").reshape(-1, 2)
            recent["values"] = list(self._recent.values())
        merged = np.concatenate([self._sorted, recent, *parts])
        order = np.argsort(merged["key"][:, 0], kind="stable")
        self._sorted = merged[order]
        self._first = np.ascontiguousarray(self._sorted["key"][:, 0])
        self._recent = {}


def _check_of(records: Records) -> NDArray[np.uint64]:
    """Return the check sums of records, vectorised: products and a sum modulo 2^64."""
    words = np.ascontiguousarray(records).view("<u8").reshape(len(records), -1)[:, :-1]
    mixed = (words ^ (words >> np.uint64(29))) * FACTORS
    return (mixed ^ (mixed >> np.uint64(32))).sum(axis=1, dtype=np.uint64) + OFFSET
