"""``ndvi-fusion cube`` for areas of any size: region by region, in several processes, with the memory of a few."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xarray as xr

from data_prep.commands.settings import CubeSettings
from data_prep.regions.inputs import RawArea
from data_prep.regions.sharing import compute_regions, threads_of_each
from data_prep.regions.store import Region, RegionStore, stacked, store_for
from fusion.data.cube_files import to_dataset

TITLE = "Merged cube: Sentinel-2 NDVI, Sentinel-1, coarse NDVI"


@dataclass(frozen=True)
class RegionCube:
    """What a process needs to prepare a region."""

    source: RawArea
    store: RegionStore
    threads: int

    def __call__(self, region: Region) -> dict[str, Any]:
        """Prepare a region and write it."""
        part = self.source.read(region.window, self.threads)
        self.store.write(region, {str(band): part.values[:, k] for k, band in enumerate(part.bands.values)})
        return {}


def cube_by_region(source: RawArea, px: int, settings: CubeSettings, report: Callable[[int, int], None]) -> str:
    """Prepare an area region by region and write ``settings.out``; returns "", or a line if another process wrote it.

    A run that was ended, in any way, resumes when it is called again with the same arguments and files.
    """
    store = store_for(settings.out, px)
    labels = source.labels()
    threads = threads_of_each(settings.workers, settings.scheduler)

    def save(filled: xr.Dataset) -> str:
        store.save_cube(stacked(labels, filled), settings.out, title=TITLE, overwrite=settings.overwrite)
        return ""

    return compute_regions(
        store, to_dataset(labels, TITLE), source.made_of, RegionCube(source, store, threads),
        workers=settings.workers, scheduler=settings.scheduler, save=save, report=report,
    )  # fmt: skip
