"""What the viewer shows, left in its file until a part of it is asked for: stacks of images, season maps, fields."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from fusion import place
from fusion.contract import NDVI, NDVI_SIGMA, OBS_COUNT, S2NDVI, ContractError, dim_renaming
from fusion.data.cube_files import is_zarr, open_dataset, plain_dims
from fusion.phenology.settings import MAIN_SUFFIX

if TYPE_CHECKING:
    import geopandas

SCREEN_PX = 700  # longest side of an image sent to the browser
SEASON_NAMES = ("SOSD", "EOSD", "MAXD", "LENGTH", "AMPL", "MAXV", "QFLAG")
Source = str | os.PathLike | xr.DataArray | xr.Dataset


@dataclass(frozen=True)
class Stack:
    """Images of one result: ``bands`` maps a name to an array (t, y, x) that is read where it is indexed."""

    name: str
    bands: Mapping[str, xr.DataArray]
    crs: Any = None

    @property
    def series_band(self) -> str:
        """The band whose series is drawn: fused NDVI, else observations, else the first."""
        return next((band for band in (NDVI, S2NDVI) if band in self.bands), next(iter(self.bands)))

    @property
    def ndvi(self) -> xr.DataArray:
        """The array (t, y, x) of :attr:`series_band`."""
        return self.bands[self.series_band]

    @property
    def sigma(self) -> xr.DataArray | None:
        """The standard deviation (t, y, x), where there is one."""
        return self.bands.get(NDVI_SIGMA)


@dataclass(frozen=True)
class Content:
    """All that one viewer shows; ``fields`` are polygons in the CRS of the result, their names as index."""

    result: Stack
    observations: Stack | None = None
    other: Stack | None = None
    seasons: xr.Dataset | None = None
    fields: "geopandas.GeoDataFrame | None" = None


def open_content(
    source: Source,
    *,
    observations: Source | None = None,
    other: Source | None = None,
    seasons: Source | None = None,
    fields: "str | os.PathLike | geopandas.GeoDataFrame | None" = None,
) -> Content:
    """Open what is to be shown; nothing but coordinates and polygons is read.

    Parameters
    ----------
    source : path, DataArray or Dataset
        The result: NetCDF or Zarr with variables (t, y, x), a cube in memory, or a folder with ``ndvi.nc`` (or
        ``ndvi.zarr``), ``cube.nc`` and ``seasons/seasons.nc``, as the demo writes it.
    observations, other, seasons, fields
        As in :func:`fusion.viewer.view.view`.

    Raises
    ------
    ContractError, fusion.data.cube_files.CubeFileError
        No dated images, another grid than the result's, no file; the message says what to give instead.
    """
    folder = _path(source)
    if folder is not None and folder.is_dir() and not is_zarr(folder):
        source, cube, dates_file = _in_folder(folder)
        observations = cube if observations is None else observations
        seasons = dates_file if seasons is None else seasons
    result = open_stack(source, "result")
    seen = open_stack(observations, "observations") if observations is not None else None
    if seen is None and S2NDVI in result.bands:
        seen = result
    second = open_stack(other, "other result") if other is not None else None
    dates = open_seasons(seasons) if seasons is not None else None
    for name, given in (("observations", seen), ("other", second), ("seasons", dates)):
        if given is not None:
            _same_grid(name, given.ndvi if isinstance(given, Stack) else given, result.ndvi)
    polygons = open_fields(fields, result) if fields is not None else None
    return Content(result, seen, second, dates, polygons)


def _path(source: Source) -> Path | None:
    return None if isinstance(source, xr.DataArray | xr.Dataset) else Path(source)


def _in_folder(folder: Path) -> tuple[Path, Path | None, Path | None]:
    """Result, merged cube and season dates of a demo's folder."""
    names = (("ndvi.nc", "ndvi.zarr"), ("cube.nc", "cube.zarr"), ("seasons/seasons.nc", "seasons.nc"))
    result, cube, dates = (next((folder / n for n in pair if (folder / n).exists()), None) for pair in names)
    if result is None:
        raise ContractError(
            f"{folder} holds neither ndvi.nc nor ndvi.zarr; give the file that `ndvi-fusion predict` wrote"
        )
    return result, cube, dates


def open_stack(source: Source, name: str) -> Stack:
    """The dated images of a file or an array, unread."""
    path = _path(source)
    where = f"the {name}" if path is None else str(path)
    data = plain_dims(_dataset(source) if path is None else open_dataset(path))
    data = data.reset_coords([OBS_COUNT] if OBS_COUNT in data.coords else [])
    bands: dict[str, xr.DataArray] = {}
    for key, values in data.data_vars.items():
        if set(values.dims) == {"t", "y", "x"}:
            bands[str(key)] = values.transpose("t", "y", "x")
        elif set(values.dims) == {"t", "bands", "y", "x"}:
            labels = [str(b) for b in values.bands.values] if "bands" in values.coords else []
            bands |= {label: values.isel(bands=i, drop=True).transpose("t", "y", "x") for i, label in enumerate(labels)}
    if not bands:
        held = {str(k): v.dims for k, v in list(data.data_vars.items())[:4]}
        raise ContractError(
            f"{where} holds {held}; expected images with the dims (t, y, x). Give a series, such as the file of "
            "`ndvi-fusion predict`, and a file of season dates as seasons=PATH beside it"
        )
    return Stack(name, bands, data.rio.crs)


def _dataset(source: Any) -> xr.Dataset:
    """An array in memory as a data set, a variable for each band."""
    if isinstance(source, xr.Dataset):
        return source
    array = source.rename(dim_renaming(source.dims))
    if "bands" not in array.dims:
        return xr.Dataset({str(array.name or NDVI): array})
    array = array.assign_coords(bands=[str(band) for band in array.bands.values])
    return xr.Dataset({str(band): array.sel(bands=band, drop=True) for band in array.bands.values})


