"""Settings of the commands of this package; the modules beside this one run them. Imports no library that computes."""

import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fusion.contract import SEASON_METHOD, STEP_DAYS, WINDOW_PX
from fusion.date_settings import FirstDate, LastDate
from udf.settings import MARGIN_DAYS, OVERLAP_PX, PriceSettings, ServiceSettings
from udf.targets import TargetSettings


class WorkflowSettings(BaseModel):
    """``ndvi-fusion workflow``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: TargetSettings = Field(description="back-end: target=local (this machine), terrascope or cdse")
    out: Path = Field(description="folder for the graph and its results")
    source: Path | None = Field(Path("outputs/scene"), description="local: folder with s2.nc, s1.nc and coarse.nc")
    start: FirstDate = Field(datetime.date(2019, 1, 1), description="first date")
    end: LastDate = Field(datetime.date(2019, 12, 31), description="last date")
    area: dict[str, Any] | Path | None = Field(
        None, description="west, south, east, north and crs, or a GeoJSON file; null: whole extent of the local files"
    )
    polygons: Path | None = Field(
        None, description="polygons (.geojson, .gpkg, .parquet): a table of their means (CSV) instead of maps"
    )
    id: str | None = Field(None, description="column with the unique names of the polygons; id, or row numbers")
    step_days: int = Field(STEP_DAYS, ge=1, le=366, description="days between two dates of the fused series")
    output: Literal["fused", "smoothed", "seasons"] = Field("seasons", description="result to save")
    method: str = Field(
        SEASON_METHOD, description="method of the season dates; reference: that of the original workflow"
    )
    format: Literal["GTiff", "NetCDF", "Zarr"] = Field("NetCDF", description="file format")
    model: str | None = Field(
        None, description="local: model folder, .zip, run:ID or registry name; null: the shipped one"
    )
    window_px: int = Field(WINDOW_PX, ge=4, le=2048, description="window of apply_neighborhood, pixels of 10 m")
    overlap_px: int = Field(OVERLAP_PX, ge=0, le=512, description="overlap on every side of a window")
    margin_days: int = Field(
        MARGIN_DAYS, ge=0, le=400, description="days of observations loaded before start and after end"
    )
    radar_pass: Literal["all", "ascending", "descending"] = Field("all", description="pass of Sentinel-1 to load")
    radar_satellites: tuple[str, ...] | None = Field(
        None, description="values of target.s1_satellite_property to load; null: all satellites"
    )
    radar_levelled: bool = Field(
        True, description="load each pass apart and level them per pixel, where target.s1_pass_property tells the pass"
    )
    context: dict[str, Any] = Field(default_factory=dict, description="further keys of the context of the UDFs")
    execute: bool = Field(True, description="local: also run the graph")
    workers: int | None = Field(
        None, ge=1, description="local: threads that compute windows side by side; null: all cores"
    )
    dry_run: bool = Field(False, description="only print the steps of the graph, as a list and as a Mermaid picture")
    estimate: bool = Field(False, description="only print area, windows, CPU hours, memory and credits")
    price: PriceSettings = Field(PriceSettings(), description="price of computing, for estimate=true")
    archives_url: str | None = Field(
        None, description="back-ends: URL under which the folder of `ndvi-fusion package` is published"
    )
    service_url: str | None = Field(
        None, description="back-ends: raw URL under which the service folder will be published"
    )
    service: ServiceSettings = Field(ServiceSettings(), description="provider of the service, for the catalogue")
    submit: bool = Field(False, description="back-ends: start a batch job and wait for it")
    publish: bool = Field(False, description="back-ends: save the process under your account, public")
    overwrite: bool = Field(False, description="replace all results of an earlier run in this folder")

    @model_validator(mode="after")
    def _consistent(self) -> "WorkflowSettings":
        if self.end < self.start:
            raise ValueError(f"end {self.end} lies before start {self.start}; swap them")
        if self.overlap_px > self.window_px:
            raise ValueError(f"overlap_px {self.overlap_px} exceeds window_px {self.window_px}; use a larger window")
        if self.polygons is not None and self.output == "seasons":
            raise ValueError(
                "means of season dates mix fields with and without a season; set output=fused, and run "
                "`ndvi-fusion fields table=openEO.csv fuse=false` on the result"
            )
        if self.submit and ((self.area is None and self.polygons is None) or self.archives_url is None):
            raise ValueError("submit needs area and archives_url; set both")
        if self.service_url is not None and self.archives_url is None:
            raise ValueError("service_url needs archives_url, or the published process names no archives; set both")
        if (self.submit or self.publish or self.service_url) and not self.target.remote:
            raise ValueError(f"submit, publish and service_url need a back-end; target is {self.target.name}")
        return self


class PackageSettings(BaseModel):
    """``ndvi-fusion package``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path = Field(description="folder to write")
    model: str | None = Field(
        None, description="model folder, .onnx, .zip, run:ID or registry name; null: the shipped one"
    )
    dependencies: bool = Field(
        True, description="also write the onnxruntime archive; pip downloads its wheels (about 14 MB)"
    )
    onnxruntime: str = Field("1.20.1", pattern=r"^\d+(\.\d+)+$", description="onnxruntime version of that archive")
    pythons: tuple[Literal["py311", "py312"], ...] = Field(
        ("py311",), min_length=1, description="Pythons to write that archive for, as the back-end's image-name states"
    )
    wheels: Path | None = Field(None, description="folder of wheels to use instead of downloading")
    scene: Path | None = Field(
        None, description="folder of a small simulated scene: also write its results as reference, and the thumbnail"
    )
    check: Path | None = Field(
        None, description="write nothing; compare this NetCDF result of the scene with the reference in out"
    )
