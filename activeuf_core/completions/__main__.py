"""Command line of the stage `completions`."""

import sys

from activeuf_core.stage import main

if __name__ == "__main__":
    sys.exit(main({"completions": "activeuf_core.completions.answer:run"}))
