"""Areas as users give them: read right, or refused by one sentence, on every path."""

import codecs
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr
from pyproj import Transformer
from shapely import make_valid, simplify
from shapely.geometry import Point, mapping, shape

from data_prep.sources.openeo import OpenEOSource
from data_prep.sources.stac import StacSource
from udf.area import area_from
from udf.commands.workflow import WorkflowSettings, run
from udf.local.loading import select_area
from udf.local.masks import filter_spatial, mask_polygon
from udf.polygon import MAX_VERTICES
from udf.publish import build_process, call_process
from udf.targets import load_target

UTM = 32631
SQUARE = [[640_000, 5_660_000], [640_500, 5_660_000], [640_500, 5_660_500], [640_000, 5_660_500], [640_000, 5_660_000]]
IN_METRES = {"type": "Polygon", "coordinates": [SQUARE]}
TO_DEGREES = Transformer.from_crs(UTM, 4326, always_xy=True)
FIELD = {"type": "Polygon", "coordinates": [[list(TO_DEGREES.transform(*corner)) for corner in SQUARE]]}


def named(crs: str) -> dict:
    return {"type": "name", "properties": {"name": crs}}


def ring(*corners: tuple[float, float]) -> dict:
    return {"type": "Polygon", "coordinates": [[*map(list, corners), list(corners[0])]]}


def features(*geometries: Any, **members: Any) -> dict:
    found = [{"type": "Feature", "properties": {}, "geometry": geometry} for geometry in geometries]
    return {"type": "FeatureCollection", "features": found, **members}


def circle(vertices: int) -> dict:
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    return ring(*zip(5 + 0.01 * np.cos(angle), 51 + 0.01 * np.sin(angle), strict=True))


def image() -> xr.DataArray:
    """One date and band around the square, 60 px of 10 m a side."""
    y, x = 5_660_545 - 10.0 * np.arange(60), 639_955 + 10.0 * np.arange(60)
    values = xr.DataArray(np.ones((1, 1, 60, 60), np.float32), dims=("t", "bands", "y", "x"), coords={"y": y, "x": x})
    return values.rio.write_crs(UTM)


def by_workflow(geojson: dict, folder: Path) -> None:
    file = folder / "area.geojson"
    file.write_text(json.dumps(geojson))
    run(WorkflowSettings(target=load_target("cdse"), out=folder / "o", area=file, start="2021-03", end="2021-10"))


def by_call(geojson: dict, folder: Path) -> None:
    process = build_process(load_target("cdse"), None)
    call_process(
        process, "https://x.org/p.json", {"spatial_extent": geojson, "temporal_extent": ["2021-03-01", "2021-11-01"]}
    )


POLYGON_PATHS: dict[str, Callable[[dict, Path], object]] = {
    "workflow": by_workflow,
    "area": lambda geojson, folder: area_from(geojson),
    "published process": by_call,
    "load_collection": lambda geojson, folder: select_area(image(), geojson),
    "mask_polygon": lambda geojson, folder: mask_polygon(image(), geojson),
    "filter_spatial": lambda geojson, folder: filter_spatial(image(), geojson),
}
REFUSED = {
    "metres without crs": (IN_METRES, "from 640000 to 640500 in longitude .* these are no degrees"),
    "unknown crs": (IN_METRES | {"crs": named("EPSG:999999")}, "names no known CRS"),
    "crs by a link": (IN_METRES | {"crs": {"type": "link", "properties": {"href": "x"}}}, "names no known CRS"),
    "null geometry": ({"type": "Feature", "geometry": None, "properties": {}}, "Feature without a geometry"),
    "only null geometries": (features(None, None), "holds no polygon"),
    "empty collection": (features(), "holds no polygon"),
    "empty polygon": ({"type": "Polygon", "coordinates": []}, "holds no polygon"),
    "no coordinates": ({"type": "Polygon"}, "coordinates that cannot be read"),
    "text for numbers": ({"type": "Polygon", "coordinates": [[["a", "b"]] * 4]}, "coordinates that cannot be read"),
    "two corners": (ring((5, 51)), "coordinates that cannot be read"),
    "not a number": (ring((5, 51), (6, float("nan")), (6, 52)), "coordinates that cannot be read"),
    "a point": (features({"type": "Point", "coordinates": [5, 51]}), "of type 'Point'; expected Polygon"),
    "collection without features": ({"type": "FeatureCollection"}, "of type 'FeatureCollection'"),
    "latitude": (ring((5, 89), (6, 89), (6, 91)), "these are no degrees"),
    "beyond 180": (ring((179.9, 1), (180.1, 1), (180.1, 2)), "antimeridian; split it at 180 degrees"),
    "ring that jumps": (ring((179.9, 1), (-179.9, 1), (-179.9, 2)), "antimeridian; split it at 180 degrees"),
    "cut at 180": (
        features(ring((179.9, 1), (180, 1), (180, 2)), ring((-180, 1), (-179.9, 1), (-179.9, 2))),
        "antimeridian; split it at 180 degrees",
    ),
    "bow tie": (ring((5, 51), (6, 52), (6, 51), (5, 52)), "not valid .*Self-intersection.*shapely.make_valid"),
    "a million vertices": (circle(1_000_000), f"has 1000001 vertices; expected at most {MAX_VERTICES}"),
}  # fmt: skip


