"""Files of season parameters: NetCDF, GeoTIFFs, maps and table, of data in memory or in a store of any size.

Data are read window by window, each once for NetCDF, GeoTIFFs and table together, so that no file needs the whole area
in memory.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from fusion.contract import ContractError
from fusion.data import raster_files
from fusion.data.provenance import MADE_BY, history
from fusion.extras import needs
from fusion.netcdf import VALUES_LOCK, netcdf_to_fill, one_thread
from fusion.phenology.settings import MAIN_SUFFIX, VARIABLES
from fusion.place import transform_of
from fusion.whole_file import whole_file

WINDOW_PX = 256
MAP_PX = 1000  # twice what its figure shows; of more pixels a side it shows every second, third, ...
MAPPED = ("SOSD", "EOSD", "LENGTH", "MAXV")


Window = dict[str, slice]  # for ``data.isel``
Add = Callable[[Window, xr.Dataset], None]  # takes a window and the data in it


def windows(data: xr.Dataset | xr.DataArray) -> Iterator[Window]:
    """Windows of at most ``WINDOW_PX`` pixels a side, row by row."""
    for rows, columns in raster_files.windows(data.sizes["y"], data.sizes["x"], WINDOW_PX):
        yield {"y": rows, "x": columns}


def by_year(data: xr.Dataset) -> Iterator[tuple[int, xr.Dataset]]:
    """Each year and its parameters, without the dim ``year``."""
    if "year" not in data.dims:
        yield int(data.year), data
        return
    for k, year in enumerate(data.year.values):
        yield int(year), data.isel(year=k)


def write_windows(data: xr.Dataset, outputs: Iterable[AbstractContextManager[Add]]) -> None:
    """Read ``data`` window by window and write each to all outputs at once, while the next one is read."""
    with ExitStack() as opened:
        adds = [opened.enter_context(output) for output in outputs]
        pool = opened.enter_context(ThreadPoolExecutor(len(adds)))
        writing: list[Future[None]] = []
        for window in windows(data):
            part = data.isel(window).load()
            for one in writing:
                one.result()
            writing = [pool.submit(add, window, part) for add in adds]
        for one in writing:
            one.result()


def season_summary(data: xr.Dataset) -> str:
    """Share of pixels with a season and median dates, one line for the terminal."""
    if "SOSD" not in data:
        return f"{len(data.data_vars)} metrics"
    parts = []
    for year, one in by_year(data):
        days = {name: _pixels_by_day(one[f"{name}{MAIN_SUFFIX}"]) for name in ("SOSD", "EOSD")}
        share = 100 * days["SOSD"].total() / (data.sizes["y"] * data.sizes["x"])
        parts.append(f"{year}: {share:.0f} % of the pixels have a start of the main season")
        for name, counts in days.items():
            if counts:
                parts[-1] += f", median {name} {np.datetime64(f'{year:04d}-01-01') + _median(counts)}"
    return "; ".join(parts)


def _pixels_by_day(days: xr.DataArray) -> Counter[int]:
    """Number of pixels by day (fractions cut off), of those that have a date."""
    counts: Counter[int] = Counter()
    for window in windows(days):
        values = days.isel(window).values
        found, number = np.unique(np.floor(values[np.isfinite(values)]).astype(int), return_counts=True)
        counts.update(dict(zip(found.tolist(), number.tolist(), strict=True)))
    return counts


def _median(counts: Counter[int]) -> int:
    """The day that half of the pixels have reached."""
    days = sorted(counts)
    reached = np.cumsum([counts[day] for day in days])
    return days[int(np.searchsorted(reached, counts.total() / 2))]


@contextmanager
def seasons_netcdf(data: xr.Dataset, file: Path) -> Iterator[Add]:
    """NetCDF, compressed, whole or not at all; an output of :func:`write_windows`."""
    from fusion.place import described_axes

    described = described_axes(data).assign_attrs(MADE_BY, history=history("season dates and parameters"))
    with whole_file(file) as partial, ExitStack() as opened:
        with _telling(file):
            nc = opened.enter_context(netcdf_to_fill(partial, "w"))
            with one_thread:
                stored = _netcdf_variables(described, nc)

        def add(window: Window, part: xr.Dataset) -> None:
            with _telling(file), VALUES_LOCK:
                for name, variable in stored.items():
                    place = tuple(window.get(dim, slice(None)) for dim in variable.dimensions)
                    variable[place] = part[name].values

        yield add
        with _telling(file):
            opened.close()


def _netcdf_variables(data: xr.Dataset, nc: Any) -> dict[str, Any]:
    """The variables of a new NetCDF file, without values; labels are written.

    Written without ``Dataset.to_netcdf``, which would write whole variables, or import Dask and its scheduler.
    """
    from xarray.backends import NetCDF4DataStore

    for dim, size in data.sizes.items():
        nc.createDimension(dim, size)
    labels = data.drop_vars(data.data_vars)
    plain = {str(name): {"_FillValue": None} for name, coord in data.coords.items() if coord.dtype.kind == "f"}
    labels.dump_to_store(NetCDF4DataStore(nc, lock=VALUES_LOCK), encoding=plain)
    if "coordinates" in nc.ncattrs():  # of labels that belong to no variable yet
        nc.delncattr("coordinates")
    stored = {}
    with _small_buffers():
        for name, layer in data.data_vars.items():
            chunks = [min(n, WINDOW_PX) if d in ("y", "x") else 1 for d, n in layer.sizes.items()]
            packed = {"zlib": True, "complevel": 1, "chunksizes": chunks} if layer.ndim > 1 else {}
            kind = layer.dtype.newbyteorder("=")  # of a Zarr store "<f4", of which netCDF4 warns
            missing = kind.type(np.nan) if kind.kind == "f" else None
            stored[str(name)] = nc.createVariable(name, kind, layer.dims, fill_value=missing, **packed)
            beside = sorted(str(c) for c in set(layer.coords) - set(layer.dims))
            stored[str(name)].setncatts(layer.attrs | ({"coordinates": " ".join(beside)} if beside else {}))
            stored[str(name)].set_auto_maskandscale(False)
    return stored


@contextmanager
def _telling(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise ContractError(
            f"{file.name} could not be written ({error}); check the permission and the free space"
        ) from error


@contextmanager
def _small_buffers() -> Iterator[None]:
    """NetCDF files with 1 MiB of buffer for each variable; 16 MiB for all of them would be most of the memory."""
    import netCDF4

    before = netCDF4.get_chunk_cache()
    netCDF4.set_chunk_cache(2**20)
    try:
        yield
    finally:
        netCDF4.set_chunk_cache(*before)


@contextmanager
def table_file(data: xr.Dataset, file: Path) -> Iterator[Add]:
    """CSV or Parquet, one row per pixel, year and season; an output of :func:`write_windows` (a row group each)."""
    from fusion.phenology.season_table import season_table

    if "season" not in data.dims:
        raise ContractError(f"method {data.attrs.get('method')!r} has no seasons; leave table empty")
    if file.suffix == ".parquet":
        needs("pyarrow", "table=parquet")
    writer = None
    width = data.sizes["x"]
    with whole_file(file) as partial:

        def add(window: Window, part: xr.Dataset) -> None:
            nonlocal writer
            table = season_table(part)
            row, column = np.divmod(table.pixel, part.sizes["x"])
            table["pixel"] = (row + window["y"].start) * width + column + window["x"].start
            if file.suffix == ".csv":
                table.to_csv(partial, index=False, mode="a", header=not partial.exists())
            else:
                writer = _added(table, writer, partial)

        try:
            yield add
        finally:
            if writer is not None:
                writer.close()


def _added(table: pd.DataFrame, writer: Any, partial: Path) -> Any:
    """Write a table as a row group of a Parquet file; returns the writer, new where there is none."""
    import pyarrow
    import pyarrow.parquet

    rows = pyarrow.Table.from_pandas(table, preserve_index=False, schema=writer and writer.schema)
    writer = writer or pyarrow.parquet.ParquetWriter(partial, rows.schema)
    writer.write_table(rows)
    return writer


@contextmanager
def season_geotiffs(data: xr.Dataset, folder: Path) -> Iterator[Add]:
    """One float32 GeoTIFF per year for the main season, and one per season; an output of :func:`write_windows`.

    ``seasons_2019_main.tif``, ``seasons_2019_s1.tif``, ...; band descriptions are parameters' names.
    """
    names = [n for n in (*VARIABLES, "COUNT") if n in data]
    seasons = [int(season) for season in data.season.values]
    options = {
        "shape": (len(names), data.sizes["y"], data.sizes["x"]), "dtype": np.float32, "crs": data.rio.crs,
        "transform": transform_of(data), "nodata": float("nan"), "names": names,
        "units": [str(data[n].attrs.get("units", "1")) for n in names],
    }  # fmt: skip
    with ExitStack() as opened:
        writes = {}
        for year, _ in by_year(data):
            for of in ("main", *(f"s{season}" for season in seasons)):
                file = folder / f"seasons_{year}_{of}.tif"
                tags = {"year": str(year), "dates": f"days since {year}-01-01, 0 = 1 January"}
                partial = opened.enter_context(whole_file(file))
                raster = raster_files.opened_raster(partial, Path(file.name), **options, tags=tags)
                writes[year, of] = opened.enter_context(raster)

        def add(window: Window, part: xr.Dataset) -> None:
            for year, one in by_year(part):
                sets = {f"s{season}": one.isel(season=k) for k, season in enumerate(seasons)}
                sets["main"] = one.assign({n: one[f"{n}{MAIN_SUFFIX}"] for n in names if f"{n}{MAIN_SUFFIX}" in one})
                for of, layers in sets.items():
                    bands = [layers[n].transpose("y", "x").values.astype(np.float32) for n in names]
                    writes[year, of]((window["y"], window["x"]), np.stack(bands))

        yield add


def write_season_maps(data: xr.Dataset, folder: Path) -> list[Path]:
    """PNG maps of the main season of every year, of at most ``MAP_PX`` pixels a side."""
    from matplotlib.figure import Figure

    from fusion.phenology.plots import plot_parameter

    step = math.ceil(max(data.sizes["y"], data.sizes["x"]) / MAP_PX)
    middle = slice(step // 2, None, step)
    files = []
    for year, one_year in by_year(data):
        for name in MAPPED:
            layer = f"{name}{MAIN_SUFFIX}"
            if layer not in data:
                continue
            shown = one_year[[layer]].isel(y=middle, x=middle).load()
            if not np.isfinite(shown[layer]).any():
                continue
            figure = Figure(figsize=(6, 5))  # fixed margins: a layout engine takes as long as all the rest
            figure.subplots_adjust(left=0.16, right=0.86, bottom=0.1, top=0.92)
            plot_parameter(shown, layer, ax=figure.subplots())
            file = folder / f"{name}_{year}_main.png"
            with whole_file(file) as partial:
                figure.savefig(partial, dpi=110)
            files.append(file)
    return files
