"""openEO ``aggregate_spatial`` by exact area weights, and vector cubes as files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from fusion.fields.coverage import field_sums, grid_of
from fusion.fields.outputs import series_table, write_csv
from fusion.fields.polygons import FIELD, geopandas, on_cube, read_polygons
from fusion.fields.rules import FieldRules
from fusion.netcdf import write_netcdf
from fusion.place import LONLAT
from fusion.whole_file import whole_file
from udf.local.grid import crs_of
from udf.local.udf_call import callback_process_id, plain

FORMATS = ("CSV", "NetCDF")


def aggregate_spatial(
    data: xr.DataArray, geometries: Any, reducer: Callable, target_dimension: str | None = None, context: Any = None
) -> xr.DataArray:
    """openEO ``aggregate_spatial`` with the reducer ``mean``: dims (t, bands, field), float32.

    Pixels are weighted by the area that a polygon covers, NaN is left out, and the cube is computed window by window,
    only where polygons lie. The property ``field`` names the polygons, else they are numbered from 1.

    Raises
    ------
    ValueError
        Another reducer, or geometries that cannot be used.
    """
    if callback_process_id(reducer) != "mean":
        raise ValueError("aggregate_spatial runs here with the reducer mean only; use mean")
    crs = crs_of(data)
    if crs is None:
        raise ValueError("aggregate_spatial needs the CRS of the cube; write it with rioxarray's write_crs")
    shapes = plain(geometries.model_dump() if hasattr(geometries, "model_dump") else geometries)
    table = geopandas().GeoDataFrame.from_features(_features(shapes), crs=LONLAT)
    polygons = read_polygons(table, FIELD if FIELD in table else None)
    cube = data if "t" in data.dims else data.expand_dims("t")
    bands = cube.drop_attrs(deep=False).assign_coords(bands=[str(b) for b in cube.bands.values]).to_dataset("bands")
    grid = grid_of(bands)
    shapes_on_cube = on_cube(polygons, crs, grid.dx * grid.dy, FieldRules(inner_buffer_m=0)).geometry
    sums, _ = field_sums(bands, shapes_on_cube, lambda values, _: values)
    with np.errstate(invalid="ignore"):
        means = np.stack([one.first / one.weight for one in sums.values()]).transpose(2, 0, 1)
    out = xr.DataArray(
        means.astype(np.float32), dims=("t", "bands", FIELD),
        coords={"bands": list(sums), FIELD: polygons.index.to_numpy()},
    )  # fmt: skip
    return out.assign_coords(t=data.t.values) if "t" in data.dims else out.isel(t=0)


def _features(shapes: Any) -> list[dict]:
    kind = shapes.get("type") if isinstance(shapes, dict) else type(shapes).__name__
    if kind == "FeatureCollection":
        return [{**one, "properties": one.get("properties") or {}} for one in shapes["features"]]
    if kind == "Feature":
        return [{**shapes, "properties": shapes.get("properties") or {}}]
    if kind in ("Polygon", "MultiPolygon"):
        return [{"type": "Feature", "properties": {}, "geometry": shapes}]
    raise ValueError(f"geometries are of type {kind!r}; expected a GeoJSON FeatureCollection, Feature or polygon")


def write_vector(data: xr.DataArray, format: str, folder: Path, prefix: str) -> Path:
    """A vector cube as CSV (one row per field and date, a column per band) or NetCDF (a variable per band)."""
    kind = {name.lower(): name for name in FORMATS}.get(format.lower())
    if kind is None:
        raise ValueError(f"output format is {format!r}; means of polygons are written as {' or '.join(FORMATS)}")
    if kind == "CSV":
        cube = data if "t" in data.dims else data.expand_dims("t")
        return write_csv(series_table(cube), folder / f"{prefix}.csv")
    with whole_file(folder / f"{prefix}.nc") as partial:
        write_netcdf(data.to_dataset("bands"), partial)
    return folder / f"{prefix}.nc"
