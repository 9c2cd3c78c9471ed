"""The workflow on files of this machine: which sensors there are, where they lie, and the graph's run."""

import logging
from pathlib import Path
from typing import Any

from fusion.inference.locate import locate_model
from fusion.inference.manifest import read_model_files
from fusion.place import latitude_of
from udf.local.loading import labels_along_t, open_raster
from udf.targets import TargetSettings

_log = logging.getLogger(__name__)
PASS_COORDINATE = "orbit"  # of raw Sentinel-1 files, as the command cube reads it
NO_PASS = {"", "NONE", "UNKNOWN", "NAN"}


def present_sensors(target: TargetSettings, source: Path) -> TargetSettings:
    """The target without radar and coarse series whose files are missing in ``source``; each is named.

    Where the radar file tells the pass of each image (coordinate ``orbit``), the target gets its passes.

    Raises
    ------
    FileNotFoundError
        No such folder, or no Sentinel-2 in it.
    """
    if not source.is_dir():
        raise FileNotFoundError(f"source {source} is not a folder; make one with `ndvi-fusion simulate out={source}`")
    if not (source / target.s2_collection).exists():
        raise FileNotFoundError(
            f"{source} holds no {target.s2_collection}; Sentinel-2 is required, give another source"
        )
    changes: dict[str, Any] = {}
    if target.s1_collection is not None and not (source / target.s1_collection).exists():
        _log.warning("%s holds no %s: fusion without radar", source, target.s1_collection)
        changes["s1_collection"] = None
    elif target.s1_collection is not None and target.s1_pass_property is None:
        with open_raster(source / target.s1_collection) as radar:
            passes = labels_along_t(radar, PASS_COORDINATE)
        if passes and not set(passes) & NO_PASS:
            changes |= {"s1_pass_property": PASS_COORDINATE, "s1_passes": tuple(sorted(set(passes)))}
    there = tuple(c for c in target.coarse if (source / c.collection).exists())
    if len(there) < len(target.coarse):
        _log.warning("%s holds no coarse series: fusion without it", source)
        changes["coarse"] = there
    return target.model_copy(update=changes)


def latitude_of_source(target: TargetSettings, source: Path) -> float | None:
    """Latitude of the files' centre, None where they have no CRS."""
    with open_raster(source / target.s2_collection) as files:
        return latitude_of(files)


def local_model(model: str | None, overlap_px: int) -> str:
    """Folder of the model, once the windows overlap as much as it needs.

    Raises
    ------
    ValueError
        The overlap is too small.
    """
    folder = locate_model(model)
    need = read_model_files(folder)[1].overlap_px
    if overlap_px < need:
        raise ValueError(
            f"overlap_px is {overlap_px}, this model needs {need}; with less, seams appear between windows"
        )
    return str(folder)
