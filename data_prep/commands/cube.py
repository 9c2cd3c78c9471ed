"""`ndvi-fusion cube`: build a merged cube from raw Sentinel-2, Sentinel-1 and coarse NDVI of an area."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import rioxarray  # noqa: F401  (the .rio accessor)

from data_prep.commands.cube_regions import TITLE, cube_by_region
from data_prep.commands.settings import CubeSettings
from data_prep.cube import S2_IMAGES, build_cube, clear_share
from data_prep.raw.cubes import NotRawError, SourceError, free_cycles
from data_prep.raw.reading import read_bands
from data_prep.regions.inputs import RawArea
from data_prep.regions.sharing import refuse_without_workers
from data_prep.regions.store import INPUT_BYTES, fitting_px
from data_prep.settings import PrepareSettings
from data_prep.sources.settings import FilesSource, OpenEOSource, SimulatedSource
from data_prep.windows import WindowedSource, plan_area
from fusion.data.cube_files import read_cube, write_cube
from fusion.progress import Progress

log = logging.getLogger(__name__)

AREA = "{area}"
PREPARATION = tuple(PrepareSettings.model_fields)


def run(settings: CubeSettings) -> None:
    """Load, process, merge and write each area; an output file appears only when it is complete."""
    source = settings.source
    refuse_without_workers(settings.workers, settings.scheduler)
    areas = source.areas if isinstance(source, OpenEOSource) else {}
    if len(areas) > 1 and AREA not in settings.out.name:
        raise SourceError(f"out={settings.out} is one file for {len(areas)} areas; include {AREA} in its name")
    if AREA not in settings.out.name:
        _refuse_existing(settings.out, settings.overwrite)
        if isinstance(source, FilesSource) and settings.out.exists():
            _refuse_input(settings.out, source)
        make_cube(source.only_area() if isinstance(source, OpenEOSource) else source, settings)
        return
    if not isinstance(source, OpenEOSource):
        raise SourceError(f"out={settings.out} contains {AREA}, which requires source=openeo; remove it from the name")
    for area, downloaded in source.downloaded():
        out = settings.out.with_name(settings.out.name.replace(AREA, area))
        if out.exists() and not settings.overwrite:
            log.info("%s exists and is kept", out)
            continue
        make_cube(downloaded, settings.model_copy(update={"out": out}))


def _refuse_existing(out: Path, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise SourceError(f"{out} exists; choose another out or set overwrite=true")


def _refuse_input(out: Path, source: FilesSource) -> None:
    """An output in the input folder is right, one in the place of an input is not."""
    place = out.resolve()
    for file in source.files():
        if place in (file.resolve(), *file.resolve().parents) and not _is_own(file):
            raise SourceError(f"out={out} would replace the input {file}; name another file")


def _is_own(file: Path) -> bool:
    try:
        read_bands(file)
    except NotRawError:
        return True
    except SourceError:
        return False
    return False


def make_cube(source: WindowedSource | SimulatedSource, settings: CubeSettings) -> None:
    """Build the merged cube of one area, at once or region by region, log its notes, and write it."""
    with Progress("preparing") as report:
        elsewhere = _written(source, settings, report)
    if elsewhere:
        log.info("%s: %s", settings.out, elsewhere)
    else:
        _tell(settings.out)


def _written(
    source: WindowedSource | SimulatedSource, settings: CubeSettings, report: Callable[[int, int], None]
) -> str:
    """Write ``settings.out``; returns "", or a line if another process wrote it."""
    if isinstance(source, SimulatedSource):
        cube = build_cube(source.load(), settings)
        for note in str(cube.attrs["notes"]).splitlines():
            log.info(note)
    else:
        steps = PrepareSettings(**{name: getattr(settings, name) for name in PREPARATION})
        plan, cube = plan_area(source, steps, used_px=settings.region or math.inf)
        sizes = plan.labels.sizes
        px = fitting_px(sizes, settings.region, around=plan.around_px)
        if cube.chunks is not None:  # written lazily, it would be read several times: a single region at least
            px = px or max(sizes["y"], sizes["x"])
        elif settings.region is None and cube.nbytes <= INPUT_BYTES:  # prepared already
            px = None
        if px is not None:
            size = cube.nbytes
            del cube  # in memory as a whole, where it is small
            free_cycles(size)
            return cube_by_region(RawArea(plan), px, settings, report)
        cube = cube.assign_attrs(plan.labels.attrs)
    write_cube(cube, settings.out, title=TITLE, overwrite=settings.overwrite)
    return ""


def _tell(file: Path) -> None:
    """Log what a merged cube file holds."""
    cube = read_cube(file, lazy=True)
    days = cube.t.values.astype("datetime64[D]")
    bands, size = ", ".join(map(str, cube.bands.values)), f"{cube.sizes['y']} x {cube.sizes['x']} px"
    log.info("%s: %d dates %s..%s, %s, %s, %s", file, cube.sizes["t"], days[0], days[-1], bands, size, cube.rio.crs)
    share, images = clear_share(cube), str(cube.attrs[S2_IMAGES]).split()
    log.info("clear: %.1f %% of the pixels of %d Sentinel-2 images", 100 * share, len(images))
