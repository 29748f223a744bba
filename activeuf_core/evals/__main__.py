"""Command line of the stage that scores trained models on benchmarks."""

import sys

from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.stage import main

RUNS = {
    "dpo_model": "activeuf_core.evals.harness:run",
    "reward_model": "activeuf_core.evals.rewardbench:run",
}

if __name__ == "__main__":
    sys.exit(main({row.asset: RUNS[row.model] for row in BENCHMARKS}))
