"""The scheduler's commands with a say in between: every call is counted, and any may lie or hang.

In: a folder that stands first on PATH. Out: a script per command, which runs the lines of
`<command>.fault` when there are some, and the real command otherwise. A fault's lines touch
`<command>.fired` when it strikes; that file is the proof.
"""

from __future__ import annotations

from pathlib import Path

COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")
SCRIPT = """#!/bin/bash
here={folder}
printf '%s\\n' {name} >> "$here/calls"
PATH=${{PATH//"$here:"/}}
given=("$@")
fired() {{ : > "$here/{name}.fired"; }}
once() {{ mkdir "$here/{name}.once" 2> /dev/null || exec {name} "${{given[@]}}"; fired; }}
if [[ -e "$here/{name}.fault" ]]; then . "$here/{name}.fault"; fi
exec {name} "$@"
"""


class Commands:
    """The commands in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in COMMANDS:
            path = folder / name
            path.write_text(SCRIPT.format(folder=folder, name=name))
            path.chmod(0o755)

    def disturb(self, command: str, lines: str) -> None:
        """From now on a command runs these lines of bash first."""
        partial = self.folder / f".{command}"
        partial.write_text(lines + "\n")
        partial.replace(self.folder / f"{command}.fault")

    def mend(self, command: str) -> None:
        """Let a command work again."""
        (self.folder / f"{command}.fault").unlink()

    def has_fired(self, command: str) -> bool:
        """Whether a command's fault struck."""
        return (self.folder / f"{command}.fired").exists()

    def calls(self, command: str) -> int:
        """Return how often a command was called."""
        path = self.folder / "calls"
        return path.read_text().split().count(command) if path.exists() else 0
