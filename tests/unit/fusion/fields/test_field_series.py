"""Means of polygons against a slow oracle, rules, flags, repaired and refused polygons."""

import logging
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rioxarray  # noqa: F401
import shapely
import xarray as xr
from rasterio.features import rasterize
from rasterio.transform import from_origin

import fusion
from fusion.contract import ContractError
from fusion.data.cube_files import read_cube, write_cube
from fusion.fields import coverage
from fusion.fields.rules import FIELD_FLAGS
from tests.factory import CRS, ORIGIN_X, ORIGIN_Y, mock_cube

SIDE = 30


def fused_cube(t: int = 4, side: int = SIDE, seed: int = 0, sigma: float | None = None) -> xr.DataArray:
    """A rough fused cube: every pixel differs, some are missing."""
    rng = np.random.default_rng(seed)
    values = np.stack([rng.uniform(0, 1, (t, side, side)), rng.uniform(0.02, 0.1, (t, side, side))], axis=1)
    if sigma is not None:
        values[:, 1] = sigma
    values[1:2, :, rng.uniform(size=(side, side)) < 0.2] = np.nan
    axis = np.arange(side) * 10 + 5.0
    coords = {
        "t": np.array(["2020-05-01", "2020-05-06", "2020-05-11", "2020-05-16"], "datetime64[ns]")[:t],
        "bands": ["NDVI", "NDVI_SIGMA"], "y": ORIGIN_Y - axis, "x": ORIGIN_X + axis,
    }  # fmt: skip
    return xr.DataArray(values.astype(np.float32), dims=("t", "bands", "y", "x"), coords=coords).rio.write_crs(CRS)


def at(*offsets: tuple[float, float]) -> list[tuple[float, float]]:
    """Positions in metres right of and below the corner of the cube."""
    return [(ORIGIN_X + x, ORIGIN_Y - y) for x, y in offsets]


PENTAGON = shapely.Polygon(at((12.5, 3.2), (140.1, 31.7), (155.3, 160.9), (60.4, 201.2), (7.7, 90.5)))
RING = shapely.Polygon(
    at((170.2, 20.6), (290.4, 35.1), (270.9, 190.3), (181.1, 150.7)), [at((200, 60), (250, 70), (240, 130), (205, 120))]
)
PARTS = shapely.MultiPolygon([shapely.box(*at((33, 290))[0], *at((95, 231))[0]), RING])
SLIVER = shapely.Polygon(at((100.3, 250.1), (220.8, 260.4), (219.9, 266.2), (99.8, 256.3)))


def fields(*polygons: shapely.Geometry | None, crs: str = CRS, **columns: object) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=list(polygons), crs=crs)


def oracle(values: np.ndarray, polygon: shapely.Geometry) -> np.ndarray:
    """Means (t,) of values (t, y, x) over the polygon rasterised at 1 m."""
    fine = (values.shape[1] * 10, values.shape[2] * 10)
    inside = rasterize([polygon], fine, transform=from_origin(ORIGIN_X, ORIGIN_Y, 1, 1)).astype(bool)
    weight = inside.reshape(values.shape[1], 10, values.shape[2], 10).sum(axis=(1, 3))
    return np.array([np.nansum(v * weight) / (np.isfinite(v) * weight).sum() for v in values])


@pytest.mark.parametrize("polygon", [PENTAGON, RING, PARTS, SLIVER], ids=["pentagon", "hole", "parts", "sliver"])
@pytest.mark.parametrize("buffer", [0.0, 10.0])
def test_means_equal_those_of_a_raster_of_1_m(polygon, buffer):
    cube = fused_cube()
    got = fusion.field_series(cube, fields(polygon), inner_buffer_m=buffer, min_share=0)
    used = polygon.buffer(-buffer) if polygon.buffer(-buffer).area >= 400 else polygon
    expected = oracle(cube.sel(bands="NDVI").values.astype(float), used)
    np.testing.assert_allclose(got.sel(bands="NDVI").values[:, 0], expected, atol=0.002)
    assert got.pixels.item() == pytest.approx(used.area / 100, rel=1e-6)
    assert got.area_ha.item() == pytest.approx(polygon.area / 1e4, rel=1e-6)
    assert got.field_flag.item() == (FIELD_FLAGS["no_buffer"] if used is polygon and buffer else 0)


