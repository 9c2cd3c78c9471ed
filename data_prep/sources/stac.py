"""STAC catalogues of cloud-optimised GeoTIFFs, or of EOPF's Zarr products of Sentinel-2: an API or a local one.

Only the pixels of the area are read, lazily (Dask). Items may differ in CRS, nodata and data type: each is warped to
one UTM grid whose edges lie on whole 20 m cells, so that every 20 m cell of SCL is 2 x 2 pixels of 10 m.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.coarse import coarse_ndvi
from data_prep.optical import reflectance, refuse_pending_offset, scene_classes
from data_prep.optical_offset import decide_offsets, offset_evidence, pending_offset, scale_of_asset
from data_prep.radar import backscatter
from data_prep.raw.bands import RawBand
from data_prep.raw.cubes import RawCubes, SourceError
from data_prep.raw.decisions import in_window, once
from data_prep.raw.extent import Extent, extent_of_area
from data_prep.raw.roles import role_of
from data_prep.raw.satellite import satellite_in
from data_prep.sources.settings import StacSource
from data_prep.sources.stac_items import find_items
from data_prep.sources.stac_zarr import address_of, check_array, in_zarr, open_arrays, stated_offset
from fusion.cloud_mask import SCL_PIXEL_M
from fusion.place import project_bounds

log = logging.getLogger(__name__)

_CHUNK_PX = 1024


def load_stac(settings: StacSource, window: Extent | None = None) -> RawCubes:
    """Find the items, check that they can be read, and open them lazily; those of the area, or of a ``window`` of it.

    Sentinel-2 items whose digital numbers still include the offset of baseline 04.00 are identified by their metadata
    (see :func:`pending_offset`) and corrected separately. Images of one solar day and one pass are mosaicked.

    Raises
    ------
    SourceError
        Catalogue not reachable, no item, or an unreadable item with ``on_error="stop"``; the message names it.
    """
    notes: list[str] = []
    within = window or extent_of_area(settings.bbox)
    grid = grid_within(within)
    items = _usable(settings, settings.s2_collection, ("B04", "B08", "SCL"), notes)
    items = [i for i in items if not _cloud_cover(i) > settings.max_cloud]
    if not items:
        raise SourceError(
            f"every item of {settings.s2_collection} has more than {settings.max_cloud} % cloud; increase max_cloud"
        )
    if top := next((item.id for item in items if "L1C" in f"{item.id} {settings.s2_collection}".upper()), None):
        raise SourceError(f"item {top} is of level 1C (top of the atmosphere); expected surface reflectance, level 2A")
    s2 = _sentinel2(items, grid, settings, notes)
    s1 = coarse = None
    if settings.s1_collection:
        found = _usable(settings, settings.s1_collection, ("VV",), notes)
        s1 = _sentinel1(found, grid, str(settings.s1_units), notes)
    if settings.coarse_collection:
        found = _usable(settings, settings.coarse_collection, ("NDVI",), notes)
        coarse = _coarse(found, settings, within, notes)
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


def grid_within(extent: Extent) -> Any:
    """10 m grid (odc GeoBox) of an extent whose edges lie on whole 10 m."""
    from odc.geo.geobox import GeoBox
    from odc.geo.geom import BoundingBox

    return GeoBox.from_bbox(BoundingBox(*extent.bounds, extent.crs), resolution=10)


def _usable(settings: StacSource, collection: str, roles: tuple[str, ...], notes: list[str]) -> list[Any]:
    """Items of a collection that can be read; in a window those of the whole area, searched again, since signed
    addresses expire."""
    found = find_items(settings, collection)
    if not in_window():
        found = _readable(found, settings, roles, notes)
    wanted = once(f"items of {collection}", lambda: [item.id for item in found])
    known = {item.id: item for item in found}
    if missing := [name for name in wanted if name not in known]:
        raise SourceError(f"{settings.catalog} has no item {missing[0]} of {collection} any more; start again")
    return [known[name] for name in wanted]


def asset_of(item: Any, role: str) -> str | None:
    """Key of the asset of a role (B04, B08, SCL, VV, VH, NDVI), 10 m assets first; None if the item has none."""
    pixel = 300.0 if role == "NDVI" else 10.0
    keys = [key for key in item.assets if role_of(key, pixel) == role]
    return sorted(keys, key=lambda k: (not k.upper().endswith("_10M"), len(k), k))[0] if keys else None


def _readable(items: list[Any], settings: StacSource, roles: tuple[str, ...], notes: list[str]) -> list[Any]:
    """Items whose assets can be read (last row); remote assets are checked only with ``on_error="skip"``."""
    import rasterio

    kept = []
    for item in items:
        problem = None
        for role in roles:
            key = asset_of(item, role)
            if key is None:
                problem = f"item {item.id} has no asset for {role}; it has {sorted(item.assets)[:8]}"
                break
            href = address_of(item.assets[key])
            if "://" in href and settings.on_error == "stop":
                continue  # one request per item is too slow; a later read failure names the URL
            try:
                if in_zarr(item.assets[key]):
                    check_array(item.assets[key])
                    continue
                with rasterio.open(href) as image:
                    image.read(1, window=((image.height - 1, image.height), (0, image.width)))
            except Exception as error:
                problem = f"item {item.id}: asset {key} ({href.rsplit('/', 1)[-1]}) cannot be read ({error})"
                break
        if problem is None:
            kept.append(item)
        elif settings.on_error == "stop":
            raise SourceError(f"{problem}; download it again, or set source.on_error=skip")
        else:
            log.warning("skipped: %s", problem)
            notes.append(f"skipped: {problem}")
    if not kept:
        raise SourceError(f"none of {len(items)} items can be read; first: {notes[-1] if notes else ''}")
    return kept


def _open(items: list[Any], roles: dict[str, str], grid: Any) -> xr.Dataset:
    """Load items with equal asset keys lazily: one image per solar day, times of day kept, NaN = nodata.

    The nearest pixel is taken, as from openEO: interpolation would mix fill values that no metadata state, and digital
    numbers with and without an offset, into their neighbours before they can be told.
    """
    import odc.stac

    if in_zarr(items[0].assets[next(iter(roles.values()))]):
        return open_arrays(items, roles, grid)
    loaded = odc.stac.load(
        items,
        bands=list(roles.values()),
        geobox=grid,
        groupby="solar_day",
        chunks={"x": _CHUNK_PX, "y": _CHUNK_PX},
        resampling="nearest",
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


def _note_tiles(items: list[Any], what: str, notes: list[str]) -> None:
    """Say that items of one day were joined, and by what rule."""
    days = [item.datetime.date() for item in items if item.datetime is not None]
    several = sorted({day for day in days if days.count(day) > 1})
    if several:
        notes.append(
            f"{what}: {len(several)} days have several items (first: {several[0]}), joined on the area's grid; where "
            "they overlap, the first with data"
        )


def _zero_is_nodata(values: xr.DataArray) -> xr.DataArray:
    return values.where(values != 0)


def _band(name: str, values: xr.DataArray, dtype: str, scaled: bool = False) -> RawBand:
    return RawBand(name, Path("STAC"), values, np.dtype(dtype), scaled, {})


def _sentinel2(items: list[Any], grid: Any, settings: StacSource, notes: list[str]) -> xr.Dataset:
    _note_tiles(items, settings.s2_collection, notes)
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for item in items:
        keys = tuple(asset_of(item, role) for role in ("B04", "B08", "SCL"))
        said_of = stated_offset if in_zarr(item.assets[str(keys[0])]) else pending_offset
        groups.setdefault((keys, said_of(item, str(keys[0]))), []).append(item)
    opened, said = [], []
    for (keys, offset), members in groups.items():
        bands = _open(members, dict(zip(("B04", "B08"), keys[:2], strict=True)), grid)
        classes = _open(members, {"SCL": keys[2]}, grid)
        bands["SCL"] = scene_classes(_band("SCL", classes.SCL, "uint8"))
        opened.append(bands)
        said += [offset] * bands.sizes["t"]
    decided = once("offsets of Sentinel-2", lambda: _offsets(opened, said, settings, notes))
    offsets = np.array(decided, np.float32)
    if removed := int((offsets < 0).sum()):
        notes.append(f"{removed} images: -1000 added to the digital numbers (baseline 04.00 and later)")
    parts, at = [], 0
    for bands in opened:
        own = offsets[at : at + bands.sizes["t"]]
        if settings.s2_offset_dn == "auto" and said[at] is None and not own.any():
            refuse_pending_offset(_band("B04", _zero_is_nodata(bands.B04), "uint16"))
        at += bands.sizes["t"]
        part = xr.Dataset()
        for role in ("B04", "B08"):
            raw = _band(role, _zero_is_nodata(bands[role]), "uint16")
            part[role] = reflectance(raw, scale=None, offset_dn=own, notes=notes)
        part["SCL"] = bands.SCL.astype(np.uint8)
        parts.append(part)
    s2 = xr.concat(parts, "t").sortby("t") if len(parts) > 1 else parts[0].sortby("t")
    s2.attrs = {"scl_pixel_m": SCL_PIXEL_M}
    return s2.rio.write_crs(opened[0].rio.crs)


def _offsets(
    opened: list[xr.Dataset], said: list[int | None], settings: StacSource, notes: list[str]
) -> list[float | None]:
    """What to add to the digital numbers of each image, None to leave it out; see :func:`decide_offsets`."""
    times = np.concatenate([bands.t.values for bands in opened])
    evidence = np.zeros(len(times), np.int8)
    if settings.s2_offset_dn == "auto":
        evidence = np.concatenate([offset_evidence(bands.B04, bands.B08, bands.SCL) for bands in opened])
    offsets = decide_offsets(times, evidence, said, settings.s2_offset_dn, settings.s2_collection, notes)
    return [None if np.isnan(offset) else offset for offset in offsets.tolist()]


def _orbit_of(item: Any) -> str:
    state = str(item.properties.get("sat:orbit_state") or "unknown")
    number = item.properties.get("sat:relative_orbit")
    return state if number is None else f"{state} {number}"


def _sentinel1(items: list[Any], grid: Any, units: str, notes: list[str]) -> xr.Dataset:
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for item in items:
        key = _orbit_of(item), satellite_in(item.properties.get("platform", item.id)), asset_of(item, "VV")
        groups.setdefault((*key, asset_of(item, "VH")), []).append(item)
    parts = []
    for (orbit, satellite, vv, vh), members in groups.items():
        part = _open(members, {role: key for role, key in (("VV", vv), ("VH", vh)) if key}, grid)
        if "VH" not in part:
            part["VH"] = xr.full_like(part.VV, np.nan)
        for role in ("VV", "VH"):
            values = _zero_is_nodata(part[role]) if units == "linear" else part[role]
            part[role], _ = backscatter(_band(role, values, "float32"), units, notes)
        count = part.sizes["t"]
        parts.append(part.assign_coords(orbit=("t", [orbit] * count), platform=("t", [satellite] * count)))
    s1 = (xr.concat(parts, "t") if len(parts) > 1 else parts[0]).sortby("t")
    s1.attrs = {"s1_units": units}
    return s1.rio.write_crs(parts[0].rio.crs)


def _coarse(items: list[Any], settings: StacSource, within: Extent, notes: list[str]) -> xr.Dataset:
    """The coarse series on the grid of its first item, cropped to the extent buffered by three cells."""
    import rasterio
    from odc.geo.geobox import GeoBox
    from rasterio.windows import Window, from_bounds

    key = str(asset_of(items[0], "NDVI"))
    with rasterio.open(address_of(items[0].assets[key])) as image:
        box = project_bounds(within.bounds, within.crs, image.crs)
        window = from_bounds(*box, transform=image.transform)
        row, column = int(np.floor(window.row_off)) - 3, int(np.floor(window.col_off)) - 3
        height, width = int(np.ceil(window.height)) + 7, int(np.ceil(window.width)) + 7
        transform = image.window_transform(Window(column, row, width, height))
        grid, dtype = GeoBox((height, width), transform, image.crs.to_wkt()), image.dtypes[0]
        scale, offset = image.scales[0], image.offsets[0]
    if scale == 1.0 and offset == 0.0:  # not in the file, then in the catalogue
        scale, offset = (
            v if v is not None else w for v, w in zip(scale_of_asset(items[0].assets[key]), (1.0, 0.0), strict=True)
        )
    values = _open(items, {"NDVI": key}, grid).NDVI
    scaled = scale != 1.0 or offset != 0.0
    if scaled:
        values = values * np.float32(scale) + np.float32(offset)
    ndvi = coarse_ndvi(_band("NDVI", values, dtype, scaled), settings.coarse_encoding, notes=notes)
    return xr.Dataset({"NDVI": ndvi}).rio.write_crs(values.rio.crs)
