"""What is read region by region: a merged cube file, or raw data that are prepared region by region."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import dask.array as da
import numpy as np
import xarray as xr

from data_prep.cube import open_cube
from data_prep.raw.extent import Extent
from data_prep.regions.store import fingerprint, loaded
from data_prep.sources.settings import StacSource
from data_prep.windows import PlannedArea
from fusion.contract import DIMS
from fusion.data.cube_files import opened_cube
from fusion.data.provenance import code_hash
from fusion.layout import with_roles

Window = tuple[slice, slice]  # rows and columns


class RegionInput(Protocol):
    """A merged cube (t, bands, y, x) of which parts are read; goes to other processes."""

    @property
    def around_px(self) -> int:
        """Pixels that :meth:`read` reads more on each side, for itself."""

    def labels(self) -> xr.DataArray:
        """The cube without its values (lazy NaN)."""

    def read(self, window: Window, threads: int) -> xr.DataArray:
        """The values of a window, in memory."""

    def made_of(self) -> dict[str, Any]:
        """What the values depend on, in plain data."""


@dataclass(frozen=True)
class CubeFile:
    """A merged cube file (.nc, .zarr), or its part in an area."""

    path: Path
    area: Extent | None = None
    around_px: int = 0

    def labels(self) -> xr.DataArray:
        """See :class:`RegionInput`."""
        with opened_cube(self.path) as opened:
            seen = self._seen(opened)
            fixed = {name: c.load() for name, c in seen.coords.items() if not {"t", "bands"} & set(c.dims)}
            return seen.copy(data=da.full(seen.shape, np.nan, dtype=np.float32, chunks=-1)).assign_coords(fixed)

    def whole(self) -> xr.DataArray:
        """All values, in memory."""
        return open_cube(self.path) if self.area is None else self.area.part(open_cube(self.path, lazy=True)).load()

    def read(self, window: Window, threads: int) -> xr.DataArray:
        """See :class:`RegionInput`.

        Raises
        ------
        CubeFileError
            The file cannot be read.
        """
        with opened_cube(self.path) as opened:
            part = self._seen(opened).isel(y=window[0], x=window[1])
            return loaded(part, self.path, threads)

    def made_of(self) -> dict[str, Any]:
        """See :class:`RegionInput`."""
        area = None if self.area is None else [*self.area.bounds, self.area.crs]
        return {"cube": [str(self.path), fingerprint(self.path)], "area": area}

    def _seen(self, opened: xr.DataArray) -> xr.DataArray:
        cube = with_roles(opened).transpose(*DIMS)
        return cube if self.area is None else self.area.part(cube)


@dataclass(frozen=True)
class RawArea:
    """Raw files or a catalogue, prepared window by window."""

    plan: PlannedArea

    @property
    def around_px(self) -> int:
        """See :class:`RegionInput`."""
        return self.plan.around_px

    def labels(self) -> xr.DataArray:
        """See :class:`RegionInput`."""
        return self.plan.labels

    def read(self, window: Window, threads: int) -> xr.DataArray:
        """See :class:`RegionInput`."""
        return self.plan.read(window, threads)

    def made_of(self) -> dict[str, Any]:
        """See :class:`RegionInput`."""
        source, mask = self.plan.source, self.plan.settings.optical.user_mask
        files = [] if isinstance(source, StacSource) else source.files()
        return {
            "source": [source.model_dump(mode="json"), fingerprints([*files, *([mask] if mask else [])])],
            "preparation": self.plan.settings.model_dump(mode="json"),
            "decisions": self.plan.decisions,
            "preparing_code": code_hash("data_prep"),
        }


def fingerprints(files: Iterable[Path]) -> dict[str, str]:
    """Of each file, see :func:`data_prep.regions.store.fingerprint`."""
    return {str(file): fingerprint(file) for file in files}
