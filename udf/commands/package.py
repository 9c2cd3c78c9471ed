"""``ndvi-fusion package``: all files for an openEO back-end, in one folder."""

import datetime
import logging
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fusion.inference.locate import locate_model
from fusion.inference.manifest import read_model_files
from fusion.netcdf import open_netcdf
from fusion.whole_file import whole_file, whole_set
from udf.archive import DEPS_ARCHIVE, write_dependency_archive, write_model_archive, write_sums
from udf.bundle import DIST, ENTRIES
from udf.commands.settings import PackageSettings
from udf.context_schema import SCHEMA_FILE, schema_text
from udf.graph_options import WorkflowOptions
from udf.local.loading import open_raster
from udf.local_backend import execute_graph
from udf.local_run import latitude_of_source, present_sensors
from udf.model_item import with_properties, write_descriptions
from udf.reference import FOLDER, check_result, write_scenario
from udf.targets import load_target
from udf.thumbnail import THUMBNAIL, write_thumbnail
from udf.workflow import build_workflow

_log = logging.getLogger(__name__)
SLACK = datetime.timedelta(days=16)  # Sentinel-2 dates that may lack at an end of the year
OUTPUTS: tuple[Literal["fused", "smoothed", "seasons"], ...] = ("fused", "smoothed", "seasons")


def run(settings: PackageSettings) -> str:
    """Write archives, UDF files, schema, descriptions of the model and SHA256SUMS, or check a result."""
    if settings.check is not None:
        return check_result(settings.check, settings.out)
    with whole_set(settings.out, [DEPS_ARCHIVE.format(python="*"), FOLDER, THUMBNAIL]) as folder:
        files = write_files(settings, folder)
        sums = write_sums(folder, files)
        total = sum(f.stat().st_size for f in files) / 1e6
    return f"{settings.out}: {len(files)} files, {total:.1f} MB; hashes in {sums.name}"


def write_files(settings: PackageSettings, out: Path) -> list[Path]:
    """Write all files but ``SHA256SUMS`` into ``out``."""
    model = locate_model(settings.model)
    content, manifest = with_properties(*read_model_files(model))
    files = [write_model_archive(content, manifest, out)]
    if settings.dependencies:
        files += [write_dependency_archive(out, settings.onnxruntime, settings.wheels, p) for p in settings.pythons]
    for entry in ENTRIES:
        target = out / f"{entry}.py"
        with whole_file(target) as partial:
            shutil.copyfile(DIST / f"{entry}.py", partial)
        files.append(target)
    schema = out / SCHEMA_FILE
    with whole_file(schema) as partial:
        partial.write_text(schema_text(), encoding="utf-8", newline="\n")
    files.append(schema)
    if settings.scene is not None:
        files += write_reference(settings.scene, model, out)
    shipped = settings.onnxruntime if settings.dependencies else None
    return files + write_descriptions(content, manifest, out, files, shipped)


def write_reference(scene: Path, model: Path, out: Path) -> list[Path]:
    """Results of a scene by the graph of every output, the scene itself, their scenario, and the thumbnail."""
    target = present_sensors(load_target("local"), scene)
    with open_raster(scene / target.s2_collection) as data:
        start, end = reference_period(data.t.values)
    latitude, folder = latitude_of_source(target, scene), out / FOLDER
    files: list[Path] = []
    graphs: dict[str, Any] = {}
    for output in OUTPUTS:
        options = WorkflowOptions(
            start=start, end=end, output=output, latitude=latitude, source=scene, context={"model_dir": str(model)}
        )
        alone = replace(options, source=Path("scene"), context={}, shared={})
        graphs[output] = build_workflow(target, alone).flat_graph()
        with tempfile.TemporaryDirectory(prefix="ndvi-fusion-reference-") as scratch:
            execute_graph(build_workflow(target, options), Path(scratch))
            files.append(_copied(Path(scratch) / "openEO.nc", folder / f"{output}.nc"))
    names = {target.s2_collection, target.s1_collection, *(c.collection for c in target.coarse)}
    files += [_copied(scene / name, folder / "scene" / name) for name in sorted(filter(None, names))]
    files.append(write_scenario(folder, graphs, {output: f"{output}.nc" for output in OUTPUTS}))
    with open_netcdf(folder / "fused.nc") as fused, open_netcdf(folder / "seasons.nc") as seasons:
        files.append(write_thumbnail(out / THUMBNAIL, fused, seasons))
    return files


def reference_period(dates: np.ndarray) -> tuple[datetime.date, datetime.date]:
    """The first calendar year that the dates cover but for ``SLACK``, or all of them where they cover none."""
    days = np.sort(dates.astype("datetime64[D]")).astype(datetime.date)
    for year in range(days[0].year, days[-1].year + 1):
        start, end = datetime.date(year, 1, 1), datetime.date(year, 12, 31)
        if days[0] - SLACK <= start and end <= days[-1] + SLACK:
            return start, end
    return days[0], days[-1]


def _copied(source: Path, target: Path) -> Path:
    with whole_file(target) as partial:
        shutil.copyfile(source, partial)
    return target
