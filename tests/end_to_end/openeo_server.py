"""A real openEO API server (openeo_driver with its dummy back-end), started in a virtual environment of its own.

Run as ``python openeo_server.py PORT COLLECTIONS.json``; the file holds ``{collection id: [band names]}``. It validates
process graphs by a dry run through the driver's own processes, and computes no rasters.
"""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

# the dummy configuration accepts the user name "user" with the password "USER!!!" (any vowel first: name + "123")
os.environ["OPENEO_BACKEND_CONFIG"] = str(Path(find_spec("openeo_driver").origin).parent / "dummy" / "dummy_config.py")

from openeo_driver.dummy.dummy_backend import DummyBackendImplementation
from openeo_driver.views import build_app


def collection(name: str, bands: list[str]) -> dict:
    """Metadata of a collection on automatic UTM zones at 10 m."""
    return {
        "id": name,
        "license": "free",
        "extent": {"spatial": {"bbox": [[-180, -56, 180, 83]]}, "temporal": {"interval": [["2014-01-01", None]]}},
        "cube:dimensions": {
            "x": {"type": "spatial", "axis": "x", "extent": [-180, 180], "step": 10, "reference_system": "AUTO:42001"},
            "y": {"type": "spatial", "axis": "y", "extent": [-56, 83], "step": 10, "reference_system": "AUTO:42001"},
            "t": {"type": "temporal", "extent": ["2014-01-01", None]},
            "bands": {"type": "bands", "values": bands},
        },
        "summaries": {"eo:bands": [{"name": b} for b in bands], "bands": [{"name": b} for b in bands]},
        "links": [],
    }


def main(port: int, collections_file: str) -> None:
    """Serve until killed."""
    with open(collections_file, encoding="utf-8") as stream:
        wanted = json.load(stream)
    backend = DummyBackendImplementation()
    backend.catalog._catalog.update({name: collection(name, bands) for name, bands in wanted.items()})
    app = build_app(backend_implementation=backend)
    app.run(host="127.0.0.1", port=port, threaded=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