def open_seasons(source: Source) -> xr.Dataset:
    """Season parameters as :func:`fusion.seasons` and ``ndvi-fusion phenology`` give them, unread."""
    path = _path(source)
    data = plain_dims(_dataset(source) if path is None else open_dataset(path))
    if "SOSD" not in data or "year" not in data.coords:
        raise ContractError("seasons holds no SOSD with a year; give seasons.nc or the result of fusion.seasons(...)")
    return data


def open_fields(source: "str | os.PathLike | geopandas.GeoDataFrame", result: Stack) -> "geopandas.GeoDataFrame":
    """Polygons that touch the result, in its CRS, with the names of the fields as index."""
    from shapely.geometry import box

    from fusion.fields.polygons import read_polygons

    table = read_polygons(source)
    if result.crs is None:
        raise ContractError("the result has no CRS, so no field can be placed; call cube.rio.write_crs('EPSG:...')")
    table = table[~(table.geometry.isna() | table.geometry.is_empty)].to_crs(result.crs)
    area = box(*_bounds(result.ndvi))
    touching = table[table.intersects(area)]
    if touching.empty:
        raise ContractError(
            f"none of the {len(table)} fields touches the result (bounds {[round(b, 4) for b in area.bounds]}, fields "
            f"{[round(float(b), 4) for b in table.total_bounds]}); check that both state the right CRS"
        )
    return touching


def pixel_size(coordinate: xr.DataArray) -> float:
    """Distance of two pixels, unsigned; 1 for a single one."""
    return place.pixel_size(coordinate, str(coordinate.name)) if coordinate.size > 1 else 1.0


def _bounds(array: xr.DataArray) -> tuple[float, float, float, float]:
    """West, south, east, north of the outer edges."""
    x, y, dx, dy = array.x.values, array.y.values, pixel_size(array.x) / 2, pixel_size(array.y) / 2
    return float(x.min() - dx), float(y.min() - dy), float(x.max() + dx), float(y.max() + dy)


def _same_grid(name: str, given: xr.DataArray | xr.Dataset, result: xr.DataArray) -> None:
    for axis in ("y", "x"):
        mine, theirs = result[axis].values, given[axis].values
        if mine.shape != theirs.shape or not np.allclose(mine, theirs, atol=pixel_size(result[axis]) / 10):
            raise ContractError(
                f"{name} has another grid than the result: {axis} has {theirs.size} pixels from {theirs[0]:g} to "
                f"{theirs[-1]:g}, expected {mine.size} from {mine[0]:g} to {mine[-1]:g}; bring it to the result's grid "
                "with .rio.reproject_match(...)"
            )


@dataclass(frozen=True)
class Picture:
    """Values for the screen, row 0 in the south, and where they lie."""

    values: np.ndarray
    x: float
    y: float
    width: float
    height: float


def picture(image: xr.DataArray, window: tuple[float, float, float, float] | None = None) -> Picture:
    """One image (y, x), or the part inside ``window`` (west, south, east, north), thinned to the screen's resolution.

    Only this part of the file is read. Every value is that of a real pixel: every n-th row and column is taken.
    """
    dx, dy = pixel_size(image.x), pixel_size(image.y)
    west, south, east, north = window or _bounds(image)
    columns = _inside(image.x.values, west - dx / 2, east + dx / 2)
    rows = _inside(image.y.values, south - dy / 2, north + dy / 2)
    part = image.isel(y=rows, x=columns)
    step = max(1, -(-max(part.shape) // SCREEN_PX))
    values = part.values[::step, ::step].astype(np.float32)
    x, y = part.x.values[::step], part.y.values[::step]
    if y[0] > y[-1]:
        values, y = values[::-1], y[::-1]
    if x[0] > x[-1]:
        values, x = values[:, ::-1], x[::-1]
    return Picture(values, x[0] - step * dx / 2, y[0] - step * dy / 2, len(x) * step * dx, len(y) * step * dy)


def _inside(values: np.ndarray, low: float, high: float) -> slice:
    at = np.flatnonzero((values >= low) & (values <= high))
    return slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, 1)


def map_layers(content: Content) -> dict[str, tuple[str, Any]]:
    """Label -> (kind, what) of every map: a ``band`` (t, y, x), the ``difference``, or a ``season`` image (y, x)."""
    result, seen, other = content.result, content.observations, content.other
    layers: dict[str, tuple[str, Any]] = {band: ("band", values) for band, values in result.bands.items()}
    if seen is not None and seen is not result:
        layers[f"{seen.series_band}, as observed"] = ("band", seen.ndvi)
    if other is not None:
        layers[f"{other.series_band}, other result"] = ("band", other.ndvi)
        layers["difference, other minus result"] = ("difference", None)
    if content.seasons is not None:
        layers |= {label: ("season", image) for label, image in season_images(content.seasons).items()}
    return layers


def season_images(data: xr.Dataset) -> dict[str, xr.DataArray]:
    """Label -> image (y, x) of the main parameters, for every year and season of the data set."""
    images = {}
    for name in (n for n in data.data_vars if str(n).removesuffix(MAIN_SUFFIX) in SEASON_NAMES):
        others = [dim for dim in data[name].dims if dim not in ("y", "x")]
        for index in np.ndindex(*(data.sizes[dim] for dim in others)):
            one = data[name].isel(dict(zip(others, index, strict=True)))
            where = ", ".join(f"{dim} {one[dim].item()}" if dim in one.coords else f"{dim} {i + 1}"
                              for dim, i in zip(others, index, strict=True))  # fmt: skip
            images[f"{name}, {where}" if where else str(name)] = one.transpose("y", "x")
    return images
