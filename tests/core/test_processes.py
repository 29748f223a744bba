"""Which process of a stage this is, and how several put their work together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from activeuf_core.processes import Processes, current, gather, wait

SCRIPT = """
import json, sys
from activeuf_core import processes
ours = processes.current()
there = processes.gather({"rank": ours.rank, "rows": ours.share(list(range(5)))})
processes.wait()
if ours.is_first:
    open(sys.argv[1], "w").write(json.dumps(there))
processes.part()  # threads of a rendezvous that outlives its process abort it
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Processes(0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, Processes(3, 8)),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, Processes(3, 8, nodes=2)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, Processes(0, 1)),  # not introduced
    ],
)
def test_the_starter_says_which_process_this_is(
    environment: dict[str, str], expected: Processes
) -> None:
    assert current(environment) == expected


def test_shares_cover_every_item_once() -> None:
    shares = [Processes(rank, 3).share("abcdefgh") for rank in range(3)]
    assert shares == [["a", "d", "g"], ["b", "e", "h"], ["c", "f"]]


def test_one_process_gathers_its_own_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)  # an import would fail
    wait()
    assert gather(7) == [7]


def test_two_processes_gather_by_rank(tmp_path: Path) -> None:
    script = tmp_path / "shares.py"
    script.write_text(SCRIPT)
    found = tmp_path / "found.json"
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    subprocess.run([sys.executable, *launch, script, found], check=True, timeout=120)
    rows = [{"rank": 0, "rows": [0, 2, 4]}, {"rank": 1, "rows": [1, 3]}]
    assert json.loads(found.read_text()) == rows
