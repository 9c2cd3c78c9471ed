"""`ndvi-fusion cube`: build a merged cube from raw Sentinel-2, Sentinel-1 and coarse NDVI of an area."""

import logging
from pathlib import Path

import rioxarray  # noqa: F401  (the .rio accessor)

from data_prep.commands.settings import CubeSettings
from data_prep.cube import S2_IMAGES, build_cube, clear_share
from data_prep.raw.cubes import NotRawError, RawCubes, SourceError
from data_prep.raw.reading import read_bands
from data_prep.sources.files import FilesSource
from data_prep.sources.openeo import OpenEOSource
from fusion.data.cube_files import read_cube, write_cube

log = logging.getLogger(__name__)

AREA = "{area}"


def run(settings: CubeSettings) -> None:
    """Load, process, merge and write each area; an output file appears only when it is complete."""
    areas = settings.source.areas if isinstance(settings.source, OpenEOSource) else {}
    if len(areas) > 1 and AREA not in settings.out.name:
        raise SourceError(f"out={settings.out} is one file for {len(areas)} areas; include {AREA} in its name")
    if AREA not in settings.out.name:
        _refuse_existing(settings.out, settings.overwrite)
        if isinstance(settings.source, FilesSource) and settings.out.exists():
            _refuse_input(settings.out, settings.source)
        make_cube(settings.source.load(), settings, settings.out)
        return
    if not isinstance(settings.source, OpenEOSource):
        raise SourceError(f"out={settings.out} contains {AREA}, which requires source=openeo; remove it from the name")
    for area, raw in settings.source.load_areas():
        out = settings.out.with_name(settings.out.name.replace(AREA, area))
        if out.exists() and not settings.overwrite:
            log.info("%s exists and is kept", out)
            continue
        make_cube(raw, settings, out)


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


def make_cube(raw: RawCubes, settings: CubeSettings, out: Path) -> None:
    """Build the merged cube of one area, log its notes, and write it to ``out``."""
    for note in raw.notes:
        log.info(note)
    cube = build_cube(raw, settings)
    for note in str(cube.attrs["notes"]).splitlines():
        if note not in raw.notes:
            log.info(note)
    write_cube(cube, out, title="Merged cube: Sentinel-2 NDVI, Sentinel-1, coarse NDVI", overwrite=settings.overwrite)
    days = cube.t.values.astype("datetime64[D]")
    bands, size = ", ".join(map(str, cube.bands.values)), f"{cube.sizes['y']} x {cube.sizes['x']} px"
    log.info("%s: %d dates %s..%s, %s, %s, %s", out, cube.sizes["t"], days[0], days[-1], bands, size, cube.rio.crs)
    share, images = clear_share(read_cube(out, lazy=True)), str(cube.attrs[S2_IMAGES]).split()
    log.info("clear: %.1f %% of the pixels of %d Sentinel-2 images", 100 * share, len(images))
