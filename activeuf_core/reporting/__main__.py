"""Command line of the stage that reports scores."""

import sys

from activeuf_core.stage import main

if __name__ == "__main__":
    sys.exit(
        main(
            {
                "scores": "activeuf_core.reporting.scores:run",
                "leaderboard": "activeuf_core.reporting.leaderboard:run",
            }
        )
    )
