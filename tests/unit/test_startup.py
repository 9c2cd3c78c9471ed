"""What is imported, and when: help and refused settings load no library that computes, and none is needed by all."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fusion
from fusion.cli.app import describe
from fusion.cli.table import COMMANDS
from fusion.data import cube_files
from fusion.extras import EXTRA_OF, MissingLibraryError, missing_library, needs
from tests.factory import mock_cube, write_cube

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# each takes from a tenth of a second to several
SLOW_TO_IMPORT = {
    "bokeh", "dask", "distributed", "exactextract", "geopandas", "matplotlib", "mlflow", "netCDF4", "numba", "odc",
    "onnx", "onnxruntime", "openeo", "pandas", "panel", "pyarrow", "pyproj", "pystac_client", "pytorch_lightning",
    "rasterio", "rioxarray", "scipy", "shapely", "torch", "xarray", "zarr",
}  # fmt: skip

# forbids the libraries of all extras as if none of them were installed
LEAN = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(name == gone or name.startswith(gone + ".") for gone in {sorted(EXTRA_OF)}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def python(code: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter in another folder, with this checkout on its path."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **environment}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=given, capture_output=True, text=True)


def distributions(extra: str) -> set[str]:
    """Names of the distributions that an extra brings, those of extras in it included."""
    found: set[str] = set()
    for line in EXTRAS[extra]:
        name = line.split(">")[0].split("=")[0].split("<")[0]
        if name.startswith("ndvi-fusion["):
            for inner in name.removeprefix("ndvi-fusion[").rstrip("]").split(","):
                found |= distributions(inner)
        else:
            found.add(name)
    return found


def test_the_package_names_its_version_and_public_calls() -> None:
    assert fusion.__version__ in (PROJECT["version"], "0+unknown")
    assert {*fusion.__all__, "__version__"} <= set(dir(fusion))
    with pytest.raises(AttributeError, match="no attribute 'fuze'; public are"):
        _ = fusion.fuze


def test_help_and_refused_settings_import_nothing_slow(tmp_path: Path) -> None:
    """Every command, in one process; what is imported is named with the first command that did."""
    code = f"""
import contextlib, io, sys
from fusion.cli.app import main
slow, told = {SLOW_TO_IMPORT!r}, []
for name in {list(COMMANDS)}:
    for words, code in ((["--help"], 0), (["no_such_setting=1"], 2)):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            seen = main([name, *words])
        found = slow & set(sys.modules)
        slow = slow - found
        if found or seen != code:
            told.append(f"{{name}} {{words}}: exit code {{seen}}, imported {{sorted(found)}}")
sys.exit("; ".join(told) or 0)
"""
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_lean_runs_without_any_extra(tmp_path: Path) -> None:
    """fuse, seasons and help of every command, with the libraries of all extras out of reach."""
    code = (
        LEAN
        + f"""
import contextlib, io
import numpy as np, xarray as xr
import fusion
from fusion.cli.app import main

t = np.arange(np.datetime64("2019-03-01"), np.datetime64("2019-07-01"), 5).astype("datetime64[ns]")
ndvi = np.broadcast_to(0.5 + 0.3 * np.sin(np.arange(t.size) / 8.0)[:, None, None, None], (t.size, 1, 4, 4))
cube = xr.DataArray(ndvi.astype("float32"), dims=("t", "bands", "y", "x"),
    coords={{"t": t, "bands": ["S2NDVI"], "y": np.arange(4.0)[::-1] * 10, "x": np.arange(4.0) * 10}})
dense = fusion.fuse(cube, start="2019-03-01", end="2019-06-30", latitude=51.0)
assert np.abs(dense.sel(bands="NDVI").values - ndvi[:, 0]).mean() < 0.05
assert fusion.seasons(dense).SOSD.shape[-2:] == (4, 4)
with contextlib.redirect_stdout(io.StringIO()):
    assert [main([name, "--help"]) for name in {list(COMMANDS)}] == [0] * {len(COMMANDS)}
