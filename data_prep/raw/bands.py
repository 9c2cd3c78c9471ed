"""One band of one file as read: decoded values, type on disk, and metadata of the file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dask
import numpy as np
import xarray as xr

from data_prep.raw.cubes import SourceError
from data_prep.raw.decisions import in_window
from data_prep.raw.satellite import relative_orbit_of_file, satellite_of_file
from fusion.contract import ContractError, ValidRange
from fusion.place import pixel_size_m

_COUNTED_BYTES = 256 * 2**20  # larger bands are not read once more to count; the sample tells the share
_STATES = ("ascending", "descending")


@dataclass(frozen=True)
class RawBand:
    """One band of one file.

    ``values``: float32, dims (t, y, x), y descending, CRS written, times of day kept in ``t``, NaN = nodata.
    ``dtype``: stored type, with the ``_Unsigned`` attribute applied. ``scaled``: True if the file defines a scale or an
    offset, which has then been applied. ``orbit`` (t,): pass of each image if the file states it (see
    :func:`data_prep.raw.reading.orbit_labels`), else None. ``dated``: where the dates are stated: on the time
    axis, in the band's name, or in the file's name or tags, then one date for all its bands. ``remark``: states where
    that evidence is weak or contradicts itself. ``satellite`` (t,): if the file states it along t. ``corner``: left and
    upper edge in the file, of which ``values`` may be a part.
    """

    name: str
    file: Path
    values: xr.DataArray
    dtype: np.dtype
    scaled: bool
    attrs: dict[str, Any]
    orbit: np.ndarray | None = None
    dated: Literal["axis", "band", "file"] = "axis"
    remark: str | None = None
    satellite: np.ndarray | None = None
    corner: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """Tells the band from all others of its folder: file, name and first date."""
        return f"{self.file}:{self.name}:{self.values.t.values[:1]}"

    @property
    def pixel_m(self) -> float:
        """Pixel size in metres."""
        return pixel_size_m(self.values)

    @property
    def passes(self) -> list[str]:
        """Pass of each image: from the variables along t, else from the band's or file's name or attributes, else
        "unknown"."""
        if self.orbit is not None:
            return [str(label) for label in self.orbit]
        told = f"{self.file.stem} {self.attrs.get('name', '')} {self.attrs.get('orbit_state', '')}"
        state = self.state or _state_in(told) or "unknown"
        number = relative_orbit_of_file(self.file.stem)
        return [state if number is None else f"{state} {number}"] * self.values.sizes["t"]

    @property
    def state(self) -> str | None:
        """Pass that the band's own name tells: "ascending" or "descending"."""
        return _state_in(self.name)

    @property
    def satellites(self) -> list[str]:
        """Satellite of each image, "S1A" to "S1D": as for ``passes``."""
        if self.satellite is not None:
            return [str(label) for label in self.satellite]
        return [satellite_of_file(self.file.stem, self.attrs)] * self.values.sizes["t"]


def _state_in(text: str) -> str | None:
    words = text.lower().replace("_", " ").replace("-", " ").split()
    return next((word for word in _STATES if word in words), None)


def probe(band: RawBand) -> None:
    """Read the last image of a band, because an incomplete download opens without an error and fails only there.

    Raises
    ------
    SourceError
        The image cannot be read; the message names file and band.
    """
    try:
        band.values.isel(t=-1).load()
    except Exception as error:
        raise SourceError(
            f"{band.file}: reading {band.name} failed ({type(error).__name__}); the file is incomplete or damaged; "
            "download it again"
        ) from error


def sample(values: xr.DataArray) -> np.ndarray:
    """At most about 40 000 pixels from 12 dates spread over the series, enough to detect encoding and units.

    Of a window (:mod:`data_prep.raw.decisions`) none: its area was looked at before.
    """
    return np.empty(0, values.dtype) if in_window() else np.asarray(_spread(values).values)


def _spread(values: xr.DataArray) -> xr.DataArray:
    """What :func:`sample` takes."""
    dates = np.unique(np.linspace(0, values.sizes["t"] - 1, 12).astype(int))
    step = max(1, max(values.sizes["y"], values.sizes["x"]) // 60)
    return values.isel(t=dates, y=slice(None, None, step), x=slice(None, None, step))


def flagged(find: Callable[[Any], Any], values: xr.DataArray) -> xr.DataArray:
    """What ``find`` tells of each value; on the plain array, because it makes many comparisons."""
    return values.copy(data=find(values.data))


def every_image(values: xr.DataArray) -> xr.DataArray:
    """At most about 3600 pixels of every image, (t, y, x), in memory; of series beyond 256 MiB, of 12 dates; of a
    window none."""
    if in_window():
        return values.isel(t=slice(0)).compute()
    step = max(1, max(values.sizes["y"], values.sizes["x"]) // 60)
    dates: Any = slice(None)
    if values.nbytes > _COUNTED_BYTES:
        dates = np.unique(np.linspace(0, values.sizes["t"] - 1, 12).astype(int))
    return values.isel(t=dates, y=slice(None, None, step), x=slice(None, None, step)).compute()


def measured(
    values: xr.DataArray, limits: ValidRange, where: str, notes: list[str], *, fills: xr.DataArray | None = None
) -> xr.DataArray:
    """Values with NaN for what the sensor cannot have measured, counted in a note; lazy where they are lazy.

    ``fills`` flags fill values where they are to be told before scaling; else ``limits`` finds them.

    Raises
    ------
    SourceError
        Most values that are no fill value lie outside the limits: they are something else.
    """
    fills = flagged(limits.fills, values) if fills is None else fills
    wrong = flagged(limits.impossible, values) | fills
    if in_window():
        return values.where(~wrong)
    whole = values.nbytes <= _COUNTED_BYTES
    counted = (wrong.sum(), values.notnull().sum()) if whole else (_spread(wrong).sum(), _spread(wrong).size)
    some, count, seen = dask.compute(_spread(values.where(~fills)), *counted)  # each image is read once
    try:
        limits.refuse_majority(some.values, where)
    except ContractError as error:
        raise SourceError(str(error)) from None
    count, seen = int(count), int(seen)
    text = f"{count} of {seen} values" if whole else f"{100 * count / seen:.2g} % of the values (of a sample)"
    if count:
        notes.append(f"{where}: {text} cannot be {limits.quantity} and count as missing")
    return values.where(~wrong)
