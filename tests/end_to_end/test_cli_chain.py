"""The whole chain in miniature through the real command line, each command a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from fusion.contract import COARSE_NDVI, NDVI, NDVI_SIGMA, S2NDVI, VH, VV
from fusion.data.cube_files import open_dataset, read_cube
from fusion.data.store import PatchStore

SIZE = 32
SCENE = [f"++scene.height={SIZE}", f"++scene.width={SIZE}", "++scene.n_days=420"]
CALENDAR = ["++scene.first_year=2018", "++scene.last_year=2018", "++scene.start_day=[330,330]"]
START, END = "2019-01-01", "2019-12-31"


def ndvi_fusion(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in ``folder``; its exit code must be ``code`` and nothing may look like a crash."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "fusion", *words],
        cwd=folder, capture_output=True, text=True, timeout=600, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything up to the fused series, made by the commands a user would type."""
    folder = tmp_path_factory.mktemp("chain")
    ndvi_fusion(folder, "simulate", "out=scene", "seed=11", *SCENE, *CALENDAR)
    ndvi_fusion(  # as the graph, which neither levels passes nor looks for an offset
        folder, "cube", "input=scene", "out=cube.nc", "radar.orbit_offset=none", "radar.satellite_steps=off",
        "source.s2_offset_dn=0",
    )  # fmt: skip
    ndvi_fusion(
        folder, "patches", "out=patches.zarr", "source.count=10", "workers=0", "cut.patch_px=24", "cut.window_days=240",
        "source.scene.height=24", "source.scene.width=24", "source.scene.n_days=240", "split.train=0.4",
        "split.calibration=0.3",
    )  # fmt: skip
    ndvi_fusion(
        folder, "train", "store=patches.zarr", "out=training", "tracking.uri=sqlite:///mlflow.db", "batch_size=2",
        "samples.steps=24", "samples.crop_px=8", "samples.crops_a_side=2", "samples.scenes_in_memory=2",
        "samples.crops_in_memory=8", "generator.width=8", "optimiser.max_steps=3", "workers=0", "threads=1",
        "validate_every=2", "checkpoint_every=2", "validation_batches=1", "calibration_batches=2", "progress=false",
    )  # fmt: skip
    ndvi_fusion(folder, "export", "checkpoint=training/generator.pt", "out=model")
    ndvi_fusion(folder, "predict", "cube=cube.nc", "out=ndvi.nc", "model=model", f"start={START}", f"end={END}")
    return folder


def test_cube_holds_every_sensor(chain: Path) -> None:
    cube = read_cube(chain / "cube.nc")
    assert [str(b) for b in cube.bands.values] == [S2NDVI, VV, VH, COARSE_NDVI]
    assert cube.sizes["y"] == cube.sizes["x"] == SIZE
    assert cube.attrs["s1_units"] == "dB" and cube.rio.crs is not None
    assert (np.diff(cube.y.values) < 0).all()
    with open_dataset(chain / "scene" / "truth.nc") as truth:
        same = np.intersect1d(cube.t.values, truth.t.values)
        error = np.abs(cube.sel(bands=S2NDVI, t=same).values - truth[NDVI].sel(t=same).values)
    assert 0 < np.nanmedian(error) < 0.1  # a noisy observation of the truth, not the truth


def test_store_is_valid_and_split(chain: Path) -> None:
    store = PatchStore.open(chain / "patches.zarr")
    assert len(store) == store.manifest["patches"] > 3
    assert {f["split"] for f in store.facts} >= {"train", "calibration"}
    assert ndvi_fusion(chain, "inspect", "store=patches.zarr").stdout.strip()


def test_training_left_what_is_needed(chain: Path) -> None:
    names = {p.name for p in (chain / "training").iterdir()}
    assert {"generator.pt", "last.ckpt", "settings.yaml", "model"} <= names
    assert (chain / "mlflow.db").is_file()
    manifest = json.loads((chain / "model" / "manifest.json").read_text())
    assert manifest["training"]["steps"] == 3


def test_fused_series_is_dense(chain: Path) -> None:
    fused = read_cube(chain / "ndvi.nc")
    assert [str(b) for b in fused.bands.values] == [NDVI, NDVI_SIGMA]
    assert fused.sizes["t"] == 73 and str(fused.t.values[0])[:10] == START
    assert np.isfinite(fused.values).all()
    assert (fused.sel(bands=NDVI_SIGMA).values > 0).all()
    assert fused.rio.crs == read_cube(chain / "cube.nc").rio.crs
    with open_dataset(chain / "scene" / "truth.nc") as truth:
        same = np.intersect1d(fused.t.values, truth.t.values)
        error = np.abs(fused.sel(bands=NDVI, t=same).values - truth[NDVI].sel(t=same).values)
    assert error.mean() < 0.15  # three steps of training: near linear interpolation, no better


