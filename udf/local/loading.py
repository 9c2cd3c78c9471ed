"""openEO ``load_collection`` on local NetCDF, Zarr and GeoTIFF files, with bands and extents applied, lazy on Dask."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray
import xarray as xr
from openeo.local.processing import PROCESS_REGISTRY
from openeo_pg_parser_networkx.graph import OpenEOProcessGraph

from fusion.dates import one_date
from fusion.layout import refuse_exchanged
from fusion.netcdf import open_netcdf
from fusion.place import LONLAT, project_bounds
from fusion.same_day import one_image_per_day, whole_days
from udf.local.grid import crop, crs_of, inside_polygon, keep_crs, project
from udf.local.udf_call import plain
from udf.polygon import polygon_of

_log = logging.getLogger(__name__)
CHUNK_PX = 128  # a year of four bands on 170 dates is 45 MB per chunk
_TIME_NAMES = ("time", "timestamp", "temporal", "date", "DATE")
_X_NAMES = ("X", "lon", "longitude")
_Y_NAMES = ("Y", "lat", "latitude")


def load_collection(
    id: str,
    spatial_extent: Any = None,
    temporal_extent: Any = None,
    bands: list[str] | None = None,
    properties: dict | None = None,
) -> xr.DataArray:
    """A cube (t, bands, y, x) from a local file; openEO ``load_collection``.

    ``t`` is floored to days and observations of one day are merged (:mod:`fusion.same_day`), y runs downwards,
    CRS is kept. ``temporal_extent`` is left-closed; a pixel is loaded when its centre lies in the extent; with a
    polygon, pixels outside become no data. A condition on a property holds for the coordinate of that name along t
    (``orbit``, ``platform``), in capital letters; others are ignored with a warning.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; a band that the file lacks; no data within an extent, or of a property.
    """
    dataset = with_properties(open_raster(Path(id)), properties or {}, id)
    cube = to_cube(dataset, Path(id), plain(bands))
    cube = select_time(cube, temporal_extent)
    if spatial_extent is not None:
        cube = select_area(cube, spatial_extent)
    return cube


def open_raster(path: Path) -> xr.Dataset:
    """A lazily opened Dataset with dims t (where there is one), y, x and a CRS."""
    if not path.exists():
        raise FileNotFoundError(f"local collection {str(path)!r} does not exist; pass the path of a .nc, .zarr or .tif")
    suffixes = {s.lower() for s in path.suffixes}
    if ".zarr" in suffixes:
        data = xr.open_zarr(path, chunks={}, decode_coords="all")
    elif ".nc" in suffixes:
        data = decoded_netcdf(path)
    elif suffixes & {".tif", ".tiff"}:
        data = rioxarray.open_rasterio(path, chunks={}, band_as_variable=True, masked=True)
        assert isinstance(data, xr.Dataset)  # guaranteed by band_as_variable
        data = data.rename({v: data[v].attrs.get("long_name") or v for v in data.data_vars})
    else:
        raise ValueError(f"local collection {path.name!r} has an unknown format; expected .nc, .zarr or .tif")
    names = {n: "t" for n in _TIME_NAMES} | {n: "x" for n in _X_NAMES} | {n: "y" for n in _Y_NAMES}
    renaming = {n: names[n] for n in data.dims if n in names}
    data = data.rename(renaming)
    refuse_exchanged(data, renaming)
    crs = data.rio.crs
    for name in ("crs", "spatial_ref"):
        if crs is None and name in data.variables:
            wkt = data[name].attrs.get("spatial_ref") or data[name].attrs.get("crs_wkt")
            crs = wkt or crs
    data = data.drop_vars([n for n in ("crs",) if n in data.variables])
    return data if crs is None else data.rio.write_crs(crs)


def with_properties(data: xr.Dataset, conditions: dict, name: str) -> xr.Dataset:
    """The images that fulfil the conditions, each a process graph over ``value``."""
    for key, condition in conditions.items():
        labels = labels_along_t(data, key)
        if labels is None:
            _log.warning("load_collection ignores property %s: %s does not tell it of its images", key, Path(name).name)
            continue
        graph = OpenEOProcessGraph(pg_data=plain(condition))
        known = {  # a callable of its own for each label: it keeps its first answer
            label: bool(graph.to_callable(PROCESS_REGISTRY)(named_parameters={"value": label})) for label in set(labels)
        }
        keep = np.flatnonzero([known[label] for label in labels])
        if keep.size == 0:
            raise ValueError(f"{Path(name).name} has no image of the {key} requested; it holds {sorted(known)}")
        data = data.isel(t=keep)
    return data


def labels_along_t(data: xr.Dataset, name: str) -> list[str] | None:
    """A coordinate along t as text in capital letters; None where the file has none."""
    if name not in data.coords or data[name].dims != ("t",):
        return None
    return [str(label).upper() for label in data[name].values]


def decoded_netcdf(path: Path) -> xr.Dataset:
    """NetCDF decoded by its attributes, except for integer bands with a fill value and an integer scale.

    xarray gives these an integer type and then fails to write NaN into them; they are read as stored (a scene
    classification uses 0 for no data).
    """
    data = open_netcdf(path, chunks={}, decode_coords="all")
    odd = [v for v in data.data_vars if data[v].dtype.kind in "iu" and "_FillValue" in data[v].encoding]
    if odd:
        _log.info("%s: %s read as stored", path.name, odd)
        stored = open_netcdf(path, chunks={}, decode_coords="all", mask_and_scale=False)
        data = data.assign({v: stored[v] for v in odd})
    return data


def to_cube(data: xr.Dataset, path: Path, bands: list[str] | None) -> xr.DataArray:
    """Bands of a Dataset, in the requested order, as one cube (t, bands, y, x)."""
    known = [str(v) for v in data.data_vars if {"y", "x"} <= set(data[v].dims)]
    wanted = list(bands) if bands else known
    missing = [b for b in wanted if b not in known]
    if missing or not wanted:
        raise ValueError(f"{path.name} has no band {missing}; it holds {known}")
    attrs = {k: v for k, v in {**data.attrs, **data[wanted[0]].attrs}.items() if k in ("s1_units", "units")}
    cube = data[wanted].to_array("bands")
    if cube.dtype == np.float64:  # back-ends pass float32
        cube = cube.astype(np.float32)
    cube = cube.drop_vars([c for c in cube.coords if c not in (*cube.dims, "spatial_ref")])
    if cube.y.size > 1 and cube.y.values[0] < cube.y.values[-1]:
        cube = cube.isel(y=slice(None, None, -1))
    if cube.x.size > 1 and cube.x.values[0] > cube.x.values[-1]:
        cube = cube.isel(x=slice(None, None, -1))
    order = [d for d in ("t", "bands", "y", "x") if d in cube.dims]
    cube = keep_crs(cube.transpose(*order), data.to_array("bands") if data.rio.crs is None else data)
    cube = cube.chunk({d: (CHUNK_PX if d in ("y", "x") else -1) for d in cube.dims})
    cube.attrs = attrs
    return cube.rename(None)


def select_time(cube: xr.DataArray, extent: Any) -> xr.DataArray:
    """Dates within the left-closed interval, floored to days, one image per day."""
    if "t" not in cube.dims:
        return cube
    cube = cube.sortby("t")
    days = whole_days(cube.t.values)
    start, end = _interval(extent)
    keep = np.ones(cube.sizes["t"], bool)
    if start is not None:
        keep &= days >= start
    if end is not None:
        keep &= days < end
    if not keep.any():
        seen = days
        raise ValueError(
            f"no date lies in [{start}, {end}); the data run from {str(seen[0])[:10]} to {str(seen[-1])[:10]}"
        )
    return one_image_per_day(cube.isel(t=np.flatnonzero(keep)))


def _interval(extent: Any) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    if extent is None:
        return None, None
    ends = [getattr(e, "root", e) for e in plain_list(extent)]

    def instant(value: Any) -> np.datetime64 | None:
        if value is None:
            return None
        if isinstance(value, str) and "T" not in value:
            value = one_date(value, "temporal_extent")  # a whole month has no meaning as an end that is left out
        text = value.strftime("%Y-%m-%dT%H:%M:%S") if hasattr(value, "strftime") else str(value).rstrip("Z")
        one_date(text, "temporal_extent")
        return np.datetime64(text).astype("datetime64[ns]")

    return instant(ends[0]), instant(ends[1])


def plain_list(extent: Any) -> list:
    """The two ends of a parsed or raw temporal interval."""
    return list(getattr(extent, "root", extent))


def select_area(cube: xr.DataArray, extent: Any) -> xr.DataArray:
    """Pixels whose centre lies within a bounding box, or inside the polygons of a GeoJSON object."""
    crs = crs_of(cube)
    if crs is None:
        raise ValueError("the data carry no CRS, so an extent cannot be applied; write one with rioxarray's write_crs")
    extent = extent.model_dump() if hasattr(extent, "model_dump") else extent
    if "west" in extent:
        west, south, east, north = (float(extent[k]) for k in ("west", "south", "east", "north"))
        return crop(cube, project_bounds((west, south, east, north), extent.get("crs") or LONLAT, crs))
    geometry = project(polygon_of(extent, "spatial_extent"), LONLAT, crs)
    cube = crop(cube, geometry.bounds)
    mask = xr.DataArray(inside_polygon(cube, geometry), dims=("y", "x"), coords={"y": cube.y, "x": cube.x})
    return keep_crs(cube.where(mask), cube)
