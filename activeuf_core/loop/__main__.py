"""Command line of the stage `preference_dataset`: `python -m activeuf_core.loop`."""

import sys

from activeuf_core.stage import main

if __name__ == "__main__":
    sys.exit(main({"preference_dataset": "activeuf_core.loop.run:run"}))
