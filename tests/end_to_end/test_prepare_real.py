"""The real folders go through the commands that a user would type: cube, inspect, patches, inspect."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from data_prep.coarse import coarse_ndvi
from data_prep.raw.cubes import SourceError
from data_prep.raw.reading import read_bands
from fusion.cli.app import main
from fusion.contract import check_cube
from fusion.data.cube_files import read_cube
from fusion.data.store import PatchStore

pytestmark = pytest.mark.real_data


def days_of(folder: Path) -> list[str]:
    """Dates of every file of a folder, read without this program."""
    found: set[str] = set()
    for file in folder.glob("*.nc"):
        with xr.open_dataset(file, mask_and_scale=False) as raw:
            time = next(str(d) for d in raw.dims if d in ("t", "timestamp"))
            found |= set(raw[time].values.astype("datetime64[D]").astype(str).tolist())
    return sorted(found)


@pytest.mark.parametrize(
    ("name", "shape", "windows"), [("belgium_2019", (64, 64), 2), ("cdse_april_2023", (66, 64), 1)]
)
def test_a_folder_as_it_came_becomes_cube_and_patches(name, shape, windows, real_data, tmp_path):
    folder, cube_file, store = real_data / name, tmp_path / f"{name}.nc", tmp_path / "patches.zarr"
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert main(["-q", "cube", f"input={folder}", f"out={cube_file}"]) == 0
    cube = read_cube(cube_file)
    check_cube(cube)
    days = cube.t.values.astype("datetime64[D]").astype(str).tolist()
    assert days == days_of(folder)
    assert (cube.sizes["y"], cube.sizes["x"]) == shape and cube.rio.crs.to_epsg() == 32631
    assert cube.attrs["s1_units"] == "dB" and list(cube.bands.values) == ["S2NDVI", "VV", "VH"]
    assert main(["-q", "inspect", f"store={cube_file}"]) == 0
    cut = ["cut.patch_px=32", "cut.min_observations=1", "cut.min_clear=0.05"]
    command = ["-q", "patches", "source=cubes", f"source.cubes=[{cube_file}]", f"out={store}", "workers=0", *cut]
    assert main([*command, f"+split.sites.{name}=test"]) == 0
    patches = PatchStore.open(store)
    assert len(patches) == 4 * windows  # 2 x 2 places; windows of 480 days, a year apart
    assert set(patches.manifest["patches_by_split"]) == {"test"}
    part = cube.sel(bands="S2NDVI").isel(y=slice(0, 32), x=slice(32, 64)).values
    part = part[cube.t.values < cube.t.values[0] + np.timedelta64(480, "D")]
    obs = patches[patches.keys.index(f"{name}_{days[0]}_r000000_c000032")].observations
    np.testing.assert_allclose(obs.s2_ndvi, part[np.isfinite(part).any((1, 2))], atol=0.51e-4)
    assert main(["-q", "inspect", f"store={store}", f"sheet={tmp_path / 'sheet.png'}"]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    assert before == {file: file.stat().st_mtime_ns for file in folder.iterdir()}  # the archive is never touched


def test_a_real_coarse_raster_of_the_successor_is_decoded(real_data, tmp_path):
    (file,) = (real_data / "cgls_sample").glob("*.tif")
    with pytest.raises(SourceError, match="no date"):
        read_bands(file)
    (band,) = read_bands(shutil.copy(file, tmp_path / "ndvi300_20200711.tif"))
    ndvi = coarse_ndvi(band, "auto").values
    assert band.dtype == np.uint8 and ndvi.shape == (1, 673, 748)
    with rasterio.open(file) as image:
        dn = image.read(1).astype(float)
    np.testing.assert_allclose(ndvi[0], np.where(dn <= 250, 0.004 * dn - 0.08, np.nan), atol=1e-6)
    assert np.isfinite(ndvi).mean() > 0.9


def test_paths_are_never_written_into_products(real_data, tmp_path):
    out = tmp_path / "c.nc"
    assert main(["-q", "cube", f"input={real_data / 'cdse_april_2023'}", f"out={out}"]) == 0
    told = " ".join(map(str, read_cube(out).attrs.values()))
    assert str(Path(real_data)) not in told and "cdse_april_2023" in told
