"""`python -m fusion` is `ndvi-fusion`."""

import os
import sys
from pathlib import Path

# Python puts the working folder first on the path: a file udf.py or numpy.py of the user would be imported instead of
# the package. Not so the installed script, and not so here, unless the package itself lies in that folder.
if sys.path and sys.path[0] in ("", os.getcwd()) and Path(__file__).resolve().parents[1] != Path.cwd().resolve():
    del sys.path[0]

from fusion.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
