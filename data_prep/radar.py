"""Sentinel-1: units, border noise, levelling and merging of passes, multi-temporal speckle filter."""

import logging

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr
from scipy import ndimage

from data_prep.radar_levels import level_passes
from data_prep.radar_values import floor_of, note_amplitudes
from data_prep.raw.bands import RawBand, every_image, measured, sample
from data_prep.raw.cubes import SourceError
from data_prep.raw.decisions import in_window, once
from data_prep.satellites import UNKNOWN, even_out
from data_prep.settings import RadarSettings
from fusion.contract import RADAR_ANY_RANGE, RADAR_DB_RANGE, RADAR_POWER_RANGE, S1_DB_MAX, S1_DB_MIN, ContractError
from fusion.features.measured import refuse_other_units, refuse_swapped
from fusion.same_day import merge_images, whole_days

log = logging.getLogger(__name__)

DN16_OFFSET_DB = -83.0  # openeo-gfmap's uint16 encoding of amplitudes: dB = 20 * log10(DN) - 83; 0 and 65535 = nodata
_DN16_NODATA = (0, 65535)
_LOWEST_DN16_DB = -34.0  # median; VH of calm water is about -30
_DB_WORDS = ("db", "decibel", "decibels", "1 (db)")
_LINEAR_WORDS = ("linear", "linear power")
_DB_ENDS = ("_db", "-db", ".db", " db")  # of a band's name


def backscatter(band: RawBand, units: str, notes: list[str]) -> tuple[xr.DataArray, str | None]:
    """Backscatter of one band as it is stored, decoded, with its units ("dB" or "linear"); NaN = no observation, and
    what cannot be backscatter. The units are None where the band is empty and states none.

    ``units`` is "dB", "linear", "dn16" or "auto". "auto" detects the units and never assumes them: unsigned 16-bit
    integers without a scale are openeo-gfmap's encoding; then the units attribute is used; then negative values imply
    dB, since power is not negative.

    Raises
    ------
    SourceError
        "auto" cannot determine the units, or data declared linear contain negative values.
    """
    values, band_units = band.values, units
    where, short = f"{band.file}: {band.name}", f"{band.file.name}: {band.name}"
    if units == "auto":
        evident = once(f"units of {band.label}", lambda: _evident_units(band, where))
        if evident is None:
            return values.astype(np.float32).where(False), None
        units = evident
    if units == "dn16":
        values = values.where(~values.isin(_DN16_NODATA))
        decibel = (20.0 * xr.apply_ufunc(np.log10, values, dask="allowed") + DN16_OFFSET_DB).astype(np.float32)
        found = _sampled(decibel)
        if band_units == "auto" and found.size and (middle := float(np.median(found))) < _LOWEST_DN16_DB:
            raise SourceError(
                f"{where}: uint16 without a scale, read as openeo-gfmap's amplitudes, has a median of {middle:.0f} dB; "
                "land lies above; calibrate amplitudes of GRD products to sigma0 or gamma0, or set source.s1_units"
            )
        return measured(decibel, RADAR_DB_RANGE, short, notes), "dB"
    if units == "linear":
        found = _sampled(values)
        negative = float((found < 0).mean()) if found.size else 0.0
        if negative > 0.01:
            raise SourceError(
                f"{where}: declared linear, but {100 * negative:.0f} % of the values are negative; power cannot be; "
                "set source.s1_units=dB"
            )
        values = values.where((values > 0) | (values < -1))  # noise around 0 is no observation, -9999 is a fill value
    limits = RADAR_POWER_RANGE if units == "linear" else RADAR_DB_RANGE
    return measured(values.astype(np.float32), limits, short, notes), units


def _sampled(values: xr.DataArray) -> np.ndarray:
    """A sample without NaN and fill values."""
    return _told(sample(values))


def _told(found: np.ndarray) -> np.ndarray:
    return found[np.isfinite(found) & ~RADAR_ANY_RANGE.fills(found)]


def _evident_units(band: RawBand, where: str) -> str | None:
    if band.dtype == np.dtype("uint16") and not band.scaled:
        return "dn16"
    declared = str(band.attrs.get("s1_units", band.attrs.get("units", ""))).strip().lower()
    if declared not in (*_DB_WORDS, *_LINEAR_WORDS) and band.name.lower().endswith(_DB_ENDS):
        return "dB"
    if declared in _DB_WORDS:
        return "dB"
    if declared in _LINEAR_WORDS:
        return "linear"
    found = _sampled(band.values)
    for k in range(band.values.sizes["t"]):  # a band with few values, all between those of the sample
        found = found if found.size else _told(np.asarray(band.values.isel(t=k).values))
    if found.size == 0:
        return None
    if np.percentile(found, 5) < -1.0:
        return "dB"
    raise SourceError(
        f"{where}: values from {found.min():.3g} to {found.max():.3g} do not imply dB and the file states no units; "
        "set source.s1_units to dB, linear or dn16"
    )


def to_linear(values: xr.DataArray) -> xr.DataArray:
    """Convert dB to linear power, float32."""
    return (10.0 ** (values / 10.0)).astype(np.float32)


