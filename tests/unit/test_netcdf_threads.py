"""NetCDF from several threads of one process: read and written at once, in a process that a fault ends."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from fusion.commands.season_files import seasons_netcdf, write_windows
from fusion.data.cube_files import write_cube
from fusion.netcdf import VALUES_LOCK, open_netcdf, write_netcdf
from tests.factory import mock_cube

ROOT = Path(__file__).parents[2]
AT_ONCE = """
import sys, threading
import numpy as np
from pathlib import Path
from data_prep.raw.reading import read_bands
from fusion.commands.season_files import seasons_netcdf, write_windows
from fusion.data.cube_files import opened_cube, read_cube, write_cube
from fusion.data.ndvi_files import open_ndvi
from tests.factory import mock_cube
from udf.local.loading import open_raster
from udf.local.saving import _write_netcdf as save_result

folder, errors = Path(sys.argv[1]), []
cube = mock_cube(t=5, y=40, x=40, seed=3)
given, raw = write_cube(cube, folder / "given.nc"), folder / "raw.nc"
text = np.array(["ascending", "descending", "ascending", "ascending", "unknown"], dtype=object)
cube.to_dataset("bands")[["VV", "VH"]].assign_coords(orbit=("t", text)).to_netcdf(raw)

def same(found):
    assert found.shape == cube.shape and bool((found == cube).sum() == cube.notnull().sum())

def chunks(name):
    with opened_cube(given) as opened:
        same(opened.chunk(t=1).compute(scheduler="threads", num_workers=3))

def lazily(name):
    same(read_cube(write_cube(read_cube(given, lazy=True).chunk(t=1), folder / f"{name}.nc"), lazy=True).compute())

def layers(name):
    with open_raster(given) as opened:
        opened.load()

def results(name):
    (folder / name).mkdir(exist_ok=True)
    save_result(cube, folder / name, "openEO")

def seasons(name):
    data = cube.isel(t=0, drop=True).to_dataset("bands").drop_attrs()
    write_windows(data, [seasons_netcdf(data, folder / f"{name}.nc")])

ways = {
    "read_cube": lambda name: same(read_cube(given)),
    "write_cube": lambda name: write_cube(cube, folder / f"{name}.nc"),
    "open_ndvi": lambda name: open_ndvi(given, variable="S2NDVI"),
    "read_bands": lambda name: [band.values.load() for band in read_bands(raw)],
    "chunks": chunks, "lazily": lazily, "layers": layers, "results": results, "seasons": seasons,
}

def repeat(way, name):
    try:
        for _ in range(8):
            ways[way](name)
    except BaseException as error:
        errors.append(f"{way}: {type(error).__name__}: {error}")

threads = [threading.Thread(target=repeat, args=(way, f"{way}{k}")) for way in ways for k in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit("; ".join(errors) or 0)
"""

IN_TURN = """
import sys
from pathlib import Path
import numpy as np
import xarray as xr
from fusion.netcdf import groups_with_variables, netcdf_to_fill, open_netcdf

folder = Path(sys.argv[1])
file, link, other = folder / "text.nc", folder / "link.nc", folder / "other.nc"
xr.Dataset({"orbit": ("t", np.array(["a", "bc", "d", "e", "f"], dtype=object))}).to_netcdf(file)
link.symlink_to(file)
for k in range(100):
    own = xr.open_dataset(file) if k % 3 == 0 else xr.Dataset()
    first, second = open_netcdf(file), open_netcdf(link)
    assert first.orbit.values[1] == "bc"
    (first, second)[k % 2].close()
    with netcdf_to_fill(other, "w") as beside:  # takes the memory that was free
        beside.createDimension("t", 5)
        beside.createVariable("ndvi", "f4", ("t",))[:] = 1
        if k % 5 == 0: groups_with_variables(file)
        with open_netcdf(file) as third: assert third.orbit.values[1] == "bc"
    assert first.orbit.values[1] == second.orbit.values[1] == "bc"
    for one in (own, first, second): one.close()
"""


def test_threads_read_and_write_at_once(tmp_path: Path) -> None:
    """HDF5 ends a process whose threads call it at once (a "segmentation fault")."""
    command = [sys.executable, "-c", AT_ONCE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_file_with_text_is_opened_again_while_it_is_open(tmp_path: Path) -> None:
    """HDF5 follows a pointer to a handle of the file after that was closed (a "segmentation fault")."""
    command = [sys.executable, "-X", "faulthandler", "-c", IN_TURN, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_another_process_takes_its_own_lock() -> None:
    assert pickle.loads(pickle.dumps(VALUES_LOCK)) is VALUES_LOCK


def test_the_lock_is_xarrays_and_may_be_taken_again() -> None:
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    with VALUES_LOCK, VALUES_LOCK:
        assert VALUES_LOCK.locked() and NETCDF4_PYTHON_LOCK.locked()
        assert not NETCDF4_PYTHON_LOCK.acquire(blocking=False)
    assert not VALUES_LOCK.locked() and not NETCDF4_PYTHON_LOCK.locked()


def test_arrays_that_a_user_opened_lazily_are_written(tmp_path: Path) -> None:
    """They take xarray's lock when they are read, so no writer may hold it meanwhile."""
    given = write_cube(mock_cube(t=3, y=6, x=6), tmp_path / "given.nc")
    for chunks in (None, {"t": 1}):
        with xr.open_dataset(given, chunks=chunks, decode_coords="all") as opened:
            cube = opened.to_dataarray("bands").transpose("t", "bands", "y", "x").assign_attrs(opened.attrs)
            write_cube(cube, tmp_path / "cube.nc")
            write_netcdf(opened.assign_coords(seen=opened.VV.isel(t=0, drop=True) > -20), tmp_path / "plain.nc")
            data = opened.isel(t=0, drop=True).drop_attrs()
            write_windows(data, [seasons_netcdf(data.assign_coords(seen=data.VV), tmp_path / "seasons.nc")])
        for name in ("cube.nc", "plain.nc", "seasons.nc"):
            with open_netcdf(tmp_path / name) as written:
                assert written.S2NDVI.notnull().any()


def test_lazy_text_is_written(tmp_path: Path) -> None:
    """xarray computes it to find its type, while the new file is made; threads that read would wait for that."""
    given = write_cube(mock_cube(t=3, y=6, x=6), tmp_path / "given.nc")
    with open_netcdf(given, chunks={"t": 1}) as opened:
        seen = opened.VV.isel(y=0, x=0, drop=True).data
        text = seen.map_blocks(lambda values: np.where(values < 0, "land", "unknown").astype(object), dtype=object)
        write_netcdf(opened.assign(surface=("t", text)).drop_attrs(), tmp_path / "text.nc")
    with open_netcdf(tmp_path / "text.nc") as written:
        assert set(written.surface.values) <= {"land", "unknown"}


def test_all_netcdf_is_opened_and_written_in_one_module() -> None:
    files = [file for folder in ("fusion", "data_prep", "udf") for file in (ROOT / folder).rglob("*.py")]
    call = re.compile(r"xr\.open_(dataset|mfdataset|datatree)\(|\.to_netcdf\([^)]|netCDF4\.Dataset\(")
    found = [file.relative_to(ROOT) for file in files if call.search(file.read_text(encoding="utf-8"))]
    assert found == [Path("fusion/netcdf.py")]
