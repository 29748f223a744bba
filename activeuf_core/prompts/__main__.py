"""Command line of the stage `prompts`."""

import sys

from activeuf_core.stage import main

if __name__ == "__main__":
    sys.exit(main({"prompts": "activeuf_core.prompts.read:run"}))
