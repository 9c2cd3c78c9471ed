"""What engines other than this project's back-end make of its graph: the table "Which code ran what" of the docs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from openeo import UDF
from openeo.rest.datacube import DataCube

from fusion.cloud_mask import MASK_KERNELS, gaussian_kernel
from tests.unit.udf.raw_scene import write_raw
from udf.graph_radar import radar
from udf.graph_sensors import coarse_ndvi, masked_ndvi
from udf.local_backend import execute_graph
from udf.targets import load_target
from udf.workflow import CONTEXT_PARAMETER, WorkflowOptions, build_workflow, merged_cube

CORE_PYTHON = "NDVI_FUSION_OPENEO_CORE_PYTHON"  # a Python with openeo-core; without it the test installs one
SCRIPT = Path(__file__).with_name("engine_alone.py")
TARGET = load_target("local").model_copy(update={"s2_collection": "bands.nc", "scl_collection": "scl.nc"})
SEEN = """
import json
import xarray

def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    raise ValueError("SEEN " + json.dumps([list(map(str, cube.dims)), sorted(map(str, cube.coords)), sorted(context)]))
"""
SAME = """
import xarray

def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    return cube
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files of a fake scene; Sentinel-2 in one file, and its bands and classes in one each."""
    folder = write_raw(tmp_path_factory.mktemp("raw"), height=24, width=26, n_s2=12)
    with xr.open_dataset(folder / "s2.nc", decode_coords="all") as data:
        data[["B04", "B08"]].to_netcdf(folder / "bands.nc")
        data[["SCL"]].to_netcdf(folder / "scl.nc")
    return folder


def over_t(code: str, scene: Path) -> dict:
    """A UDF over t on red and near infrared; without ``version``, which that engine's ``run_udf`` does not take."""
    cube = loaded(scene, "bands.nc").apply_dimension(
        process=UDF(code, runtime="Python", context=CONTEXT_PARAMETER), dimension="t", context={"key": 1}
    )
    return flat(cube)


def loaded(scene: Path, name: str, **extents: object) -> DataCube:
    return DataCube.load_collection(str(scene / name), connection=None, fetch_metadata=False, **extents)


def flat(cube: object) -> dict:
    return json.loads(json.dumps(cube.flat_graph()))


def answers(python: str, engine: str, request: dict, folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """What an engine said of each step, and its values."""
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-W", "ignore", str(SCRIPT), engine, str(folder / "request.json"), str(folder / "out.npz")],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "out.npz") as saved:
        return json.loads(done.stdout.splitlines()[-1]), dict(saved)


def options(scene: Path) -> WorkflowOptions:
    return WorkflowOptions("2019-01-01", "2019-06-30", source=scene, output="fused", latitude=51.0)


def test_openeos_client_without_our_additions(scene: Path, tmp_path: Path) -> None:
    """Up to the merge it gives our cubes, where each file holds the requested bands alone; then it stops."""
    period = options(scene)
    ndvi = masked_ndvi(TARGET, period)
    steps = {"masked": ndvi, "radar": radar(TARGET, period, ndvi), "coarse": coarse_ndvi(TARGET, period, ndvi)}
    older = loaded(scene, "bands.nc").apply_dimension(
        process=UDF(SAME, runtime="Python", version="3.11"), dimension="t"
    )
    graphs = {
        "bands": flat(loaded(scene, "s2.nc", bands=["B08"])),
        "dates": flat(loaded(scene, "bands.nc", temporal_extent=["2019-02-01", "2019-03-01"])),
        "merge": flat(merged_cube(TARGET, period)),
        "save": flat(loaded(scene, "bands.nc").save_result(format="NetCDF")),
        "windows": flat(build_workflow(TARGET, period, save=False)),
        "version": flat(older), "seen": over_t(SEEN, scene), "same": over_t(SAME, scene),
        **{name: flat(cube) for name, cube in steps.items()},
    }  # fmt: skip
    said, values = answers(sys.executable, "client", {"graphs": graphs}, tmp_path)
    for name, cube in steps.items():
        mine = execute_graph(cube).compute()
        other = xr.DataArray(values[name], dims=said[name]["dims"]).transpose(*mine.dims).values
        np.testing.assert_allclose(other, mine.values, atol=1e-6, err_msg=name)
    assert said["bands"]["labels"]["bands"] == ["B04", "B08", "SCL"], "bands are not selected"
    assert said["dates"]["shape"] == [2, 12, 24, 26], "dates are not selected"
    assert "OverlapResolverMissing" in said["merge"]["error"]
    assert "save_result not found" in said["save"]["error"]
    assert "apply_neighborhood not found" in said["windows"]["error"]
    assert "unexpected keyword argument 'version'" in said["version"]["error"]
    assert said["seen"]["error"].endswith('SEEN [["dim_0", "dim_1", "dim_2", "dim_3"], [], ["key"]]')
    assert "t" in said["same"]["dims"] and "t" not in said["same"]["labels"], "dates are lost"


@pytest.fixture(scope="module")
def core_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python with openeo-core, in an environment of its own."""
    if os.environ.get(CORE_PYTHON):
        return os.environ[CORE_PYTHON]
    python = tmp_path_factory.mktemp("core") / "venv" / "bin" / "python"
    try:
        subprocess.run(
            [sys.executable, "-m", "venv", str(python.parents[1])], check=True, capture_output=True, timeout=300
        )
        packages = ["openeo-core==0.3.0", "netcdf4"]
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", *packages], check=True, capture_output=True, timeout=1800
        )
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(
            f"openeo-core cannot be installed here ({type(error).__name__}); set {CORE_PYTHON} to a Python with it"
        )
    return str(python)


def test_openeo_core_masks_the_same_pixels(core_python: str, scene: Path, tmp_path: Path) -> None:
    kernels = [
        {
            "classes": list(kernel.classes), "inside": not kernel.flags_others, "threshold": kernel.threshold,
            "weights": gaussian_kernel(kernel.size_px(10.0)).tolist(),
        }
        for kernel in MASK_KERNELS
    ]  # fmt: skip
    _, values = answers(core_python, "core", {"s2": str(scene / "s2.nc"), "kernels": kernels}, tmp_path)
    mine = execute_graph(masked_ndvi(TARGET, options(scene))).compute().sel(bands="S2NDVI").transpose("t", "y", "x")
    assert 0.05 < float(mine.isnull().mean()) < 0.95
    np.testing.assert_allclose(values["masked"], mine.values, atol=1e-6)
