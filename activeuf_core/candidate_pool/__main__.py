"""Command line of the stage `candidate_pool`."""

import sys

from activeuf_core.stage import main

if __name__ == "__main__":
    sys.exit(main({"candidate_pool": "activeuf_core.candidate_pool.join:run"}))
