"""`python -m fusion` is `ndvi-fusion`."""

import sys

from fusion.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