"""
    )
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_maps_are_left_out_where_there_is_no_matplotlib(tmp_path: Path) -> None:
    write_cube(tmp_path / "fused.nc", mock_cube(t=73, y=4, x=4, cloud=0.0, start="2019-01-01"))
    code = LEAN + "from fusion.cli.app import main\nsys.exit(main(['phenology', 'cube=fused.nc', 'out=seasons']))"
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert "maps are left out: drawing them needs the package 'matplotlib'; install it with: pip install" in told
    assert (tmp_path / "seasons" / "seasons.nc").is_file() and not list(tmp_path.rglob("*.png"))


def test_a_zarr_cube_is_inspected_by_a_process_of_its_own(tmp_path: Path) -> None:
    """The accessor `.rio` is there also where nothing else has imported rioxarray."""
    cube_files.write_cube(mock_cube(t=8, y=4, x=4), tmp_path / "cube.zarr")
    done = python("import sys, fusion.cli.app as app; sys.exit(app.main(['inspect', 'store=cube.zarr']))", tmp_path)
    assert done.returncode == 0 and "4 x 4 px, EPSG:" in done.stdout, done.stderr


PLACE_AND_TIME = ["source.bbox=[4,51,5,52]", "source.start=2021", "source.end=2021"]
NEEDS = [
    (["simulate", "out=a"], "numba", "fast"),
    (["train", "experiment=shipped_cpu", "out=a"], "pytorch_lightning", "train"),
    (["export", "checkpoint=a", "out=b"], "torch", "train"),
    (["evaluate", "tracking.enabled=true", "out=a"], "mlflow", "train"),
    (["workflow", "target=cdse", "out=a"], "openeo", "openeo"),
    (["package", "out=a"], "openeo", "openeo"),
    (["demo", "cube=.", "out=b"], "matplotlib", "plots"),
    (["cube", "source=stac", "source.catalog=c", *PLACE_AND_TIME, "out=a.nc"], "odc.stac", "stac"),
    (["predict", "source=stac", "source.catalog=c", *PLACE_AND_TIME, "out=a.nc"], "odc.stac", "stac"),
    (["fields", "cube=a", "polygons=b", "out=c"], "exactextract", "fields"),
    (["view", "a.nc"], "panel", "view"),
    (["inspect", "store=a.zarr", "sheet=b.png"], "matplotlib", "plots"),
    (["phenology", "cube=a.nc", "table=parquet", "out=b"], "pyarrow", "fields"),
    (["phenology", "cube=a.nc", "workers=2", "out=b"], "distributed", "cluster"),
    (["phenology", "cube=a.nc", "scheduler=tcp://a:1", "out=b"], "distributed", "cluster"),
    (["predict", "cube=a.nc", "workers=2", "out=b.nc"], "distributed", "cluster"),
    (["cube", "input=.", "workers=2", "out=b.nc"], "distributed", "cluster"),
    (["patches", "source=cubes", "source.cubes=[a.nc]", "out=b.zarr"], "distributed", "cluster"),
    (["patches", "workers=0", "out=b.zarr"], "numba", "fast"),
]
NEED_SEVERAL = [
    (["patches", "out=b.zarr"], "'numba' and 'distributed'", "cluster,fast"),
    (
        ["demo", "out=b"],
        "'matplotlib', 'numba', 'openeo', 'distributed' and 'torch'",
        "cluster,fast,openeo,plots,train",
    ),
    (["demo", "model=c", "out=b"], "'matplotlib', 'numba' and 'openeo'", "fast,openeo,plots"),
]


def test_a_command_names_the_extras_that_it_needs_before_it_reads_or_writes_anything(tmp_path: Path) -> None:
    told = [(words, f" needs the package {library!r}; install it", extra) for words, library, extra in NEEDS]
    told += [(words, f" needs the packages {all_}; install them", extras) for words, all_, extras in NEED_SEVERAL]
    commands = [words for words, *_ in told]
    code = f"from fusion.cli.app import main\nsys.exit(sum(main(words) != 1 for words in {commands}))"
    done = python(LEAN + code, tmp_path)
    assert done.returncode == 0, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for line, (_, sentence, extra) in zip(errors, told, strict=True):
        assert line.endswith(f"{sentence} with: pip install 'ndvi-fusion[{extra}]'")
    assert not list(tmp_path.iterdir())


def test_every_optional_library_is_in_its_extra() -> None:
    for library, extra in EXTRA_OF.items():
        names = {name.split("[")[0].replace("-", "_") for name in distributions(extra)}
        brackets = {f"{inner.rstrip(']')}" for name in distributions(extra) for inner in name.split("[")[1:]}
        assert library.replace(".", "_") in names | brackets or library in ("odc.loader", "pystac", "pyogrio"), library
    assert set(EXTRA_OF.values()) <= set(EXTRAS)
    for extra in set(EXTRAS) - {"test", "docs", "dev", "jupyter", "all"}:
        assert distributions(extra) <= distributions("all"), extra


def test_a_missing_library_is_told_in_one_sentence() -> None:
    assert missing_library("odc.stac._load", "source=stac") == (
        "source=stac needs the package 'odc.stac'; install it with: pip install 'ndvi-fusion[stac]'"
    )
    assert missing_library("odd").endswith("needs the package 'odd'; install it with: pip install 'ndvi-fusion[all]'")
    with pytest.raises(MissingLibraryError, match=r"maps needs the package 'no_such_library'; .*ndvi-fusion\[all\]"):
        needs("no_such_library", "maps")
    assert needs("json", "this").loads("1") == 1
    message, code = describe(ModuleNotFoundError("No module named 'panel'", name="panel"))
    assert (message, code) == (missing_library("panel"), 1)


USERS_FILES = ("udf.py", "data_prep.py", "numpy.py", "hydra.py", "configs/package.yaml")


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A working folder whose files have the names of what the package imports."""
    for name in USERS_FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('a file of the user was read')\n")
    return tmp_path


