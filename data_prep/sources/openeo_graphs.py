"""openEO process graphs that download one sensor over one area."""

import datetime
from functools import reduce
from typing import Any

from data_prep.raw.cubes import SourceError
from data_prep.sources.settings import Sensor
from fusion.place import Bounds, utm_of_bounds
from udf.targets import TargetSettings, load_target


def download_graph(
    backend: str, sensor: Sensor, bbox: Bounds, start: datetime.date, end: datetime.date
) -> dict[str, Any]:
    """Flat openEO process graph that loads one sensor over an area and saves it as NetCDF.

    Parameters
    ----------
    backend : {"cdse", "terrascope"}
        Back-end; its collections and bands are in ``configs/target``.
    sensor : {"s2", "s1", "coarse"}
        s2: red, near infrared and scene classes on one 10 m UTM grid, nearest neighbour, unmasked. s1: VV and VH with
        the configured backscatter coefficient, 10 m, bilinear, of each pass where the target can tell them apart.
        coarse: NDVI unchanged on its native grid.
    bbox : tuple of float
        West, south, east, north, degrees.
    start, end : datetime.date
        First and last date, both included.

    Raises
    ------
    SourceError
        The back-end does not provide the sensor in the period.
    """
    target = load_target(backend)
    if sensor == "s2":
        cube = _sentinel2_graph(target, bbox, start, end)
    elif sensor == "s1":
        cube = _sentinel1_graph(target, bbox, start, end)
    else:
        cube = _coarse_graph(target, bbox, start, end)
    return cube.save_result(format="NetCDF").flat_graph()


def _load(
    collection: str, bands: list[str], bbox: Bounds, start: datetime.date, end: datetime.date,
    properties: dict[str, Any] | None = None,
) -> Any:  # fmt: skip
    from openeo import DataCube

    extent = dict(zip(("west", "south", "east", "north"), bbox, strict=True))
    after = end + datetime.timedelta(days=1)  # openEO intervals exclude their end
    return DataCube.load_collection(
        collection_id=collection,
        connection=None,
        fetch_metadata=False,
        bands=bands,
        spatial_extent=extent,
        temporal_extent=[start.isoformat(), after.isoformat()],
        properties=properties,
    )


def _sentinel2_graph(target: TargetSettings, bbox: Bounds, start: datetime.date, end: datetime.date) -> Any:
    bands, classes = [target.red_band, target.nir_band], target.scl_band
    if target.scl_collection == target.s2_collection:
        cube = _load(target.s2_collection, [*bands, classes], bbox, start, end)
        return cube.resample_spatial(resolution=10, projection=utm_of_bounds(bbox), method="near")
    cube, scl = (
        _load(collection, names, bbox, start, end).resample_spatial(
            resolution=10, projection=utm_of_bounds(bbox), method="near"
        )
        for collection, names in ((target.s2_collection, bands), (target.scl_collection, [classes]))
    )
    return cube.merge_cubes(scl)


def _sentinel1_graph(target: TargetSettings, bbox: Bounds, start: datetime.date, end: datetime.date) -> Any:
    if target.s1_collection is None:
        raise SourceError(f"back-end {target.name} has no Sentinel-1 collection; remove s1 from source.sensors")
    from openeo.rest.datacube import THIS

    bands, cubes = [target.vv_band, target.vh_band], []
    name = target.s1_pass_property
    for state in target.s1_passes if name is not None else (None,):
        only = None if name is None else {name: lambda value, state=state: value == state}
        cube = _load(target.s1_collection, bands, bbox, start, end, only)
        if target.s1_process is not None:
            cube = cube.process(target.s1_process, data=THIS, coefficient=target.s1_coefficient)
        if state is not None:  # bands tell the pass, which a download of all passes does not
            cube = cube.rename_labels("bands", [f"{state}_{band}" for band in bands])
        cubes.append(cube.resample_spatial(resolution=10, projection=utm_of_bounds(bbox), method="bilinear"))
    return reduce(lambda first, second: first.merge_cubes(second), cubes)


def _coarse_graph(target: TargetSettings, bbox: Bounds, start: datetime.date, end: datetime.date) -> Any:
    cubes = []
    for source in target.coarse:
        first = max(start, source.first or start)
        last = min(end, source.last or end)
        if first <= last:
            cube = _load(source.collection, [source.band], _grown(bbox), first, last)
            cubes.append(cube.rename_labels("bands", ["NDVI"]))
    if not cubes:
        raise SourceError(
            f"back-end {target.name} has no coarse NDVI from {start} to {end}; remove coarse from source.sensors"
        )
    merged = cubes[0]
    for cube in cubes[1:]:
        merged = merged.merge_cubes(cube.resample_cube_spatial(cubes[0], method="near"))
    return merged


def _grown(bbox: Bounds, cells: int = 3) -> Bounds:
    """The area buffered by ``cells`` coarse cells (1/336 degree), so that interpolation has neighbours at the edge."""
    step = cells / 336.0
    return (bbox[0] - step, bbox[1] - step, bbox[2] + step, bbox[3] + step)
