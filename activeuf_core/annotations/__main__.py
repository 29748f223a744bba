"""Command line of the stage `annotations`."""

import sys

from activeuf_core.stage import main

if __name__ == "__main__":
    sys.exit(main({"annotations": "activeuf_core.annotations.judge:run"}))
