"""Files of season parameters: NetCDF, GeoTIFFs, maps and table, of data in memory or of lazy data of any size.

Lazy data are read window by window, so that no file needs the whole area in memory.
"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from fusion.contract import ContractError
from fusion.data.provenance import MADE_BY, history
from fusion.extras import needs
from fusion.phenology.settings import MAIN_SUFFIX, VARIABLES
from fusion.place import transform_of
from fusion.whole_file import whole_file

WINDOW_PX = 256
MAP_PX = 2000  # a map of more pixels a side shows every second, third, ... of them
MAPPED = ("SOSD", "EOSD", "LENGTH", "MAXV")


def windows(data: xr.Dataset | xr.DataArray) -> Iterator[dict[str, slice]]:
    """Windows of at most ``WINDOW_PX`` pixels a side, row by row, for ``data.isel``."""
    for top in range(0, data.sizes["y"], WINDOW_PX):
        for left in range(0, data.sizes["x"], WINDOW_PX):
            yield {"y": slice(top, top + WINDOW_PX), "x": slice(left, left + WINDOW_PX)}


def by_year(data: xr.Dataset) -> Iterator[tuple[int, xr.Dataset]]:
    """Each year and its parameters, without the dim ``year``."""
    years = data if "year" in data.dims else data.expand_dims("year")
    for k, year in enumerate(years.year.values):
        yield int(year), years.isel(year=k)


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


def write_seasons(data: xr.Dataset, file: Path) -> Path:
    """NetCDF, compressed, whole or not at all."""
    from fusion.place import described_axes

    encoding: dict[str, dict[str, Any]] = {}
    for name, layer in data.data_vars.items():
        if layer.ndim > 1:
            chunks = tuple(min(n, WINDOW_PX) if d in ("y", "x") else 1 for d, n in layer.sizes.items())
            encoding[str(name)] = {"zlib": True, "complevel": 4, "chunksizes": chunks}
    encoding |= {str(name): {"_FillValue": None} for name, coord in data.coords.items() if coord.dtype.kind == "f"}
    described = described_axes(data).assign_attrs(MADE_BY, history=history("season dates and parameters"))
    try:
        with whole_file(file) as partial, _small_buffers():
            described.to_netcdf(partial, engine="netcdf4", encoding=encoding)
    except (OSError, RuntimeError) as error:
        raise ContractError(
            f"{file.name} could not be written ({error}); check the permission and the free space"
        ) from error
    return file


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


def write_table(data: xr.Dataset, file: Path) -> Path:
    """One row per pixel, year and season, as CSV or Parquet, one window after the other (a row group each)."""
    from fusion.phenology.season_table import season_table

    if "season" not in data.dims:
        raise ContractError(f"method {data.attrs.get('method')!r} has no seasons; leave table empty")
    writer = None
    with whole_file(file) as partial:
        try:
            for window in windows(data):
                table = season_table(data.isel(window))
                row, column = np.divmod(table.pixel, len(range(*window["x"].indices(data.sizes["x"]))))
                table["pixel"] = (row + window["y"].start) * data.sizes["x"] + column + window["x"].start
                if file.suffix == ".csv":
                    table.to_csv(partial, index=False, mode="a", header=not partial.exists())
                    continue
                writer = _added(table, writer, partial)
        finally:
            if writer is not None:
                writer.close()
    return file


def _added(table: pd.DataFrame, writer: Any, partial: Path) -> Any:
    """Write a table as a row group of a Parquet file; returns the writer, new where there is none."""
    needs("pyarrow", "table=parquet")
    import pyarrow
    import pyarrow.parquet

    rows = pyarrow.Table.from_pandas(table, preserve_index=False, schema=writer and writer.schema)
    writer = writer or pyarrow.parquet.ParquetWriter(partial, rows.schema)
    writer.write_table(rows)
    return writer


def write_season_geotiffs(data: xr.Dataset, folder: Path) -> list[Path]:
    """One float32 GeoTIFF per year for the main season, and one per season; band descriptions are parameters' names.

    ``seasons_2019_main.tif``, ``seasons_2019_s1.tif``, ...
    """
    from fusion.data.raster_files import write_raster

    files = []
    names = [n for n in (*VARIABLES, "COUNT") if n in data]
    for year, one_year in by_year(data):
        sets = {"main": {n: one_year.get(f"{n}{MAIN_SUFFIX}", one_year[n]) for n in names}}
        for k, season in enumerate(data.season.values):
            one = one_year.isel(season=k)
            sets[f"s{int(season)}"] = {n: one[n] for n in names}
        for of, layers in sets.items():
            file = folder / f"seasons_{year}_{of}.tif"
            bands = np.stack([layer.transpose("y", "x").astype(np.float32).data for layer in layers.values()])
            with whole_file(file) as partial:
                write_raster(
                    partial, Path(file.name), bands, crs=data.rio.crs, transform=transform_of(data),
                    nodata=float("nan"), names=names, units=[str(data[n].attrs.get("units", "1")) for n in names],
                    tags={"year": str(year), "dates": f"days since {year}-01-01, 0 = 1 January"},
                )  # fmt: skip
            files.append(file)
    return files


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