def test_spread_share_and_sigma_of_two_pixels_by_hand():
    """A field of one whole pixel and half of the next: w = 1, 1/2; NDVI 0.2, 0.8; sigma 0.1, 0.04."""
    cube = fused_cube(t=2)
    cube[:] = 0.5
    cube[:, :, 0, 0], cube[:, :, 0, 1] = [0.2, 0.1], [0.8, 0.04]
    cube[1, :, 0, 1] = np.nan
    field = fields(shapely.box(*at((0, 10))[0], *at((15, 0))[0]))
    for c in (0.0, 0.3, 1.0):
        got = fusion.field_series(cube, field, inner_buffer_m=0, correlation=c, min_share=0).isel(field=0)
        np.testing.assert_allclose(got.sel(bands="NDVI"), [(0.2 + 0.4) / 1.5, 0.2], rtol=1e-5)
        np.testing.assert_allclose(got.sel(bands="SHARE_OBSERVED"), [1, 2 / 3], rtol=1e-5)
        variance = c * (0.1 + 0.02) ** 2 + (1 - c) * (0.1**2 + 0.02**2)
        np.testing.assert_allclose(got.sel(bands="NDVI_SIGMA"), [variance**0.5 / 1.5, 0.1], rtol=1e-5)
        spread = ((0.04 + 0.5 * 0.64) / 1.5 - 0.4**2) ** 0.5
        np.testing.assert_allclose(got.sel(bands="NDVI_SPREAD"), [spread, 0], atol=1e-5)
    strict = fusion.field_series(cube, field, inner_buffer_m=0, min_share=0.7).isel(field=0)
    assert np.isnan(strict.sel(bands=["NDVI", "NDVI_SIGMA", "NDVI_SPREAD"]).values[1]).all()
    assert strict.sel(bands="SHARE_OBSERVED").values[1] == pytest.approx(2 / 3)


def test_correlated_errors_do_not_average_out():
    """100 pixels of sigma 0.05: 0.005 where independent, 0.05 where they share one error."""
    field = fields(shapely.box(*at((100, 200))[0], *at((200, 100))[0]))
    for c, expected in ((0.0, 0.005), (1.0, 0.05), (0.5, 0.05 * (0.5 + 0.005) ** 0.5)):
        got = fusion.field_series(fused_cube(t=1, sigma=0.05), field, inner_buffer_m=0, correlation=c)
        assert got.sel(bands="NDVI_SIGMA").item() == pytest.approx(expected, rel=1e-4)


def test_windows_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cube, table = fused_cube(side=70), fields(PENTAGON, PARTS, shapely.box(*at((5, 690))[0], *at((690, 5))[0]))
    whole = fusion.field_series(cube, table)
    monkeypatch.setattr(coverage, "WINDOW_VALUES", 1)
    cut = list(coverage.windows(coverage.grid_of(cube), 8))
    assert len(cut) == 9 and cut[0] == (slice(0, 32), slice(0, 32))
    for suffix in (".nc", ".zarr"):
        file = write_cube(cube, tmp_path / f"cube{suffix}")
        got = fusion.field_series(file, table)
        np.testing.assert_allclose(got.values, whole.values, atol=1e-6)
    lazy = fusion.field_series(read_cube(file, lazy=True), table)
    np.testing.assert_allclose(lazy.values, whole.values, atol=1e-6)


@pytest.mark.parametrize("axes", [{"y": slice(None, None, -1)}, {"x": slice(None, None, -1)}])
def test_direction_and_names_of_axes_do_not_matter(axes):
    cube, table = fused_cube(), fields(PENTAGON)
    expected = fusion.field_series(cube, table)
    turned = cube.isel(axes).transpose("x", "bands", "y", "t")
    xr.testing.assert_allclose(fusion.field_series(turned, table), expected)
    named = cube.rename(t="time", bands="band").rio.write_crs(CRS)
    xr.testing.assert_allclose(fusion.field_series(named, table), expected)
    xr.testing.assert_allclose(fusion.field_series(cube.to_dataset("bands"), table), expected)


