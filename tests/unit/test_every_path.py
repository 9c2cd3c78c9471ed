"""Numbers that no sensor measured, by every path that reads a merged cube or raw data: as if they were missing."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import fusion
from data_prep.commands.patches import PatchesSettings
from data_prep.commands.patches import run as make_patches
from data_prep.cube import PrepareSettings, build_cube, open_cube
from data_prep.optical import OpticalSettings
from data_prep.patches import CubePatches, CutSettings
from data_prep.sources.openeo import OpenEOSource, read_area
from data_prep.split import SplitSettings
from fusion.cli.app import main
from fusion.contract import NDVI, S2NDVI, VH, VV
from fusion.data.cube_files import read_cube, write_cube
from fusion.data.store import PatchStore
from tests.factory import CRS, mock_cube
from tests.unit.data_prep.test_stac import SIDE, catalogue, sentinel2  # noqa: F401
from tests.unit.udf.fakes import fake_model, fusion_context, run_udf
from tests.unit.udf.raw_scene import write_raw
from udf.local_backend import execute_graph
from udf.targets import load_target
from udf.workflow import WorkflowOptions, merged_cube

WRONG = {
    "fill": {S2NDVI: -9999.0, VV: -32768.0, "raw": 65535.0},
    "infinite": {S2NDVI: np.inf, VV: -np.inf, "raw": np.inf},
    "out of range": {S2NDVI: 1.6, VV: 1000.0, "raw": 7.5},  # neither dB nor power
}
CLEAR = PrepareSettings(optical=OpticalSettings(mask="none"), registration={"check": "off"})
PERIOD = {"start": "2019-03-01", "end": "2019-06-30"}


def ndvi_series(cube: xr.DataArray) -> xr.DataArray:
    return cube.sel(bands=[S2NDVI])


def by_fuse(cube: xr.DataArray, folder: Path) -> object:
    return fusion.fuse(cube, **PERIOD, model=fake_model(folder / "m")).values


def by_seasons(cube: xr.DataArray, folder: Path) -> object:
    return fusion.seasons(ndvi_series(cube)).to_array().values


def by_fusion_udf(cube: xr.DataArray, folder: Path) -> object:
    return run_udf("fusion_udf", cube, fusion_context(fake_model(folder / "m"))).values


def by_phenology_udf(cube: xr.DataArray, folder: Path) -> object:
    return run_udf("phenology_udf", ndvi_series(cube), {"phenology": {"use_numba": False}}).values


def by_merged_cube(cube: xr.DataArray, folder: Path) -> object:
    return open_cube(write_cube(cube, folder / "c.nc")).values


def by_predict(cube: xr.DataArray, folder: Path) -> object:
    words = [f"cube={write_cube(cube, folder / 'c.nc')}", f"out={folder / 'o.nc'}", f"model={fake_model(folder / 'm')}"]
    assert main(["predict", *words, "threads=1"]) == 0
    return read_cube(folder / "o.nc").values


def by_phenology(cube: xr.DataArray, folder: Path) -> object:
    file = write_cube(ndvi_series(cube).assign_coords(bands=[NDVI]), folder / "c.nc")
    assert main(["phenology", f"cube={file}", f"out={folder / 'o'}", "maps=false"]) == 0
    return xr.open_dataset(folder / "o" / "seasons.nc")[["SOSD", "MAXD", "EOSD", "AMPL"]].to_array().values


def by_evaluate(cube: xr.DataArray, folder: Path) -> object:
    words = ["model=none", "baselines=[linear]", "leave_gap_out.min_clear=0.5", "leave_gap_out.edge_days=10"]
    file = write_cube(cube, folder / "c.nc")
    assert main(["evaluate", f"cube={file}", f"out={folder / 'o'}", *words, "tracking.enabled=false"]) == 0
    return json.dumps(json.loads((folder / "o" / "scores.json").read_text())["tables"])


def by_patches(cube: xr.DataArray, folder: Path) -> object:
    source = CubePatches(cubes=(str(write_cube(cube, folder / "area.nc")),))
    cut, split = CutSettings(patch_px=8, min_observations=2), SplitSettings(sites={"area": "train"})
    make_patches(PatchesSettings(source=source, out=folder / "p.zarr", cut=cut, split=split, workers=0))
    return PatchStore.open(folder / "p.zarr").content_hash()


PATHS: dict[str, Callable[[xr.DataArray, Path], object]] = {
    "merged cube": by_merged_cube, "fuse": by_fuse, "seasons": by_seasons, "fusion udf": by_fusion_udf,
    "phenology udf": by_phenology_udf, "predict": by_predict, "phenology": by_phenology, "evaluate": by_evaluate,
    "patches": by_patches,
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("path", PATHS)
def test_of_a_merged_cube(path: str, kind: str, tmp_path: Path) -> None:
    cube = mock_cube(t=74, y=8, x=8, cloud=0.2)
    results = []
    for name, values in (("bad", WRONG[kind]), ("missing", {S2NDVI: np.nan, VV: np.nan})):
        changed = cube.copy(deep=True)
        changed.loc[{"bands": S2NDVI}][20:23, 3, 2] = values[S2NDVI]
        changed.loc[{"bands": VV}][22, 5, 5:7] = values[VV]
        kept = changed.copy(deep=True)
        (tmp_path / name).mkdir()
        results.append(PATHS[path](changed, tmp_path / name))
        xr.testing.assert_identical(changed, kept)
    np.testing.assert_array_equal(*results)


def without_sign(cube: xr.DataArray) -> None:
    for band in (VV, VH):
        cube.loc[{"bands": band}] = -cube.sel(bands=band)


def swapped(cube: xr.DataArray) -> None:
    kept = cube.sel(bands=VV).copy(deep=True)
    cube.loc[{"bands": VV}] = cube.sel(bands=VH)
    cube.loc[{"bands": VH}] = kept


def one_image_of_power(cube: xr.DataArray) -> None:
    for band in (VV, VH):
        cube.loc[{"bands": band}][20] = 10 ** (cube.sel(bands=band)[20] / 10)


CONTRADICTIONS = {
    "without sign": (without_sign, "backscatter of land is below 0 dB"),
    "swapped": (swapped, "VH is the weaker one on land"),
    "one image of power": (one_image_of_power, "1 of 74 images, the first of 2019-06-09"),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
@pytest.mark.parametrize("path", ["merged cube", "fuse", "fusion udf", "predict"])
def test_radar_that_contradicts_itself(path: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    change, words = CONTRADICTIONS[kind]
    cube = mock_cube(t=74, y=8, x=8, cloud=0.2)
    change(cube)
    with pytest.raises((ValueError, AssertionError)) as refused:
        PATHS[path](cube, tmp_path)
    assert words in f"{refused.value} {capsys.readouterr().err}"


@pytest.mark.parametrize("path", ["merged cube", "fuse", "seasons", "fusion udf", "phenology udf"])
def test_ndvi_of_minus_1_among_others_is_missing(path: str, tmp_path: Path) -> None:
    results = []
    for name, value in (("bad", -1.0), ("missing", np.nan)):
        cube = mock_cube(t=74, y=8, x=8, cloud=0.2)
        cube.loc[{"bands": S2NDVI}][20:23, 3, 2] = value
        (tmp_path / name).mkdir()
        results.append(PATHS[path](cube, tmp_path / name))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("path", ["merged cube", "fuse", "seasons", "fusion udf", "phenology udf"])
def test_ndvi_plus_1_is_refused(path: str, tmp_path: Path) -> None:
    cube = mock_cube(t=74, y=8, x=8, cloud=0.2)
    cube.loc[{"bands": S2NDVI}] = cube.sel(bands=S2NDVI) + 1
    with pytest.raises(ValueError, match="S2NDVI lies above 1 on most pixels|lies above 1"):
        PATHS[path](cube, tmp_path)


def with_negative_red(cube: xr.DataArray) -> xr.DataArray:
    """NDVI of red that is below 0 on a quarter of the pixels: its offset was removed twice."""
    cube.loc[{"bands": S2NDVI}][:, :2] = cube.sel(bands=S2NDVI)[:, :2] * 0 + np.float32(1.02)
    return cube


@pytest.mark.parametrize("path", ["merged cube", "fuse", "fusion udf", "predict", "patches", "evaluate"])
def test_an_offset_that_was_removed_twice_is_refused(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((ValueError, AssertionError)) as refused:
        PATHS[path](with_negative_red(mock_cube(t=74, y=8, x=8, cloud=0.2)), tmp_path)
    assert "the offset of baseline 04.00 seems to be removed twice" in f"{refused.value} {capsys.readouterr().err}"


def test_the_graph_hands_the_offset_that_was_removed_twice_to_the_udf(tmp_path: Path) -> None:
    folder = write_raw(tmp_path / "raw", height=24, width=24, n_s2=12)
    data = xr.load_dataset(folder / "s2.nc", decode_coords="all")
    data["B04"] = data.B04.where(data.B04.isnull(), -0.01)  # dark red, less 0.1 once more
    data.to_netcdf(folder / "s2.nc")
    cube = by_graph(folder)
    with pytest.raises(ValueError, match="seems to be removed twice"):
        run_udf("fusion_udf", cube, fusion_context(fake_model(tmp_path / "m")))


@pytest.mark.parametrize("path", ["merged cube", "fuse"])
def test_ndvi_that_never_falls_is_said_to_be_perhaps_stretched(
    path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, stretched in (("right", False), ("stretched", True)):
        cube = mock_cube(t=74, y=8, x=8, cloud=0.2)
        if stretched:
            cube.loc[{"bands": S2NDVI}] = (cube.sel(bands=S2NDVI) + 1) / 2
        caplog.clear()
        (tmp_path / name).mkdir()
        PATHS[path](cube, tmp_path / name)
        assert ("as (NDVI + 1) / 2 does" in caplog.text) == stretched


def by_files(folder: Path) -> xr.DataArray:
    return open_cube(folder, CLEAR)


def by_openeo(folder: Path) -> xr.DataArray:
    sensors = {"s2": "s2.nc", "s1": "s1.nc", "coarse": "coarse.nc"}
    for sensor, file in sensors.items():
        (folder.parent / "jobs" / "a" / sensor).mkdir(parents=True)
        (folder / file).rename(folder.parent / "jobs" / "a" / sensor / file)
    source = OpenEOSource(
        areas={"a": (5.0, 51.0, 5.1, 51.1)}, start="2019-01-01", end="2019-12-31", folder=folder.parent / "jobs",
        sensors=tuple(sensors),
    )  # fmt: skip
    return build_cube(read_area(source, "a"), CLEAR)


def by_graph(folder: Path) -> xr.DataArray:
    options = WorkflowOptions(start="2019-01-10", end="2019-11-01", source=folder)
    return execute_graph(merged_cube(load_target("local"), options)).compute()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *(pytest.param(by_files, kind, id=f"files-{kind}") for kind in WRONG),
        *(pytest.param(by_openeo, kind, id=f"openeo-{kind}") for kind in WRONG),
        *(pytest.param(by_graph, kind, id=f"graph-{kind}") for kind in WRONG),
    ],
)
def test_of_raw_reflectance_and_backscatter(path: Callable[[Path], xr.DataArray], kind: str, tmp_path: Path) -> None:
    results = []
    for name, values in (("bad", WRONG[kind]), ("missing", {VV: np.nan, "raw": np.nan})):
        folder = write_raw(tmp_path / name / "raw", height=24, width=24, n_s2=12)
        for file, band, value in (("s2.nc", "B04", values["raw"]), ("s1.nc", "VV", values[VV])):
            data = xr.load_dataset(folder / file, decode_coords="all")
            if path is by_openeo and file == "s1.nc":  # the back-end delivers power
                data = (10 ** (data / 10)).drop_attrs().rio.write_crs(CRS)
            data[band][3, 4:6, 7] = value
            data.to_netcdf(folder / file)
        results.append(path(folder).transpose("t", "bands", "y", "x"))
    bad, missing = results
    np.testing.assert_array_equal(bad.sel(bands=[S2NDVI, VV, VH]).values, missing.sel(bands=[S2NDVI, VV, VH]).values)
    assert int(missing.sel(bands=VV).notnull().sum()) > 0


@pytest.mark.parametrize("kind", WRONG)
def test_of_stac_items(catalogue, kind: str) -> None:  # noqa: F811
    images = sentinel2(1)
    images["scl"][:] = 4
    catalogue.add("a", "sentinel-2-l2a", "2021-06-10T10:50:00", images, pixels={"scl": 20.0})
    vv = np.full((SIDE, SIDE), 0.1, "float32")
    vv[40:44, 40:44] = {"fill": -9999.0, "infinite": np.inf, "out of range": 5000.0}[kind]
    catalogue.add("b", "sentinel-1-rtc", "2021-06-11T06:00:00", {"vv": vv, "vh": np.full_like(vv, 0.02)}, nodata=None)
    source = catalogue.source(s1_collection="sentinel-1-rtc", s1_units="linear", start="2021-01-01", end="2021-12-31")
    cube = build_cube(source.load(), CLEAR).sel(bands=VV).dropna("t", how="all")
    assert 0 < int(cube.isnull().sum()) <= 16
    np.testing.assert_allclose(cube.values[np.isfinite(cube.values)], -10.0, atol=1e-3)
