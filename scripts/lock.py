"""Writes `requirements.lock`: the exact version of every package that the project's extras pull in.

In: `pyproject.toml`, and the standing lock as constraints, so that only what must move moves.
Out: the lock.
Cost: about a minute, most of it reading metadata from the package index; nothing is installed.
Command: `make lock`, or `make lock UPGRADE=1` to take the newest version of everything that
`pyproject.toml` leaves open.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "requirements.lock"
EXTRAS = "dagster,postgres,train,dev"
ACCELERATOR = re.compile(r"(nvidia|cuda|pytorch-triton|triton|intel-cmplr|rocm)(-|$)")
"""Packages that belong to one build of torch and are its own business."""
HEADER = """\
# Every package of the development environment with its exact version.
# Installed by `make setup`; written by `make lock`, never by hand.
# There are no hashes and no index addresses, and torch has no local suffix (+cpu, +cu128): which
# build of torch a machine gets, and the accelerator packages that come with it, is decided by that
# machine's pip settings.
"""


def main() -> int:
    """Resolve the project's requirements and write the lock; return pip's exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--upgrade", action="store_true", help="do not hold on to the locked versions"
    )
    upgrade = parser.parse_args().upgrade
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--dry-run", "--ignore-installed", "--report", "-"]
    if LOCK.exists() and not upgrade:
        command += ["--constraint", str(LOCK)]
    done = subprocess.run(
        [*command, f"{PROJECT}[{EXTRAS}]"], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.stderr.write(
            "The requirements could not be resolved; pip says why above. When pyproject.toml "
            "asks for another version than the lock holds, run `make lock UPGRADE=1`.\n"
        )
        return done.returncode
    pins = pins_of(json.loads(done.stdout)["install"])
    LOCK.write_text(HEADER + "".join(f"{pin}\n" for pin in pins), encoding="utf-8")
    sys.stdout.write(f"{LOCK.name}: {len(pins)} packages\n")
    return 0


def pins_of(installs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return `name==version` for every package of pip's report but the project itself, sorted."""
    pins = []
    for item in installs:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        version = item["metadata"]["version"].partition("+")[0]
        if name != "activeuf" and not ACCELERATOR.match(name):
            pins.append(f"{name}=={version}")
    return sorted(pins)


if __name__ == "__main__":
    sys.exit(main())
