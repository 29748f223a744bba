"""Installs the locked packages into the environment that runs it, and says how far it is.

In: `requirements.lock`. Out: the packages, this checkout as an editable package, pip's own words in
`<environment>/install.log`; when pip fails, the end of that log is shown.
Cost: about two minutes on two cores and 3 GB of disk, most of it torch. Standard library only:
nothing else is there yet.
Command: `make setup`.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "requirements.lock"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
POLL_S = 0.5
SAY_EVERY_S = 10.0
TAIL_LINES = 20
INDEX_CHATTER = "WARNING: Location"
"""pip repeats this for every package where its settings name a folder that is not there."""


def main() -> int:
    """Install the lock, then the project; return pip's exit status."""
    log = Path(sys.prefix) / "install.log"
    log.unlink(missing_ok=True)
    total = sum(1 for line in LOCK.read_text(encoding="utf-8").splitlines() if "==" in line)
    say(f"installing {total} packages; a few minutes the first time")
    quiet = ("--progress-bar", "off", "--no-warn-script-location")
    status = run([*PIP, "install", *quiet, "--no-compile", "-r", str(LOCK)], log, total)
    if status == 0:
        compile_packages(log)
        # The build backend is a locked package: an isolated build would fetch another one.
        editable = ("--no-deps", "--no-build-isolation", "--editable", str(PROJECT))
        status = run([*PIP, "install", *quiet, *editable], log, 0)
    if status != 0:
        say(f"pip failed. The end of {log}:")
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if not line.startswith(INDEX_CHATTER)]
        sys.stdout.write("\n".join(kept[-TAIL_LINES:]) + "\n")
    return status


def run(command: Sequence[str], log: Path, total: int) -> int:
    """Run pip with its output in `log`, showing its progress; return its exit status."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    shown, said = "", time.monotonic()
    while process.poll() is None:
        time.sleep(POLL_S)
        now = progress(log, total) if total else ""
        if now != shown and time.monotonic() - said >= SAY_EVERY_S:
            say(now)
            shown, said = now, time.monotonic()
    return process.returncode


def compile_packages(log: Path) -> None:
    """Write the byte code of all packages, on every core; pip would do it on one.

    Leaving it to the first import would do where Python may write byte code; where it may not,
    every stage would compile torch anew. Files that do not compile are other packages' templates
    and test cases.
    """
    say("compiling them")
    with log.open("ab") as output:
        command = [sys.executable, "-m", "compileall", "-qq", "-j", "0", str(packages_folder())]
        subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)


def packages_folder() -> Path:
    """Return the environment's site-packages."""
    return Path(sysconfig.get_paths()["purelib"])


def progress(log: Path, total: int) -> str:
    """Say how many packages are fetched or, once that is done, installed.

    pip is silent while it installs, for a minute or more: the packages that are there are
    counted instead.
    """
    text = log.read_text(encoding="utf-8", errors="replace")
    if "\nInstalling collected packages" not in text:
        lines = text.splitlines()
        fetched = sum(line.startswith(("Collecting ", "Requirement already")) for line in lines)
        return f"{min(fetched, total)} of {total} packages fetched"
    installed = len(list(packages_folder().glob("*.dist-info")))
    return f"{min(installed, total)} of {total} packages installed"


def say(text: str) -> None:
    """Write one line at once."""
    sys.stdout.write(f"setup: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
