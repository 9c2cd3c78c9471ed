"""How much of each pixel each field covers (exactextract), window by window, and the sums over fields."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.sparse import csr_array

from fusion.contract import ContractError
from fusion.place import pixel_size

if TYPE_CHECKING:
    import geopandas as gpd

WINDOW_VALUES = 2**24  # values of a window in memory, all bands and dates: 64 MiB as float32
DATES_AT_ONCE = 16
SIDES_PX = (32, 64, 128, 256, 512)
_IRREGULAR = 0.01  # of a pixel


@dataclass(frozen=True)
class Grid:
    """Edges and pixel size of a raster, y downwards."""

    west: float
    north: float
    dx: float
    dy: float
    height: int
    width: int

    def bounds(self, rows: slice, columns: slice) -> tuple[float, float, float, float]:
        """West, south, east, north of a window."""
        return (
            self.west + columns.start * self.dx, self.north - rows.stop * self.dy,
            self.west + columns.stop * self.dx, self.north - rows.start * self.dy,
        )  # fmt: skip


def grid_of(cube: xr.DataArray | xr.Dataset) -> Grid:
    """The grid of a cube with descending y and ascending x.

    Raises
    ------
    ContractError
        The distances between the pixels differ.
    """
    dx, dy = pixel_size(cube, "x"), pixel_size(cube, "y")
    for axis, step in (("x", dx), ("y", dy)):
        centres = cube[axis].values.astype(np.float64)
        even = centres[0] + np.arange(len(centres)) * (step if axis == "x" else -step)
        if step <= 0 or np.abs(centres - even).max() > _IRREGULAR * step:
            raise ContractError(f"the pixels of the cube are not equally spaced along {axis}; resample it to one grid")
    return Grid(
        float(cube.x[0]) - dx / 2, float(cube.y[0]) + dy / 2, dx, dy, cube.sizes["y"], cube.sizes["x"]
    )  # fmt: skip


def windows(grid: Grid, values_per_pixel: int) -> Iterator[tuple[slice, slice]]:
    """Row and column slices that together cover the grid; a window holds at most about ``WINDOW_VALUES`` values."""
    side = max((s for s in SIDES_PX if s * s * values_per_pixel <= WINDOW_VALUES), default=SIDES_PX[0])
    for top in range(0, grid.height, side):
        for left in range(0, grid.width, side):
            yield slice(top, min(top + side, grid.height)), slice(left, min(left + side, grid.width))


@dataclass(frozen=True)
class Coverage:
    """Shares of pixels that fields cover: ``weights`` (fields, cells) of the fields and cells of a window that meet."""

    fields: np.ndarray
    cells: np.ndarray
    weights: csr_array


def coverage(polygons: "gpd.GeoSeries", grid: Grid, rows: slice, columns: slice) -> Coverage | None:
    """Coverage of a window; None where no field lies in it. ``fields`` are positions in ``polygons``."""
    import geopandas as gpd
    import shapely
    from exactextract import exact_extract
    from exactextract.raster import NumPyRasterSource

    west, south, east, north = bounds = grid.bounds(rows, columns)
    near = np.sort(polygons.sindex.query(shapely.box(*bounds)))
    if not near.size:
        return None
    shape = rows.stop - rows.start, columns.stop - columns.start
    raster = NumPyRasterSource(np.zeros(shape, np.uint8), west, south, east, north)
    picked = gpd.GeoDataFrame({"at": np.arange(len(near))}, geometry=polygons.values[near])
    found = exact_extract(raster, picked, ["cell_id", "coverage"], include_cols=["at"], output="pandas")
    counts = [len(c) for c in found["cell_id"]]
    if not sum(counts):
        return None
    cells, column = np.unique(np.concatenate([np.asarray(c, np.int64) for c in found["cell_id"]]), return_inverse=True)
    row = np.repeat(found["at"].to_numpy(np.int64), counts)
    weights = csr_array((np.concatenate(found["coverage"].to_list()), (row, column)), (len(near), len(cells)))
    return Coverage(near, cells, weights)


@dataclass(frozen=True)
class Sums:
    """Sums over the pixels of each field, float64 (fields, dates): of coverage w, w v, w v^2 and w^2 v^2, and of the
    squared values."""

    weight: np.ndarray
    first: np.ndarray
    second: np.ndarray
    squared: np.ndarray


def field_sums(
    bands: xr.Dataset, polygons: "gpd.GeoSeries", clean, progress=None
) -> tuple[dict[str, Sums], np.ndarray]:
    """Sums over fields of every variable of ``bands`` (t, y, x), read window by window.

    Parameters
    ----------
    bands : xarray.Dataset
        y descending; lazy or in memory.
    polygons : GeoSeries
        In the CRS of the bands; empty ones are allowed.
    clean : callable
        Called with the values (t, y, x) of a variable in a window, and its name; returns them with NaN for what is no
        measurement, in a form that may be averaged.
    progress : callable, optional
        Called with (windows done, total).

    Returns
    -------
    dict of Sums, and the area of each field on the grid in pixels (fields,).
    """
    grid = grid_of(bands)
    names = [str(n) for n in bands.data_vars]
    count = bands.sizes["t"]
    sums = {name: Sums(*(np.zeros((len(polygons), count)) for _ in range(4))) for name in names}
    on_grid = np.zeros(len(polygons))
    cut = list(windows(grid, count * len(names)))
    for done, (rows, columns) in enumerate(cut, start=1):
        found = coverage(polygons, grid, rows, columns)
        if found is not None:
            on_grid[found.fields] += found.weights.sum(axis=1)
            part = bands.isel(y=rows, x=columns).compute()
            for name in names:
                values = clean(np.asarray(part[name].transpose("t", "y", "x").values, np.float32), name)
                _add(sums[name], found, values.reshape(count, -1)[:, found.cells].T)
        if progress is not None:
            progress(done, len(cut))
    return sums, on_grid


def _add(sums: Sums, found: Coverage, values: np.ndarray) -> None:
    """Add one window; ``values`` (cells, dates) with NaN."""
    at, weights, squared = found.fields, found.weights, found.weights.power(2)
    for first in range(0, values.shape[1], DATES_AT_ONCE):  # float64 of a few dates at a time
        dates = slice(first, first + DATES_AT_ONCE)
        seen = np.isfinite(values[:, dates])
        some = np.where(seen, values[:, dates], 0.0).astype(np.float64)
        sums.weight[at, dates] += weights @ seen.astype(np.float64)
        sums.first[at, dates] += weights @ some
        sums.second[at, dates] += weights @ some**2
        sums.squared[at, dates] += squared @ some**2
