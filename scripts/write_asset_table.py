"""Writes the tables of docs/assets.md from the table of stages; `--check` says whether they are
current.

In: `activeuf_core.stages`, `activeuf_core.evals.benchmarks`. Out: docs/assets.md.
Command: `python scripts/write_asset_table.py [--check]`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.stages import STAGES

TARGET = Path(__file__).resolve().parent.parent / "docs" / "assets.md"
HEAD = """# Assets

Made by `python scripts/write_asset_table.py` from `activeuf_core/stages.py`; a test fails when it
is not current.
"""
PARTITIONS = {
    "dataset": "dataset",
    "member": "dataset--member",
    "experiment": "experiment",
    "none": "–",
}


def render() -> str:
    """Return the page."""
    lines = [HEAD, "| asset | partition | reads | made by | what it is |", "|---|---|---|---|---|"]
    for stage in STAGES:
        reads = (
            ", ".join(f"`{i.asset}`" + (" (optional)" if i.optional else "") for i in stage.inputs)
            or "–"
        )
        row = (
            f"`{stage.asset}`",
            PARTITIONS[stage.dimension],
            reads,
            f"`{stage.module}`",
            stage.description,
        )
        lines.append("| " + " | ".join(row) + " |")
    lines += ["", "## Checks", "", "A failed blocking check stops everything downstream.", ""]
    lines += ["| asset | check | what it says | blocking |", "|---|---|---|---|"]
    for stage in STAGES:
        for check in stage.checks:
            blocking = "yes" if check.blocking else ""
            lines.append(f"| `{stage.asset}` | `{check.name}` | {check.description} | {blocking} |")
    lines += [
        "",
        "## Benchmarks",
        "",
        "| benchmark | of | task | metric | better | in the mean | data | examples |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in BENCHMARKS:
        cells = (
            row.title + (" (optional)" if row.optional else ""),
            f"`{row.model}`",
            f"`{row.task}`",
            row.metric,
            "higher" if row.higher_is_better else "lower",
            "yes" if row.in_mean else "no",
            f"`{row.hub}`",
            str(row.num_fewshot),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description="Write docs/assets.md from the table of stages.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when the page is not current"
    )
    if parser.parse_args().check:
        return 0 if TARGET.read_text(encoding="utf-8") == render() else 1
    TARGET.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
