"""Command line of the stage: `python -m activeuf_core.training --config job.json --run-dir DIR`."""

import sys

from activeuf_core.stage import main

if __name__ == "__main__":
    runs = {
        "dpo_model": "activeuf_core.training.dpo:run",
        "reward_model": "activeuf_core.training.reward_model:run",
    }
    sys.exit(main(runs))