def to_decibel(values: xr.DataArray) -> xr.DataArray:
    """Convert linear power to dB, float32; NaN where the power is not positive."""
    return (10.0 * xr.apply_ufunc(np.log10, values.where(values > 0), dask="allowed")).astype(np.float32)


def mean_power(values: xr.DataArray, units: str, labels: np.ndarray) -> xr.DataArray:
    """Average images of equal label (datetime64[ns]) in linear power; the sorted labels become ``t``."""
    if units != "dB" or len(np.unique(labels)) == len(labels):
        return merge_images(values, labels, "mean").astype(np.float32)
    return to_decibel(merge_images(to_linear(values), labels, "mean"))


def prepare_radar(s1: xr.Dataset, settings: RadarSettings) -> tuple[xr.Dataset, list[str]]:
    """Select passes, remove border noise, level passes, merge to one acquisition per day, filter, convert units.

    Processing order: border noise is removed per image; passes are identified by the coordinate ``orbit``;
    ``passes="merge"`` keeps all passes on their own dates, each levelled to the pass with the most dates (median
    difference of temporal means in dB, or per pixel); acquisitions of one day are averaged in linear power. Without
    the coordinate, passes are merged without levelling.

    Returns
    -------
    xarray.Dataset
        ``VV`` and ``VH``, float32 (t, y, x), NaN = no acquisition, ``attrs["s1_units"]`` set.
    list of str
        Notes on what was done, one sentence each.

    Raises
    ------
    SourceError
        Units unknown or contradicted by the values, or the requested pass is absent.
    """
    notes: list[str] = []
    units = str(s1.attrs.get("s1_units"))
    if units not in ("dB", "linear"):
        raise SourceError(f"Sentinel-1 has s1_units={units!r}; expected 'dB' or 'linear' in its attributes")
    bands = {name: s1[name] if units == "dB" else to_decibel(s1[name]) for name in ("VV", "VH")}
    thin = {}
    for name, values in bands.items():
        some = every_image(values)
        if not in_window():
            _check_level(some, name, units)
        values = measured(values, RADAR_DB_RANGE, f"Sentinel-1 {name}", notes)
        some = some.where(~(RADAR_DB_RANGE.impossible(some) | RADAR_DB_RANGE.fills(some)))
        floor = floor_of(some, f"Sentinel-1 {name}", notes)
        bands[name], thin[name] = (v if floor is None else v.where(v != v.dtype.type(floor)) for v in (values, some))
    try:
        if not in_window():
            note_amplitudes(thin["VV"], thin["VH"], notes)
            refuse_swapped(thin["VV"].values, thin["VH"].values, "dB")
    except ContractError as error:
        raise SourceError(str(error)) from None
    if settings.border_noise_db is not None:
        noise = border_noise(bands["VV"], settings.border_noise_db)
        bands = {name: values.where(~noise) for name, values in bands.items()}
    orbits = _orbits(s1)
    if orbits is None and settings.passes in ("ascending", "descending"):
        raise SourceError(f"radar.passes={settings.passes} but no acquisition states its pass; use radar.passes=merge")
    if orbits is not None:
        bands, orbits = _choose(bands, orbits, settings.passes, notes)
    bands = even_out(bands, orbits, settings.satellite_steps, notes)
    acquired = _acquisitions(bands["VV"], orbits)
    if orbits is not None:
        bands = level_passes(bands, orbits, settings.orbit_offset, notes)
    days = whole_days(bands["VV"].t.values)
    bands = {name: mean_power(values, "dB", days) for name, values in bands.items()}
    if settings.speckle == "quegan":
        bands = {
            name: to_decibel(quegan_filter(to_linear(values), settings.speckle_window_px))
            for name, values in bands.items()
        }
        notes.append(f"Sentinel-1: Quegan filter, {settings.speckle_window_px} px")
    if settings.units == "linear":
        bands = {name: to_linear(values) for name, values in bands.items()}
    prepared = xr.Dataset({n: v.drop_vars(["orbit", "platform"], errors="ignore") for n, v in bands.items()})
    prepared.attrs = {"s1_units": settings.units} | ({"s1_acquisitions": acquired} if acquired else {})
    return prepared.rio.write_crs(s1.rio.crs, inplace=True), notes


def _check_level(thin: xr.DataArray, name: str, units: str) -> None:
    """Refuse dB outside what C-band measures, and what contradicts the units that the source declares."""
    images = np.asarray(thin.values)
    found = _told(images)
    if found.size and RADAR_DB_RANGE.impossible(found).mean() > 0.5:
        low, high = np.percentile(found, (1, 99))
        raise SourceError(
            f"{name}, declared {units}, spans {low:.4g}..{high:.4g} dB; expected {S1_DB_MIN}..{S1_DB_MAX}; "
            "set source.s1_units to the actual units (dB, linear, dn16)"
        )
    try:
        stored = images if units == "dB" else 10 ** (images / 10)
        refuse_other_units(stored, units, name, thin.t.values, setting="source.s1_units")
    except ContractError as error:
        raise SourceError(str(error)) from None


