"""The lock of the stages' code: what it holds, and its text.

In and out: `code.lock`, a TOML file that people review and a program writes.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from activeuf_core.code_slice import Slice
from activeuf_core.errors import ConfigError

LOCK_NAME = "code.lock"
COMMAND = "python -m activeuf_core.code_identity"
HEADER = f"""\
# Which code every stage's results were made with. Guarded by a test; see docs/code-identity.md.
# Written by `{COMMAND}`, never by hand.
# [stages]: version, digest of all its code, and the changes since that version that people accepted
# as equivalent. [code]: a digest per definition, to name what changed.

"""


@dataclass(frozen=True)
class Entry:
    """What the lock says of one stage."""

    version: str
    digest: str
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lock:
    """The lock: an entry per stage, and a digest of every definition that a stage uses."""

    stages: Mapping[str, Entry] = field(default_factory=dict)
    code: Slice = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Lock:
        """Read a lock file. Raises: ConfigError when it is missing or damaged."""
        try:
            body = tomllib.loads(path.read_text(encoding="utf-8"))
            stages = {
                asset: Entry(row["version"], row["digest"], tuple(row["accepted"]))
                for asset, row in body["stages"].items()
            }
        except FileNotFoundError:
            raise ConfigError(f"{path}: is missing. Make it: {COMMAND} init") from None
        except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: is damaged ({error!r}). Take it from git.") from error
        rows = body.get("code", {}).items()
        return cls(
            stages, {(file, name): value for file, names in rows for name, value in names.items()}
        )

    def text(self) -> str:
        """Return the content of the lock file."""
        return HEADER + "\n".join([*self._stage_lines(), *self._code_lines()])

    def _stage_lines(self) -> Iterator[str]:
        for asset, entry in self.stages.items():
            yield f"[stages.{asset}]"
            yield f"version = {_quoted(entry.version)}"
            yield f"digest = {_quoted(entry.digest)}"
            lines = "".join(f"\n    {_quoted(line)}," for line in entry.accepted)
            yield f"accepted = [{lines}\n]\n" if lines else "accepted = []\n"

    def _code_lines(self) -> Iterator[str]:
        previous = ""
        for (file, name), digest in sorted(self.code.items()):
            if file != previous:
                yield f"\n[code.{_quoted(file)}]" if previous else f"[code.{_quoted(file)}]"
            yield f"{_quoted(name)} = {_quoted(digest)}"
            previous = file
        yield ""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