def test_predict_writes_geotiff(chain: Path) -> None:
    words = ["predict", "cube=cube.nc", "out=ndvi.tif", f"start={START}", "end=2019-01-31"]
    assert "ndvi" in ndvi_fusion(chain, *words, "model=model").stdout
    with rasterio.open(chain / "ndvi.tif") as file:
        assert file.count == 7 and file.crs is not None


def test_phenology(chain: Path) -> None:
    ndvi_fusion(chain, "phenology", "cube=ndvi.nc", "out=seasons", "year=2019")
    with open_dataset(chain / "seasons" / "seasons.nc") as data:
        length = (data.EOSD - data.SOSD).values
    assert (length[np.isfinite(length)] > 0).all()
    assert list((chain / "seasons").glob("*.tif"))


def test_evaluate(chain: Path) -> None:
    ndvi_fusion(
        chain, "evaluate", "out=scores", "model=model", "scenes=1", "ablations=[]", "baselines=[linear]",
        "figures=false", "++truth.settings.height=24", "++truth.settings.width=24", "near_real_time.scenes=0",
        "phenology.scenes=0", "tracking.uri=sqlite:///mlflow.db",
    )  # fmt: skip
    scores = json.loads((chain / "scores" / "scores.json").read_text())
    rows = {row["predictor"]: row["mae"] for row in scores["tables"]["overall"]}
    assert set(rows) == {"model", "linear"}
    assert all(0 < mae < 0.5 for mae in rows.values())


def test_package(chain: Path) -> None:
    ndvi_fusion(chain, "package", "out=package", "model=model", "dependencies=false")
    names = {p.name for p in (chain / "package").iterdir()}
    assert {"fusion_udf.py", "phenology_udf.py", "ndvi_fusion_model.zip", "SHA256SUMS"} <= names


def test_workflow_equals_the_direct_calls(chain: Path) -> None:
    ndvi_fusion(
        chain, "workflow", "target=local", "source=scene", "out=graph", "model=model", f"start={START}", f"end={END}",
        "output=fused",
    )  # fmt: skip
    through, direct = read_cube(chain / "graph" / "openEO.nc"), read_cube(chain / "ndvi.nc")
    assert (through.t.values == direct.t.values).all()
    assert np.abs(through.sel(bands=NDVI).values - direct.sel(bands=NDVI).values).max() <= 1e-3
    assert (chain / "graph" / "process_graph.json").is_file()


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("predict", "cube=nowhere.nc", "out=x.nc"), 1, "nowhere.nc does not exist"),
        (("predict", "cube=cube.nc", "out=x.doc"), 2, "expected one of"),
        (("predict", "cube=cube.nc", "out=x.nc", "start=2020-01-01", "end=2019-01-01"), 2, "swap"),
        (("predict", "cube=cube.nc", "out=x.nc", "model=nowhere.onnx"), 1, "there is no model"),
        (("train", "out=t"), 2, "store"),
        (("cube", "input=scene", "out=cube.nc"), 1, "exists"),
        (("workflow", "target=local", "source=nowhere", "out=g"), 1, "is not a folder"),
        (("demo", "cube=nowhere"), 2, "does not exist"),
    ],
)
def test_bad_input_is_refused_in_words(chain: Path, words: tuple[str, ...], code: int, expected: str) -> None:
    before = {p for p in chain.rglob("*") if p.is_file()}
    done = ndvi_fusion(chain, *words, code=code)
    assert expected in done.stderr
    assert done.stderr.startswith("error: ") or "\nerror: " in done.stderr
    assert {p for p in chain.rglob("*") if p.is_file()} == before


def test_a_damaged_model_is_refused(chain: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "manifest.json"):
        (tmp_path / name).write_bytes((chain / "model" / name).read_bytes())
    damaged = bytearray((tmp_path / "model.onnx").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "model.onnx").write_bytes(bytes(damaged))
    done = ndvi_fusion(chain, "predict", "cube=cube.nc", f"out={tmp_path}/x.nc", f"model={tmp_path}", code=1)
    assert "sha256" in done.stderr.lower() or "hash" in done.stderr.lower()
    assert not (tmp_path / "x.nc").exists()