def _acquisitions(values: xr.DataArray, orbits: np.ndarray | None) -> str:
    """Day, satellite and pass of each acquisition, one a line; empty where the source tells neither."""
    platform = values.coords.get("platform")
    count = values.sizes["t"]
    satellites = ["unknown"] * count if platform is None else platform.values.astype(str).tolist()
    passes = ["unknown"] * count if orbits is None else orbits.tolist()
    if {*satellites, *passes} <= {*UNKNOWN}:
        return ""
    days = values.t.values.astype("datetime64[D]").astype(str).tolist()
    return "\n".join(f"{day} {name} {way}" for day, name, way in sorted(zip(days, satellites, passes, strict=True)))


def _orbits(s1: xr.Dataset) -> np.ndarray | None:
    if "orbit" not in s1.coords or s1.orbit.dims != ("t",):
        return None
    labels = np.array([str(o).lower() for o in s1.orbit.values])
    return labels if len(set(labels)) > 1 or labels[0] not in ("unknown", "none", "") else None


def _choose(
    bands: dict[str, xr.DataArray], orbits: np.ndarray, passes: str, notes: list[str]
) -> tuple[dict[str, xr.DataArray], np.ndarray]:
    names, counts = np.unique(orbits, return_counts=True)
    if passes == "merge":
        return bands, orbits
    wanted = str(names[np.argmax(counts)]) if passes == "most" else passes
    states = np.array([str(name).partition(" ")[0] for name in orbits])  # "ascending 88" is an ascending pass
    keep = np.flatnonzero((orbits == wanted) | (states == wanted))
    if keep.size == 0:
        raise SourceError(
            f"no Sentinel-1 acquisition of pass {wanted!r}; passes found: {dict(zip(names, counts, strict=True))}"
        )
    notes.append(f"Sentinel-1: kept pass {wanted}, {keep.size} of {len(orbits)} acquisitions")
    return {n: v.isel(t=keep) for n, v in bands.items()}, orbits[keep]


def border_noise(vv_db: xr.DataArray, threshold_db: float) -> xr.DataArray:
    """GRD border noise, bool (t, y, x): very low VV connected to the edge of the swath, dilated by one pixel.

    Only images that contain nodata have a swath edge; dark water inside the swath is kept.
    """

    def one(images: np.ndarray) -> np.ndarray:
        flat = images.reshape(-1, *images.shape[-2:])
        return np.stack([_border_noise(image, threshold_db) for image in flat]).reshape(images.shape)

    chunked = vv_db.chunk({"y": -1, "x": -1}) if vv_db.chunks else vv_db
    return xr.apply_ufunc(
        one,
        chunked,
        input_core_dims=[["y", "x"]],
        output_core_dims=[["y", "x"]],
        dask="parallelized",
        output_dtypes=[bool],
    )


def _border_noise(image: np.ndarray, threshold_db: float) -> np.ndarray:
    empty = ~np.isfinite(image)
    if not empty.any() or empty.all():
        return np.zeros(image.shape, bool)
    low = np.nan_to_num(image, nan=np.inf) < threshold_db
    labels, _ = ndimage.label(low | empty, np.ones((3, 3)))
    touching = np.unique(labels[empty])
    noise = low & np.isin(labels, touching)
    return ndimage.binary_dilation(noise, np.ones((3, 3))) & ~empty if noise.any() else noise


def quegan_filter(power: xr.DataArray, window_px: int) -> xr.DataArray:
    """Multi-temporal speckle filter of Quegan and Yu (2001, doi:10.1109/36.964973), linear power, (t, y, x).

    J_k = E[I_k] / N * sum_i I_i / E[I_i], with E the spatial mean over ``window_px`` pixels, and the sum and N over the
    dates with a valid value of the pixel. NaN stays NaN and does not affect its neighbours.
    """

    def one(stack: np.ndarray) -> np.ndarray:  # apply_ufunc passes (y, x, t); computed as (t, y, x)
        images = np.moveaxis(stack, -1, 0).astype(np.float64)
        valid = np.isfinite(images)
        mean = _nan_mean(images, valid, window_px)
        ratio = np.where(valid & (mean > 0), images / np.where(mean > 0, mean, 1), 0.0)
        count = valid.sum(0)
        factor = ratio.sum(0) / np.maximum(count, 1)
        return np.moveaxis(np.where(valid, mean * factor, np.nan), 0, -1).astype(np.float32)

    whole = power.chunk({"t": -1, "y": -1, "x": -1}) if power.chunks else power
    out = xr.apply_ufunc(
        one,
        whole,
        input_core_dims=[["y", "x", "t"]],
        output_core_dims=[["y", "x", "t"]],
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    return out.transpose("t", "y", "x")


def _nan_mean(images: np.ndarray, valid: np.ndarray, width: int) -> np.ndarray:
    size = (0, width, width)
    total = ndimage.uniform_filter(np.where(valid, images, 0.0), size, mode="nearest")
    share = ndimage.uniform_filter(valid.astype(np.float64), size, mode="nearest")
    return np.where(share > 1e-9, total / np.maximum(share, 1e-9), np.nan)
