"""STAC catalogues of cloud-optimised GeoTIFFs as a source: an API, or a catalogue on this machine.

Only the pixels of the area are read, when they are needed (Dask). Items may differ in CRS, nodata and data type: each
is warped to one UTM grid whose edges lie on whole 20 m cells, so that every 20 m cell of SCL is 2 x 2 pixels of 10 m.
"""

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_prep.coarse import coarse_ndvi
from data_prep.optical import BASELINE_OFFSET_DN, reflectance, scene_classes
from data_prep.radar import backscatter
from data_prep.raw.bands import RawBand
from data_prep.raw.cubes import RawCubes, SourceError
from data_prep.raw.roles import role_of
from data_prep.sources.stac_items import find_items
from fusion.cloud_mask import SCL_PIXEL_M
from fusion.place import LONLAT, Bounds, on_s2_grid, project_bounds, utm_of_bounds

log = logging.getLogger(__name__)

_CHUNK_PX = 1024


class StacSource(BaseModel):
    """Sentinel-2, Sentinel-1 and a coarse NDVI from a STAC catalogue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["stac"] = "stac"
    catalog: str = Field(description="address of a STAC API, or a catalog.json / item collection on this machine")
    bbox: Bounds = Field(description="west, south, east, north of the area, degrees (WGS 84)")
    start: str = Field(description="first date, YYYY-MM-DD")
    end: str = Field(description="last date, YYYY-MM-DD")
    s2_collection: str = Field("sentinel-2-l2a", description="collection with red, near infrared and SCL")
    s1_collection: str | None = Field(None, description="collection with VV and VH, terrain corrected; null: none")
    s1_units: Literal["dB", "linear"] | None = Field(
        None, description="units of VV and VH; must be said with s1_collection"
    )
    coarse_collection: str | None = Field(None, description="collection with the coarse NDVI; null: none")
    coarse_encoding: Literal["auto", "dn", "physical"] = Field("auto", description="digital numbers or NDVI")
    max_cloud: float = Field(95.0, ge=0, le=100, description="leave out S2 items with a higher eo:cloud_cover, percent")
    sign: Literal["none", "planetary_computer"] = Field("none", description="how asset addresses are signed")
    on_error: Literal["stop", "skip"] = Field("stop", description="what to do with an item that cannot be read")

    @model_validator(mode="after")
    def _consistent(self) -> "StacSource":
        west, south, east, north = self.bbox
        if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            raise ValueError(f"bbox={self.bbox}; expected west < east and south < north, in degrees")
        if np.datetime64(self.end) < np.datetime64(self.start):
            raise ValueError(f"end={self.end} lies before start={self.start}; swap them")
        if self.s1_collection and self.s1_units is None:
            raise ValueError("s1_collection is set: say s1_units=linear or dB (units are never guessed)")
        return self

    def load(self) -> RawCubes:
        """The raw cubes of the area; see :func:`load_stac`."""
        return load_stac(self)


def load_stac(settings: StacSource) -> RawCubes:
    """Find the items, check that they can be read, and open them lazily.

    Sentinel-2 items whose digital numbers still hold the offset of baseline 04.00 are told from the others by their
    metadata (see :func:`pending_offset`) and corrected apart. Observations of one day and one pass are mosaicked.

    Raises
    ------
    SourceError
        Catalogue not reachable, no item, an unreadable item (``on_error="stop"``): each is named.
    """
    notes: list[str] = []
    grid = area_grid(settings.bbox)
    items = _readable(find_items(settings, settings.s2_collection), settings, ("B04", "B08", "SCL"), notes)
    items = [i for i in items if not _cloud_cover(i) > settings.max_cloud]
    if not items:
        raise SourceError(
            f"every item of {settings.s2_collection} is cloudier than {settings.max_cloud} %; raise max_cloud"
        )
    s2 = _sentinel2(items, grid, notes)
    s1 = coarse = None
    if settings.s1_collection:
        found = _readable(find_items(settings, settings.s1_collection), settings, ("VV",), notes)
        s1 = _sentinel1(found, grid, str(settings.s1_units))
    if settings.coarse_collection:
        found = _readable(find_items(settings, settings.coarse_collection), settings, ("NDVI",), notes)
        coarse = _coarse(found, settings, notes)
    return RawCubes(s2=s2, s1=s1, coarse=coarse, origin=f"STAC {settings.catalog}", notes=tuple(notes))


def _cloud_cover(item: Any) -> float:
    """Percent; NaN where the catalogue does not know it, which leaves no item out."""
    cover = item.properties.get("eo:cloud_cover")
    try:
        return float("nan") if cover is None else float(cover)
    except (TypeError, ValueError) as error:
        raise SourceError(
            f"item {item.id} has eo:cloud_cover {cover!r}; expected percent or null; mend its metadata"
        ) from error


def area_grid(bbox: Bounds) -> Any:
    """The 10 m UTM grid (an odc GeoBox) that covers a bounding box, edges on whole 20 m cells."""
    from odc.geo.geobox import GeoBox
    from odc.geo.geom import BoundingBox

    crs = f"EPSG:{utm_of_bounds(bbox)}"
    return GeoBox.from_bbox(BoundingBox(*on_s2_grid(project_bounds(bbox, LONLAT, crs)), crs), resolution=10)


def asset_of(item: Any, role: str) -> str | None:
    """Key of the asset that plays a role (B04, B08, SCL, VV, VH, NDVI), by key or by common name; 10 m before 20 m."""
    pixel = 300.0 if role == "NDVI" else 10.0
    keys = [key for key in item.assets if role_of(key, pixel) == role]
    return sorted(keys, key=lambda k: (not k.upper().endswith("_10M"), len(k), k))[0] if keys else None


def pending_offset(item: Any, asset: str) -> int:
    """Offset in digital numbers that must still be added to a Sentinel-2 band of an item.

    ``earthsearch:boa_offset_applied`` or ``s2:boa_offset_applied`` true: none. Else the asset's ``raster:bands`` offset
    over its scale; else -1000 for ``s2:processing_baseline`` (or ``processing:version``) 04.00 and later; else none.
    """
    properties = item.properties
    for key in ("earthsearch:boa_offset_applied", "s2:boa_offset_applied"):
        if properties.get(key) is True:
            return 0
    bands = item.assets[asset].extra_fields.get("raster:bands") or [item.assets[asset].extra_fields]
    if "offset" in bands[0] or "raster:offset" in bands[0]:
        offset = float(bands[0].get("offset", bands[0].get("raster:offset")))
        scale = float(bands[0].get("scale", bands[0].get("raster:scale", 1e-4)))
        return round(offset / scale)
    baseline = str(properties.get("s2:processing_baseline", properties.get("processing:version", "0")))
    try:
        return BASELINE_OFFSET_DN if float(baseline) >= 4.0 else 0
    except ValueError:
        return 0


def _readable(items: list[Any], settings: StacSource, roles: tuple[str, ...], notes: list[str]) -> list[Any]:
    """Items whose assets open and give their last row; files on this machine, and everything with on_error="skip"."""
    import rasterio

    kept = []
    for item in items:
        problem = None
        for role in roles:
            key = asset_of(item, role)
            if key is None:
                problem = f"item {item.id} has no asset for {role}; it has {sorted(item.assets)[:8]}"
                break
            href = item.assets[key].get_absolute_href() or item.assets[key].href
            if "://" in href and not href.startswith("file:") and settings.on_error == "stop":
                continue  # a request an item is too slow; a failure will name the address when it is read
            try:
                with rasterio.open(href.removeprefix("file://")) as image:
                    image.read(1, window=((image.height - 1, image.height), (0, image.width)))
            except Exception as error:
                problem = f"item {item.id}: asset {key} ({href.rsplit('/', 1)[-1]}) cannot be read ({error})"
                break
        if problem is None:
            kept.append(item)
        elif settings.on_error == "stop":
            raise SourceError(f"{problem}; fetch it again, or set source.on_error=skip")
        else:
            log.warning("skipped: %s", problem)
            notes.append(f"skipped: {problem}")
    if not kept:
        raise SourceError(f"no readable item is left of {len(items)}; the first: {notes[-1] if notes else ''}")
    return kept


def _open(items: list[Any], roles: dict[str, str], grid: Any, resampling: str) -> xr.Dataset:
    """Roles of items that share their asset keys, lazily, hours in t, one image a solar day; NaN = nodata."""
    import odc.stac

    loaded = odc.stac.load(
        items,
        bands=list(roles.values()),
        geobox=grid,
        groupby="solar_day",
        chunks={"x": _CHUNK_PX, "y": _CHUNK_PX},
        resampling=resampling,
        dtype="float32",
        nodata=np.nan,
        fail_on_error=True,
    )
    loaded = loaded.rename({key: role for role, key in roles.items()})
    names = {"time": "t", "latitude": "y", "longitude": "x"}
    loaded = loaded.rename({a: b for a, b in names.items() if a in loaded.dims})
    crs = loaded.odc.crs if hasattr(loaded, "odc") else grid.crs
    loaded = loaded.reset_coords(drop=True).drop_vars("spatial_ref", errors="ignore")
    for variable in loaded.data_vars.values():
        variable.attrs = {}
    return loaded.transpose("t", "y", "x").rio.write_crs(crs.to_wkt() if hasattr(crs, "to_wkt") else str(crs))


def _zero_is_nodata(values: xr.DataArray) -> xr.DataArray:
    return values.where(values != 0)


def _band(name: str, values: xr.DataArray, dtype: str, scaled: bool = False) -> RawBand:
    return RawBand(name, Path("STAC"), values, np.dtype(dtype), scaled, {})


def _sentinel2(items: list[Any], grid: Any, notes: list[str]) -> xr.Dataset:
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for item in items:
        keys = tuple(asset_of(item, role) for role in ("B04", "B08", "SCL"))
        groups.setdefault((keys, pending_offset(item, str(keys[0]))), []).append(item)
    parts = []
    for (keys, offset), members in groups.items():
        bands = _open(members, dict(zip(("B04", "B08"), keys[:2], strict=True)), grid, "bilinear")
        classes = _open(members, {"SCL": keys[2]}, grid, "nearest")
        if offset:
            notes.append(f"{len(members)} items: {offset} added to the digital numbers (baseline 04.00 and later)")
        part = xr.Dataset()
        for role in ("B04", "B08"):
            raw = _band(role, _zero_is_nodata(bands[role]), "uint16")
            part[role] = reflectance(raw, scale=None, offset_dn=offset, notes=[])
        part["SCL"] = scene_classes(_band("SCL", classes.SCL, "uint8")).astype(np.uint8)
        parts.append(part)
    s2 = xr.concat(parts, "t").sortby("t") if len(parts) > 1 else parts[0].sortby("t")
    s2.attrs = {"scl_pixel_m": SCL_PIXEL_M}
    return s2.rio.write_crs(parts[0].rio.crs)


def _orbit_of(item: Any) -> str:
    state = str(item.properties.get("sat:orbit_state") or "unknown")
    number = item.properties.get("sat:relative_orbit")
    return state if number is None else f"{state} {number}"


def _sentinel1(items: list[Any], grid: Any, units: str) -> xr.Dataset:
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for item in items:
        groups.setdefault((_orbit_of(item), asset_of(item, "VV"), asset_of(item, "VH")), []).append(item)
    parts = []
    for (orbit, vv, vh), members in groups.items():
        part = _open(members, {role: key for role, key in (("VV", vv), ("VH", vh)) if key}, grid, "bilinear")
        if "VH" not in part:
            part["VH"] = xr.full_like(part.VV, np.nan)
        for role in ("VV", "VH"):
            values = _zero_is_nodata(part[role]) if units == "linear" else part[role]
            part[role], _ = backscatter(_band(role, values, "float32"), units)
        parts.append(part.assign_coords(orbit=("t", [orbit] * part.sizes["t"])))
    s1 = (xr.concat(parts, "t") if len(parts) > 1 else parts[0]).sortby("t")
    s1.attrs = {"s1_units": units}
    return s1.rio.write_crs(parts[0].rio.crs)


def _coarse(items: list[Any], settings: StacSource, notes: list[str]) -> xr.Dataset:
    """The coarse series in the grid of its first item, cut to the area grown by three cells."""
    import rasterio
    from odc.geo.geobox import GeoBox
    from rasterio.windows import Window, from_bounds

    key = str(asset_of(items[0], "NDVI"))
    href = items[0].assets[key].get_absolute_href() or items[0].assets[key].href
    with rasterio.open(href) as image:
        box = project_bounds(settings.bbox, LONLAT, image.crs)
        window = from_bounds(*box, transform=image.transform)
        row, column = int(np.floor(window.row_off)) - 3, int(np.floor(window.col_off)) - 3
        height, width = int(np.ceil(window.height)) + 7, int(np.ceil(window.width)) + 7
        transform = image.window_transform(Window(column, row, width, height))
        grid, dtype = GeoBox((height, width), transform, image.crs.to_wkt()), image.dtypes[0]
        scale, offset = image.scales[0], image.offsets[0]
    values = _open(items, {"NDVI": key}, grid, "nearest").NDVI
    scaled = scale != 1.0 or offset != 0.0
    if scaled:
        values = values * np.float32(scale) + np.float32(offset)
    ndvi = coarse_ndvi(_band("NDVI", values, dtype, scaled), settings.coarse_encoding, notes=notes)
    return xr.Dataset({"NDVI": ndvi}).rio.write_crs(values.rio.crs)
