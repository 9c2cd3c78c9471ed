"""Both UDFs inside the Python code of openEO's GeoPySpark back-end, in an environment of its own, without its JVM."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bench_udf import lay_out
from fusion.contract import FUSED_BANDS
from udf.archive import ArchiveError
from udf.commands.package import PackageSettings
from udf.graph_options import WorkflowOptions
from udf.season_chunk import season_bands
from udf.targets import load_target
from udf.workflow import build_workflow

GEOPYSPARK_PYTHON = "NDVI_FUSION_GEOPYSPARK_PYTHON"  # a Python with openeogeotrellis; without it the test installs one
DRIVER = ["openeo_driver==0.136.0a4", "openeo<0.53", "geopyspark-openeo", "pyspark", "numpy<2", "rasterio", "scipy"]
DRIVER += ["epsel", "kazoo"]
UNPINNED = [
    "openeo-geopyspark==0.72.0a1",
    "pystac==1.11.0",
    "pystac-client==0.8.6",
]  # openeo_driver pins an older pystac
PERIOD = {"start": "2019-01-01", "end": "2019-12-31"}
DATES = [str(np.datetime64("2019-01-01") + 5 * k) for k in range(73)]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python with the back-end's code. The driver is installed without its own pins, which the index cannot meet."""
    if os.environ.get(GEOPYSPARK_PYTHON):
        return os.environ[GEOPYSPARK_PYTHON]
    folder = tmp_path_factory.mktemp("geopyspark") / "venv"
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--pre"]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, timeout=300)
        subprocess.run([*pip[:-1], *DRIVER], check=True, capture_output=True, timeout=1800)
        subprocess.run([*pip, "--no-deps", *UNPINNED], check=True, capture_output=True, timeout=600)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(
            f"openeo-geopyspark cannot be installed here ({type(error).__name__}); "
            f"set {GEOPYSPARK_PYTHON} to a Python with it"
        )
    return str(folder / "bin" / "python")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory as in a batch job."""
    try:
        return lay_out(tmp_path_factory.mktemp("job"), PackageSettings.model_fields["onnxruntime"].default)
    except ArchiveError as error:
        pytest.skip(f"the wheels of onnxruntime cannot be downloaded here: {error}")


def answer(python: str, job: Path, output: str = "seasons", **changes: object) -> dict:
    """What the back-end's code makes of a workflow's graph."""
    options = WorkflowOptions(**PERIOD, output=output, window_px=16, overlap_px=4, latitude=51.0)
    graph = json.loads(json.dumps(build_workflow(load_target("cdse"), options).flat_graph()))
    request = {"graph": graph, "pixels": 24, "tiles": 3, "labels": True, "time_steps": [80, 78, 90]}
    request |= {"context": {"s1_units": "dB"}, **changes}
    (job / "request.json").write_text(json.dumps(request), encoding="utf-8")
    script = Path(__file__).with_name("geopyspark_chunks.py")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-W", "ignore", str(script), "request.json"], cwd=job, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    log = job / "openeo_python.log"  # the back-end's code sends exceptions there
    assert done.returncode == 0, done.stderr[-3000:] + (log.read_text()[-3000:] if log.exists() else "")
    return json.loads(done.stdout.splitlines()[-1])


def test_fused_tiles_go_back_with_bands_dates_and_shape(python: str, job: Path) -> None:
    """T varies from tile to tile, Spark gives no order; the labels of the result are the same in every tile."""
    found = answer(python, job, output="fused")["fused"]
    assert found["bands"] == list(FUSED_BANDS)
    assert found["metadata"] == "GeopysparkCubeMetadata"
    assert len(found["tiles"]) == 3
    for tile in found["tiles"].values():
        assert tile["dates"] == DATES
        assert tile["shapes"] == ["(2, 24, 24)"]
        assert tile["seen"] == pytest.approx((16 / 24) ** 2)  # the overlap, which the back-end cuts, is not computed
        assert 0.3 < tile["first_band"] < 0.7


def test_season_maps_go_back_with_their_bands(python: str, job: Path) -> None:
    found = answer(python, job)["phenology"]
    bands = season_bands({}, [])
    assert found["bands"] == list(bands)
    for tile in found["tiles"].values():
        assert tile["dates"] == ["2019-01-01"]
        assert tile["shapes"] == [f"({len(bands)}, 24, 24)"]
        assert 50 < tile["first_band"] < 200  # SOSD of a season that peaks in July


def test_smoothed_series_goes_back_daily(python: str, job: Path) -> None:
    found = answer(python, job, output="smoothed")["phenology"]
    assert found["bands"] == ["NDVI"]
    for tile in found["tiles"].values():
        assert len(tile["dates"]) == 361 and len(set(tile["dates"])) == 361  # 1 January to 27 December


def test_tiles_without_band_labels_need_their_order(python: str, job: Path) -> None:
    context = {"s1_units": "dB", "band_order": ["S2NDVI", "VV", "VH", "COARSE_NDVI"]}
    found = answer(python, job, output="fused", labels=False, context=context)["fused"]
    assert found["bands"] is None
    assert {tuple(t["shapes"]) for t in found["tiles"].values()} == {("(2, 24, 24)",)}
