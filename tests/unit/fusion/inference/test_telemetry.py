"""No dependency writes an identifier or reports use: each way to the runtime, with a home folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factory import mock_model, write_cube
from tests.unit.udf.raw_scene import write_raw

ROOT = Path(__file__).parents[4]
UDF = """
import types
import xarray as xr
module = types.ModuleType("user_code")
exec(compile(open("udf/dist/fusion_udf.py").read(), "fusion_udf.py", "exec"), module.__dict__)
cube = xr.open_dataarray(r"{cube}", decode_coords="all").drop_vars("spatial_ref")
context = {{"start": "2019-03-01", "end": "2019-06-24", "model_dir": r"{model}", "s1_units": "dB"}}
assert module.apply_datacube(cube, context).sizes["t"] > 10
"""
WAYS = {
    "predict": ["-m", "fusion", "predict", "cube={cube}", "out={out}", "model={model}", "threads=1"],
    "fuse": [
        "-c",
        "import fusion, xarray as xr; cube = xr.open_dataarray(r'{cube}', decode_coords='all');"
        "fusion.fuse(cube, start='2019-03-01', end='2019-06-24', model=r'{model}', threads=1)",
    ],
    "udf": ["-c", UDF],
    "graph": ["-m", "fusion", "workflow", "target=local", "source={raw}", "model={model}", "out={out}.graph",
              "start=2019-03-01", "end=2019-06-24", "output=fused"],
    "openeo": [
        "-c",
        "from data_prep.sources.openeo_graphs import download_graph as g; import datetime as d;"
        "assert g('cdse', 's1', (5.0, 51.0, 5.1, 51.1), d.date(2021, 1, 1), d.date(2021, 2, 1))",
    ],
    "stac": [
        "-c",
        "import odc.stac, pystac, pystac_client, data_prep.sources.stac;"
        "assert pystac.Catalog('a', 'b').to_dict(include_self_link=False)['id'] == 'a'",
    ],
    "mlflow": [
        "-c",
        "import fusion, mlflow; from mlflow.telemetry.utils import is_telemetry_disabled as off; assert off()",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("telemetry")
    model, raw = mock_model(folder / "model", 1), write_raw(folder / "raw", height=12, width=12, n_s2=20)
    return {"cube": write_cube(folder / "cube.nc"), "model": model, "raw": raw, "out": folder / "f.nc"}


@pytest.mark.parametrize("way", WAYS)
def test_a_fresh_home_folder_stays_empty(way, places, tmp_path):
    """onnxruntime 1.32 keeps a device id and a store of events to send below the home folder unless told not to."""
    kept = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT", "LD_LIBRARY_PATH")
    environment = {key: os.environ[key] for key in kept if key in os.environ}
    environment |= {"HOME": str(tmp_path), "MPLCONFIGDIR": str(places["cube"].parent / "mpl"), "OMP_NUM_THREADS": "1"}
    words = [word.format(**places) for word in WAYS[way]]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == []
