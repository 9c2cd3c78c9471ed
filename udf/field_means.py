"""Means of fields at the end of the process graph: openEO ``aggregate_spatial`` instead of maps."""

import json
from pathlib import Path
from typing import Any

import shapely
from openeo.rest.result import SaveResult

from fusion.fields.polygons import read_polygons
from fusion.place import LONLAT
from udf.area import Area, area_from
from udf.graph_options import WorkflowOptions
from udf.polygon import MAX_VERTICES
from udf.targets import TargetSettings
from udf.workflow import build_workflow

FORMAT = "CSV"  # the table format that all back-ends write


def field_collection(polygons: Path, id: str | None = None) -> dict[str, Any]:
    """The polygons of a file as a GeoJSON FeatureCollection in longitude and latitude, with the property ``field``.

    Fields without a geometry are left out.

    Raises
    ------
    ValueError
        What :func:`fusion.fields.polygons.read_polygons` refuses, and more vertices than a process graph can carry.
    """
    table = read_polygons(polygons, id)
    placed = table[~(table.geometry.isna() | table.geometry.is_empty)]
    vertices = int(shapely.get_num_coordinates(placed.geometry.values).sum())
    if vertices > MAX_VERTICES:
        raise ValueError(
            f"{polygons} has {vertices} vertices; a process graph carries at most {MAX_VERTICES}; divide the file, or "
            "save the fused cube and run `ndvi-fusion fields` on it"
        )
    return json.loads(placed[[placed.geometry.name]].to_crs(LONLAT).reset_index().to_json(drop_id=True))


def area_of(fields: dict[str, Any]) -> Area:
    """The rectangle around the fields."""
    west, south, east, north = shapely.total_bounds([shapely.geometry.shape(f["geometry"]) for f in fields["features"]])
    area = area_from({"west": west, "south": south, "east": east, "north": north, "crs": LONLAT})
    assert area is not None
    return area


def build_field_workflow(target: TargetSettings, options: WorkflowOptions, fields: dict[str, Any]) -> SaveResult:
    """The graph of :func:`udf.workflow.build_workflow` that ends in a table of field means.

    This machine weights pixels by area; a back-end may count them as a whole or not at all. The mean of NDVI_SIGMA is
    the standard deviation of the mean for errors that are fully correlated within a field.
    """
    cube = build_workflow(target, options, save=False)
    assert not isinstance(cube, SaveResult)
    return cube.aggregate_spatial(geometries=fields, reducer="mean").save_result(format=FORMAT)
