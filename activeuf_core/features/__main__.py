"""Command line of the stage `features`."""

import sys

from activeuf_core.stage import main

if __name__ == "__main__":
    sys.exit(main({"features": "activeuf_core.features.extract:run"}))