@pytest.mark.parametrize("path", POLYGON_PATHS)
@pytest.mark.parametrize("what", REFUSED)
def test_polygon_refused_by_one_sentence(what: str, path: str, tmp_path: Path) -> None:
    geojson, message = REFUSED[what]
    begun = time.monotonic()
    with pytest.raises(ValueError, match=message) as refused:
        POLYGON_PATHS[path](geojson, tmp_path)
    assert "\n" not in str(refused.value)
    assert time.monotonic() - begun < 60
    assert not (tmp_path / "o").exists(), "refused before anything is written"
    if path == "workflow":
        assert "area.geojson" in str(refused.value)


@pytest.mark.parametrize("crs", ["urn:ogc:def:crs:EPSG::32631", "EPSG:32631"])
@pytest.mark.parametrize("path", ["load_collection", "mask_polygon", "filter_spatial"])
def test_a_projected_polygon_is_honoured_on_pixels(path: str, crs: str, tmp_path: Path) -> None:
    out: Any = POLYGON_PATHS[path](features(IN_METRES, crs=named(crs)), tmp_path)
    assert int(np.isfinite(out.values).sum()) == 50 * 50
    assert float(out.x.where(out.notnull().any(("t", "bands", "y")), drop=True).min()) == 640_005


def test_a_projected_file_gives_the_area_of_its_degrees(tmp_path: Path) -> None:
    file = tmp_path / "utm.geojson"
    file.write_text(json.dumps(features(IN_METRES, crs=named("urn:ogc:def:crs:EPSG::32631"))))
    area = area_from(file)
    assert area is not None
    assert area.bbox() == {"west": 640_000, "south": 5_660_000, "east": 640_500, "north": 5_660_500, "crs": UTM}
    assert shape(area.geometry).symmetric_difference(shape(FIELD)).area < 1e-12
    process = build_process(load_target("cdse"), None)
    told = {
        "spatial_extent": IN_METRES | {"crs": named(f"EPSG:{UTM}")},
        "temporal_extent": ["2021-03-01", "2021-11-01"],
    }
    sent = call_process(process, "https://x.org/p.json", told).flat_graph()["ndvifusion1"]["arguments"][
        "spatial_extent"
    ]
    assert shape(sent).symmetric_difference(shape(FIELD)).area < 1e-12
    assert "crs" not in sent


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + json.dumps(FIELD).encode(),
        codecs.BOM_UTF16_LE + json.dumps(FIELD).encode("utf-16-le"),
        json.dumps(FIELD | {"crs": None}).encode(),
        json.dumps(FIELD | {"crs": named("urn:ogc:def:crs:OGC:1.3:CRS84")}).encode(),
        json.dumps(FIELD | {"crs": named("urn:ogc:def:crs:EPSG::4326")}).encode(),
    ],
    ids=["bom", "utf-16", "null crs", "crs84", "4326"],
)
def test_a_byte_order_mark_and_a_crs_of_degrees_change_nothing(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "field.geojson"
    file.write_bytes(content)
    assert area_from(file) == area_from(FIELD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"type": "Polygon", "coordinates": [[', r"broken\.geojson is no JSON .*expected a whole GeoJSON"),
        (b"", r"broken\.geojson is no JSON"),
        ('{"type": "Polyg\u00f6n"}'.encode("latin-1"), r"broken\.geojson is no JSON"),
        (b"[" * 100_000, r"broken\.geojson is no JSON"),
        (b"[1, 2]", r"broken\.geojson holds a list; expected a GeoJSON object"),
        (b"{}", r"broken\.geojson has keys \[\]"),
    ],
)
def test_a_broken_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.geojson"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        area_from(file)


def test_holes_stay_and_null_geometries_are_told(caplog: pytest.LogCaptureFixture) -> None:
    west, south, east, north = shape(FIELD).bounds
    hole = Point((west + east) / 2, (south + north) / 2).buffer((north - south) / 4)
    ringed = shape(FIELD).difference(hole)
    caplog.set_level(logging.WARNING)
    area = area_from(features(mapping(ringed), None))
    assert area is not None
    assert shape(area.geometry).equals(ringed)
    assert "1 of 2 features have no geometry" in caplog.text
    masked = mask_polygon(image(), mapping(ringed)).isel(t=0, bands=0)
    assert np.isnan(masked.sel(x=640_245, y=5_660_255)), "the middle lies in the hole"
    assert masked.sel(x=640_015, y=5_660_255) == 1


def test_advice_works() -> None:
    many = simplify(shape(circle(1_000_000)), 0.00005)
    assert area_from(mapping(many)).bbox() == area_from(circle(1_000)).bbox()
    assert area_from(mapping(make_valid(shape(REFUSED["bow tie"][0])))).latitude == pytest.approx(51.5, abs=0.1)
    assert area_from(IN_METRES | {"crs": named("EPSG:32631")}).bbox()["west"] == 640_000


def test_many_vertices_are_answered() -> None:
    area = area_from(circle(MAX_VERTICES - 1))
    assert area is not None
    assert area.north - area.south == pytest.approx(0.02 * 111_300, rel=0.03)


BOX_PATHS: dict[str, Callable[[tuple], object]] = {
    "stac": lambda box: StacSource(catalog="c.json", bbox=box, start="2021", end="2021"),
    "openeo": lambda box: OpenEOSource(areas={"mol": box}, folder=Path("f"), start="2021", end="2021"),
    "workflow": lambda box: area_from(dict(zip(("west", "south", "east", "north"), box, strict=True))),
}


@pytest.mark.parametrize("path", BOX_PATHS)
@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((640_000, 5_660_000, 640_500, 5_660_500), "these are no degrees"),
        ((5.0, 51.0, 5.1, 91.0), "these are no degrees"),
        ((179.9, 1.0, 180.1, 2.0), "antimeridian; split it at 180 degrees"),
        ((179.9, 1.0, -179.9, 2.0), "crosses the antimeridian; split it at 180 degrees"),
        ((-180.0, 1.0, 180.0, 2.0), "antimeridian; split it at 180 degrees"),
        ((5.1, 51.0, 5.0, 51.1), "is empty: expected west < east"),
        ((5.0, 51.0, 5.1, 51.0), "is empty: expected west < east and south < north"),
        ((5.0, float("nan"), 5.1, 51.0), "expected finite numbers"),
        ((5.0, 51.0, float("inf"), 51.1), "expected finite numbers"),
    ],
)
def test_box_refused_by_one_sentence(box: tuple, message: str, path: str) -> None:
    with pytest.raises(ValueError, match=message):
        BOX_PATHS[path](box)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"west": "here"}, "expected four numbers"),
        ({"crs": "EPSG:999999"}, "has crs 'EPSG:999999'; expected an EPSG code"),
        ({"west": 5.0, "south": 51.0, "east": 5.1, "north": 51.1}, "looks like degrees, but crs is 32631"),
    ],
)
def test_box_of_a_projection_is_checked(change: dict, message: str) -> None:
    box = {"west": 640_000, "south": 5_660_000, "east": 640_500, "north": 5_660_500, "crs": UTM}
    with pytest.raises(ValueError, match=message):
        area_from(box | change)