def test_a_fill_value_is_missing_as_nan_is(caplog):
    for band, cube in (
        ("NDVI", fused_cube()),
        ("VV", mock_cube(t=10, y=SIDE, x=SIDE)),
        ("S2NDVI", mock_cube(t=10, y=SIDE, x=SIDE)),
    ):
        filled, empty = cube.copy(), cube.copy()
        filled.loc[{"bands": band}][2, 5, 5], empty.loc[{"bands": band}][2, 5, 5] = -9999, np.nan
        got, expected = (fusion.field_series(c, fields(PENTAGON)) for c in (filled, empty))
        xr.testing.assert_identical(got, expected)
        assert np.isfinite(got.sel(bands=band).values[2, 0]) and "cannot be" in caplog.text


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".parquet"])
def test_files_in_other_crs_give_the_same_fields(tmp_path, suffix):
    cube = fused_cube()
    table = fields(PENTAGON, PARTS, parcel=["a", "b"])
    expected = fusion.field_series(cube, table, id="parcel")
    assert expected.field.values.tolist() == ["a", "b"]
    file, moved = tmp_path / f"fields{suffix}", table.to_crs(4326)
    moved.to_parquet(file) if suffix == ".parquet" else moved.to_file(file)
    got = fusion.field_series(cube, file, id="parcel")
    np.testing.assert_allclose(got.values, expected.values, atol=2e-4)
    np.testing.assert_allclose(got.area_ha, expected.area_ha, rtol=1e-4)


def test_a_cube_in_degrees_buffers_in_metres():
    cube, table = fused_cube(), fields(PENTAGON)
    west, south, east, north = table.to_crs(4326).total_bounds
    degrees = cube.assign_coords(
        x=np.linspace(west - 0.001, east + 0.001, SIDE), y=np.linspace(north + 0.001, south - 0.001, SIDE)
    )
    got = fusion.field_series(degrees.rio.write_crs(4326), table, inner_buffer_m=20)
    pixel = float(abs(degrees.x[1] - degrees.x[0]) * abs(degrees.y[1] - degrees.y[0]))
    inner = shapely.area(table.buffer(-20).to_crs(4326).item()) / pixel
    assert got.pixels.item() == pytest.approx(inner, rel=1e-3)
    assert got.area_ha.item() == pytest.approx(PENTAGON.area / 1e4, rel=1e-3)


def test_what_is_special_about_a_field_is_flagged(caplog):
    bow = shapely.Polygon(at((10, 10), (90, 90), (90, 10), (10, 90)))
    tiny = shapely.box(*at((103, 108))[0], *at((107, 104))[0])
    partly = shapely.box(*at((-60, 100))[0], *at((50, 50))[0])
    collapsed = shapely.Polygon(at((10, 10), (50, 50), (10, 10), (10, 10)))
    table = fields(bow, tiny, partly, shapely.box(0, 0, 90, 90), None, shapely.Polygon(), collapsed, PENTAGON)
    before = table.copy()
    with caplog.at_level(logging.WARNING):
        got = fusion.field_series(fused_cube(), table, inner_buffer_m=5)
    repaired, no_buffer, small, part, outside, none = (
        FIELD_FLAGS[n] for n in ("repaired", "no_buffer", "small", "partly_outside", "outside", "no_geometry")
    )
    assert got.field_flag.values.tolist() == [repaired, no_buffer | small, part, outside, none, none, none, 0]
    assert (
        "2 of 8 polygons were invalid and are repaired" in caplog.text
        and "3 of 8 fields have no geometry" in caplog.text
    )
    ndvi, share = got.sel(bands="NDVI").values[0], got.sel(bands="SHARE_OBSERVED").values[0]
    assert np.isfinite(ndvi).tolist() == [True, True, False, False, False, False, False, True]
    assert share[2] == pytest.approx(0.45, abs=0.09) and share[3] == 0 and np.isnan(share[4:7]).all()
    assert got.area_ha.values[0] == pytest.approx(0.32, rel=1e-6), "the two triangles of the bow"
    assert got.field_flag.attrs["flag_meanings"].split() == list(FIELD_FLAGS)
    seasons = fusion.seasons(got)
    assert seasons.FLAG.values[0].tolist()[3:7] == [1, 1, 1, 1], "no data"
    assert table.equals(before)