@pytest.mark.parametrize("way", ["script", "python -m"])
def test_files_of_the_user_hide_no_package(way: str, users_folder: Path) -> None:
    start = ["-m", "fusion"]
    if way == "script":  # as pip writes it into a folder of its own
        script = users_folder / "bin" / "ndvi-fusion"
        script.parent.mkdir()
        script.write_text("import sys\nfrom fusion.cli.app import main\nsys.exit(main())\n")
        start = [str(script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *start, "package", "--help"], cwd=users_folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "usage: ndvi-fusion package" in done.stdout


def test_a_file_that_hides_a_package_is_named(users_folder: Path) -> None:
    """Where the working folder stands on the path all the same, as in `python -c` and notebooks."""
    (users_folder / "udf.py").write_text("")
    for name in ("numpy.py", "hydra.py"):
        (users_folder / name).unlink()
    code = f"import sys; sys.path.insert(0, {str(users_folder)!r}); from fusion.cli.app import main; sys.exit(main(['package', '--help']))"  # noqa: E501
    done = python(code, users_folder)
    assert done.returncode == 1
    hidden = users_folder / "udf.py"
    assert f"{hidden} hides the package 'udf' of ndvi-fusion; rename it" in done.stderr


@pytest.mark.slow
def test_compiled_code_is_kept_on_disk(tmp_path: Path) -> None:
    """The second process compiles nothing."""
    pytest.importorskip("numba")
    code = """
import numpy as np
from fusion.phenology.compiled import KERNELS
from fusion.phenology.extraction import extract_seasons
from fusion.phenology.settings import SeasonSettings
days = np.arange(0, 365, 5)
ndvi = 0.2 + 0.6 * np.exp(-(((days - 180) / 50) ** 2))
extract_seasons(np.repeat(ndvi[None], 8, axis=0), None, days, np.array([[0, 364, 0]]), SeasonSettings())
stats = [kernel.stats for kernel in KERNELS.values()]
print(sum(map(len, (s.cache_hits for s in stats))), sum(map(len, (s.cache_misses for s in stats))))
"""
    runs = [python(code, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache")) for _ in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    (hits, misses), (hits_again, misses_again) = (map(int, run.stdout.split()) for run in runs)
    assert (hits, misses_again) == (0, 0)
    assert misses == hits_again > 0
