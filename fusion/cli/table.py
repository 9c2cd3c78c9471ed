"""The table of commands: summary, module, settings class and examples. The modules are imported on use only.

Run in this order, the examples build on each other: ``simulate`` writes the scene that ``cube`` reads, and so on.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class Command:
    """A row of the table: summary, module, settings class, examples.

    ``settings``: name of a class in the module, or dotted name of one elsewhere; the module where it lies imports no
    library that computes, so that help and refused settings appear at once. ``own_progress``: the command shows its
    own progress; the others get a spinner while they run.
    """

    summary: str
    module: str
    settings: str
    examples: tuple[str, ...]
    own_progress: bool = False

    def settings_class(self) -> "type[BaseModel]":
        """The pydantic class of the settings; imports the module where it lies."""
        module, _, name = self.settings.rpartition(".")
        return getattr(importlib.import_module(module or self.module), name)

    def run(self) -> Callable[[Any], Any]:
        """The ``run`` function of the command; imports its module."""
        return importlib.import_module(self.module).run


COMMANDS: dict[str, Command] = {
    "simulate": Command(
        "Simulate scenes with known truth: raw Sentinel-2, Sentinel-1 and coarse NDVI, georeferenced",
        "data_prep.commands.simulate",
        "data_prep.commands.settings.SimulateSettings",
        ("out=outputs/scene seed=7", "out=outputs/scenes count=10 scene.height=128 scene.width=128"),
    ),
    "cube": Command(
        "Make the merged cube (t, bands, y, x) from raw Sentinel-2, Sentinel-1 and coarse NDVI files",
        "data_prep.commands.cube",
        "data_prep.commands.settings.CubeSettings",
        (
            "input=outputs/scene out=outputs/cube.nc",
            "source.s2=[outputs/scene/s2.nc] source.s1=[outputs/scene/s1.nc] optical.mask=disk out=outputs/cube.zarr",
        ),
        own_progress=True,
    ),
    "patches": Command(
        "Make a patch store for training from cubes, tables or simulated scenes",
        "data_prep.commands.patches",
        "data_prep.commands.settings.PatchesSettings",
        ("out=outputs/patches.zarr", "source=table source.table=outputs/fields.csv out=outputs/fields.zarr"),
        own_progress=True,
    ),
    "inspect": Command(
        "Validate a patch store or a cube, and print its contents and statistics",
        "data_prep.commands.inspect",
        "data_prep.commands.settings.InspectSettings",
        ("store=outputs/patches.zarr", "store=outputs/cube.nc"),
    ),
    "train": Command(
        "Train the generator; records the run with MLflow",
        "fusion.commands.train",
        "fusion.training.settings.TrainSettings",
        (
            "experiment=shipped_cpu out=outputs/training",
            "store=outputs/patches.zarr out=outputs/training_store",
            "experiment=shipped_cpu store=[outputs/patches.zarr] shares=[0.7,0.3] out=outputs/training_mixed",
            "debug=tiny out=outputs/tiny",
        ),
        own_progress=True,
    ),
    "evaluate": Command(
        "Score a model against linear interpolation and Whittaker, on simulated truth or on withheld real observations",
        "fusion.commands.evaluate",
        "fusion.commands.settings.EvaluateSettings",
        (
            "out=outputs/evaluation",
            "cube=outputs/cube.nc out=outputs/evaluation_real",
            "model=ndvi-fusion@newest others={before:ndvi-fusion@1} scenes=12 out=outputs/compared",
        ),
        own_progress=True,
    ),
    "export": Command(
        "Checkpoint -> one ONNX file with manifest; parity with torch is checked",
        "fusion.commands.export",
        "ExportSettings",
        ("checkpoint=outputs/training/generator.pt out=outputs/model",),
    ),
    "package": Command(
        "Write the files for an openEO back-end: the UDFs, the model archive and the dependency archive",
        "udf.commands.package",
        "udf.commands.settings.PackageSettings",
        ("out=outputs/package", "model=ndvi-fusion@newest dependencies=false out=outputs/package"),
    ),
    "predict": Command(
        "Merged cube -> dense NDVI with uncertainty, as NetCDF, Zarr or GeoTIFF",
        "fusion.commands.predict",
        "PredictSettings",
        (
            "cube=outputs/cube.nc out=outputs/ndvi.nc start=2022-10-01 end=2023-11-15",
            "cube=outputs/scene out=outputs/ndvi.tif step_days=10 model=ndvi-fusion@newest",
        ),
        own_progress=True,
    ),
    "adapt": Command(
        "Rescale a model's uncertainty with withheld observations of your own area, points or fields",
        "fusion.commands.adapt",
        "AdaptSettings",
        ("cube=outputs/cube.nc out=outputs/adapted", "store=fields.zarr out=outputs/adapted"),
    ),
    "phenology": Command(
        "NDVI series -> smoothed series and season dates",
        "fusion.commands.phenology",
        "PhenologySettings",
        (
            "cube=outputs/ndvi.nc out=outputs/seasons",
            "cube=outputs/cube.nc out=outputs/seasons_s2 method=first_derivative smoother=whittaker year=2023",
        ),
        own_progress=True,
    ),
    "fields": Command(
        "Polygons and a cube, or a table of points -> series and seasons per field, as CSV and GeoParquet",
        "fusion.commands.fields",
        "fusion.commands.fields_settings.FieldsSettings",
        (
            "cube=outputs/ndvi.nc polygons=fields.gpkg out=outputs/fields",
            "table=points.csv start=2023-01-01 end=2023-12-31 out=outputs/points",
        ),
    ),
    "view": Command(
        "Show a result in the browser: a map with a time slider, and the series of a clicked pixel or field",
        "fusion.commands.view",
        "ViewSettings",
        (
            "outputs/ndvi.nc observations=outputs/cube.nc",
            "outputs/ndvi.nc other=outputs/ndvi_s2.nc fields=outputs/fields.gpkg",
        ),
        own_progress=True,
    ),
    "workflow": Command(
        "Build the openEO process graph; run it on this machine, or write it for a back-end",
        "udf.commands.workflow",
        "udf.commands.settings.WorkflowSettings",
        (
            "target=local source=outputs/scene start=2023-03-01 end=2023-10-31 out=outputs/workflow",
            "target=cdse out=outputs/workflow_cdse",
        ),
    ),
    "demo": Command(
        "The whole chain from simulated images to season maps, with a report; or fusion and season maps of a real cube",
        "fusion.commands.demo",
        "fusion.demo.settings.DemoSettings",
        ("", "cube=path/to/folder out=outputs/demo_real", "model=run:1a2b out=outputs/demo_run"),
        own_progress=True,
    ),
}