def test_a_merged_cube_gives_means_of_power_and_keeps_dates_apart():
    cube = mock_cube(t=10, y=20, x=20)
    table = fields(shapely.box(*at((20, 120))[0], *at((130, 20))[0]))
    got = fusion.field_series(cube, table, inner_buffer_m=0).isel(field=0)
    assert got.bands.values.tolist() == ["S2NDVI", "NDVI_SPREAD", "SHARE_OBSERVED", "VV", "VH"]
    part = cube.isel(y=slice(2, 12), x=slice(2, 13))
    power = (10 ** (part.sel(bands="VV").astype(float) / 10)).mean(("y", "x"))
    np.testing.assert_allclose(got.sel(bands="VV"), 10 * np.log10(power), atol=1e-4)
    half = np.isfinite(part.sel(bands="S2NDVI")).mean(("y", "x"))
    np.testing.assert_allclose(got.sel(bands="SHARE_OBSERVED"), half, atol=1e-6)
    linear = mock_cube(t=10, y=20, x=20, s1_units="linear")
    same = fusion.field_series(linear, table, inner_buffer_m=0).isel(field=0)
    np.testing.assert_allclose(same.sel(bands="VV"), got.sel(bands="VV"), atol=1e-3)
    del cube.attrs["s1_units"]
    with pytest.raises(ContractError, match="s1_units"):
        fusion.field_series(cube, table)


def refused(match: str, table: object, cube: xr.DataArray | None = None, **options: object) -> None:
    with pytest.raises(ContractError, match=match):
        fusion.field_series(fused_cube() if cube is None else cube, table, **options)


def test_what_cannot_be_used_is_refused_by_name(tmp_path):
    good = fields(PENTAGON, RING, id=["a", "a"], crop=["x", None])
    refused(r"id 'a' occurs 2 times.*dissolve\(by='id'", good)
    refused("1 fields have no crop", good, id="crop")
    refused("no column 'name'.*it has id, crop", good, id="name")
    assert fusion.field_series(fused_cube(), good.drop(columns="id")).field.values.tolist() == [1, 2]
    assert fusion.field_series(fused_cube(), good.dissolve(by="id", as_index=False)).field.values.tolist() == ["a"]
    refused("no CRS; write it", gpd.GeoDataFrame(geometry=[PENTAGON]))
    refused(r"\{'Point': 1\} among 2.*buffer", fields(PENTAGON, shapely.Point(0, 0)))
    refused("holds no polygon", fields(None, None))
    refused("these are no degrees", fields(PENTAGON, crs="EPSG:4326"))
    refused(r"no field lies on the cube.*check the CRS", fields(shapely.box(0, 0, 90, 90)))
    refused("cube has no CRS.*write_crs", good[["geometry"]], fused_cube().drop_vars("spatial_ref"))
    refused("expected t, y, x", good[["geometry"]], fused_cube().isel(y=0))
    uneven = fused_cube().assign_coords(x=ORIGIN_X + 10.0 * np.arange(SIDE) ** 1.2)
    refused("not equally spaced along x", good[["geometry"]], uneven)
    refused("NDVI ranges from", good[["geometry"]], fused_cube() * 200)
    refused("correlation is 2", good[["geometry"]], correlation=2)
    refused("ends in '.kml'", tmp_path / "a.kml")
    refused("there is no file", tmp_path / "a.gpkg")
    (tmp_path / "a.geojson").write_text("{")
    refused("cannot be read as polygons", tmp_path / "a.geojson")
    (tmp_path / "a.parquet").write_text("{")
    refused("cannot be read as polygons", tmp_path / "a.parquet")
    for layer in ("one", "two"):
        good.to_file(tmp_path / "a.gpkg", layer=layer)
    refused("has the layers one, two; name one, layer=one", tmp_path / "a.gpkg")
    assert fusion.field_series(fused_cube(), good.iloc[:1], id="id").field.values.tolist() == ["a"]


def test_a_missing_extra_names_itself(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "exactextract", None)
    refused(r"'exactextract'; install it with: pip install 'ndvi-fusion\[fields\]'", fields(PENTAGON))


def test_counts_of_observations_come_along():
    """A field counts as observed where most of its pixels are; seasons take QFLAG and gaps from it."""
    merged = mock_cube(t=73, y=20, x=20, start="2019-01-01", cloud=0.6)
    dense = fusion.fuse(merged, start="2019-01-01", end="2019-12-31")
    table = fields(shapely.box(*at((20, 180))[0], *at((95, 20))[0]))
    got = fusion.field_series(dense, table)
    seen = np.isfinite(merged.sel(bands="S2NDVI").values[:, 5, 5])
    np.testing.assert_array_equal(got.OBS_COUNT.values[:, 0], seen)
    counted = fusion.seasons(got)
    alone = fusion.seasons(got, observations=fusion.field_series(merged, table))
    for name in ("QFLAG", "OBS_UP", "OBS_PEAK", "OBS_DOWN", "LONGEST_GAP"):
        np.testing.assert_array_equal(counted[name], alone[name])
    assert counted.LONGEST_GAP.values[0] > 5
