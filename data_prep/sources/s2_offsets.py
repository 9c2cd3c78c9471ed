"""The offset of baseline 04.00 for the images of local files: what metadata, names and numbers say, image by image."""

import numpy as np
import xarray as xr

from data_prep.grid import bounds
from data_prep.optical import digital_numbers, said_offset
from data_prep.optical_offset import decide_offsets, offset_evidence, offset_of_name, said_or_named
from data_prep.raw.bands import RawBand
from data_prep.settings import OffsetSetting


def image_offsets(
    red: list[RawBand], nir: list[RawBand], classes: xr.DataArray | None, setting: OffsetSetting, notes: list[str]
) -> dict[tuple[int, ...], float]:
    """What to add to the digital numbers of each image by day, corner and baseline, where images differ; else empty."""
    if isinstance(setting, int):
        return {}
    times = np.concatenate([b.values.t.values for b in red]).astype("datetime64[ns]")
    said = [said_offset(b.attrs) for b in red for _ in range(b.values.sizes["t"])]
    evidence = np.zeros(len(times), np.int8)
    if setting == "auto":
        evidence = np.concatenate([offset_evidence(digital_numbers(b), _twin(b, nir), classes) for b in red])
    where = f"{red[0].file.name}: {red[0].name}"
    named = [offset_of_name(b.file) for b in red for _ in range(b.values.sizes["t"])]
    known = said_or_named(said, named, evidence, where, notes) if setting == "auto" else said
    offsets = decide_offsets(times, evidence, known, setting, where, notes)
    plain = np.array([s or 0 for s in said], np.float32)
    if setting == "auto" and np.array_equal(offsets, plain):
        return {}  # as the files say: the check of the whole series follows
    of_image = dict(zip([key for b in red for key in _keys(b)], offsets.tolist(), strict=True))
    return {key[:1]: offset for key, offset in of_image.items()} | of_image


def plain_offsets(offsets: dict[tuple[int, ...], float]) -> list[tuple[tuple[int, ...], float | None]]:
    """The same in plain values, None for NaN."""
    return [(key, None if np.isnan(offset) else offset) for key, offset in offsets.items()]


def _keys(band: RawBand) -> list[tuple[int, ...]]:
    """Day, upper left corner and baseline of each image: tiles and copies of one day may differ in their offset."""
    left, top = band.corner or bounds(band.values)[::3]  # a band made by hand has none
    days = band.values.t.values.astype("datetime64[D]").astype("int64")
    named = offset_of_name(band.file)
    return [(day, round(left), round(top), 1 if named is None else named) for day in days.tolist()]


def _twin(band: RawBand, others: list[RawBand]) -> xr.DataArray | None:
    """Digital numbers of the other band of the same images and pixels, if there is one."""
    for other in others:
        if other.values.shape == band.values.shape and np.array_equal(other.values.t.values, band.values.t.values):
            return digital_numbers(other)
    return None


def offset_of_band(
    band: RawBand, offsets: dict[tuple[int, ...], float], setting: OffsetSetting
) -> int | str | np.ndarray:
    """What :func:`data_prep.optical.reflectance` takes as the offset of a band's images."""
    if not offsets:
        return setting
    return np.array([offsets.get(k, offsets.get(k[:1], np.nan)) for k in _keys(band)], np.float32)
