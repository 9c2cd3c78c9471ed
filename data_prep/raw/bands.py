"""One band of one file, as it is read: values, type on disk, and what the file says about them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_prep.raw.cubes import SourceError
from fusion.contract import ContractError, ValidRange
from fusion.place import pixel_size_m

_COUNTED_BYTES = 256 * 2**20  # larger bands are not read once more to count; the sample tells the share
_STATES = ("ascending", "descending")


@dataclass(frozen=True)
class RawBand:
    """One band of one file.

    ``values`` has dims (t, y, x), y descending, CRS written, ``t`` still with hours. ``dtype`` is the type on disk
    after the unsigned rule; ``scaled`` is True if the file said a scale or an offset and it was applied. ``orbit`` (t,)
    names the pass of each image where the file says so (see :func:`data_prep.raw.reading.orbit_labels`), else None.
    """

    name: str
    file: Path
    values: xr.DataArray
    dtype: np.dtype
    scaled: bool
    attrs: dict[str, Any]
    orbit: np.ndarray | None = None

    @property
    def pixel_m(self) -> float:
        """Pixel size in metres."""
        return pixel_size_m(self.values)

    @property
    def passes(self) -> list[str]:
        """The pass of each image: as the file says along t, else as its name or attributes say, else "unknown"."""
        if self.orbit is not None:
            return [str(label) for label in self.orbit]
        text = f"{self.file.stem} {self.attrs.get('name', '')} {self.attrs.get('orbit_state', '')}".lower()
        words = text.replace("_", " ").replace("-", " ").split()
        return [next((word for word in _STATES if word in words), "unknown")] * self.values.sizes["t"]


def probe(band: RawBand) -> None:
    """Read the last image of a band: a partial download opens well and breaks off there.

    Raises
    ------
    SourceError
        It cannot be read; file and band are named.
    """
    try:
        band.values.isel(t=-1).load()
    except Exception as error:
        raise SourceError(
            f"{band.file} breaks off while {band.name} is read ({type(error).__name__}); it is incomplete "
            "or damaged; fetch it again"
        ) from error


def sample(values: xr.DataArray) -> np.ndarray:
    """At most about 40 000 pixels from 12 dates spread over the series, enough to tell encodings and units apart."""
    dates = np.unique(np.linspace(0, values.sizes["t"] - 1, 12).astype(int))
    step = max(1, max(values.sizes["y"], values.sizes["x"]) // 60)
    return np.asarray(values.isel(t=dates, y=slice(None, None, step), x=slice(None, None, step)).values)


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
    fills = limits.fills(values) if fills is None else fills
    wrong = limits.impossible(values) | fills
    try:
        limits.refuse_majority(sample(values.where(~fills)), where)
    except ContractError as error:
        raise SourceError(str(error)) from None
    if values.nbytes <= _COUNTED_BYTES:
        count, seen = int(wrong.sum()), int(values.notnull().sum())
        text = f"{count} of {seen} values"
    else:
        found = sample(wrong)
        count, text = int(found.sum()), f"{100 * found.mean():.2g} % of the values (of a sample)"
    if count:
        notes.append(f"{where}: {text} cannot be {limits.quantity} and count as missing")
    return values.where(~wrong)
