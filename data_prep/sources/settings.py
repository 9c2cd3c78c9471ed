"""Settings of every source of raw data; ``load`` imports what reads it. Imports no library that computes."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from data_prep.raw.cubes import RawCubes, SourceError
from data_prep.raw.dates import DatesBy
from data_prep.settings import OFFSET_HELP, OffsetSetting
from data_prep.simulator.settings import SceneSettings
from fusion.date_settings import FirstDate, LastDate
from fusion.extras import needs
from fusion.place import Bounds, check_lonlat

if TYPE_CHECKING:
    from data_prep.raw.extent import Extent

log = logging.getLogger(__name__)

S1Units = Literal["auto", "dB", "linear", "dn16"]
Sensor = Literal["s2", "s1", "coarse"]


class FilesSource(BaseModel):
    """Raw data in local files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["files"] = "files"
    folder: Path | None = Field(None, description="folder of raw files, identified by their bands")
    s2: tuple[Path, ...] = Field((), description="files with B04, B08 and SCL; pixel sizes may differ")
    s1: tuple[Path, ...] = Field((), description="files with VV and VH")
    coarse: tuple[Path, ...] = Field((), description="files with a coarse NDVI (PROBA-V, CGLS)")
    area: Bounds | None = Field(None, description="part to read: west, south, east, north in degrees; null: all")
    on_error: Literal["stop", "skip"] = Field("stop", description="stop at a file that cannot be read, or skip it")
    dates_by: DatesBy = Field("name", description="date that counts where name and tags of a file differ")
    s2_scale: float | None = Field(
        None, gt=0, description="reflectance per digital number; null: scale of the file, else 1e-4"
    )
    s2_offset_dn: OffsetSetting = Field("auto", description=OFFSET_HELP)
    s1_units: S1Units = Field("auto", description="units of VV and VH; dn16: uint16 amplitudes of openeo-gfmap")
    coarse_encoding: Literal["auto", "dn", "physical"] = Field(
        "auto", description="encoding of the coarse NDVI: digital numbers or physical"
    )

    @model_validator(mode="after")
    def _one_way(self) -> "FilesSource":
        if self.area is not None:
            check_lonlat(self.area, "area")
        if (self.folder is None) == (not self.s2):
            raise ValueError("set either folder=... or s2=[...] (and s1=[...], coarse=[...] if available)")
        if self.folder is not None and (self.s1 or self.coarse):
            raise ValueError(
                "folder=... includes S1 and the coarse series; remove s1 and coarse, or replace folder by s2=[...]"
            )
        return self

    def files(self) -> list[Path]:
        """All files, those of the folder found."""
        from data_prep.raw.folders import find_files

        found = find_files(self.folder) if self.folder is not None else []
        return [*found, *self.s2, *self.s1, *self.coarse]

    def load(self, window: "Extent | None" = None) -> RawCubes:
        """Raw cubes of the files, or of a window; see :func:`data_prep.sources.files.load_files`."""
        from data_prep.sources.files import load_files

        return load_files(self, window)


class StacSource(BaseModel):
    """Sentinel-2, Sentinel-1 and a coarse NDVI from a STAC catalogue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["stac"] = "stac"
    catalog: str = Field(description="URL of a STAC API, or path of a local catalog.json or item collection")
    bbox: Bounds = Field(description="west, south, east, north of the area, degrees (WGS 84)")
    start: FirstDate = Field(description="first date")
    end: LastDate = Field(description="last date")
    s2_collection: str = Field("sentinel-2-l2a", description="collection with red, near infrared and SCL")
    s2_offset_dn: OffsetSetting = Field("auto", description=OFFSET_HELP)
    s1_collection: str | None = Field(None, description="collection with VV and VH, terrain corrected; null: none")
    s1_units: Literal["dB", "linear"] | None = Field(
        None, description="units of VV and VH; required with s1_collection"
    )
    coarse_collection: str | None = Field(None, description="collection with the coarse NDVI; null: none")
    coarse_encoding: Literal["auto", "dn", "physical"] = Field(
        "auto", description="encoding of the coarse NDVI: digital numbers or physical"
    )
    max_cloud: float = Field(95.0, ge=0, le=100, description="largest eo:cloud_cover of S2 items, percent")
    sign: Literal["none", "planetary_computer"] = Field("none", description="signing of asset URLs")
    on_error: Literal["stop", "skip"] = Field("stop", description="stop at an item that cannot be read, or skip it")

    @model_validator(mode="after")
    def _consistent(self) -> "StacSource":
        check_lonlat(self.bbox, "bbox")
        if self.end < self.start:
            raise ValueError(f"end={self.end} lies before start={self.start}; swap them")
        if self.s1_collection and self.s1_units is None:
            raise ValueError(
                "s1_collection is set without s1_units; set s1_units=linear or dB (units are not detected)"
            )
        return self

    def load(self, window: "Extent | None" = None) -> RawCubes:
        """Raw cubes of the area, or of a window; see :func:`data_prep.sources.stac.load_stac`."""
        signing = [] if self.sign == "none" else [self.sign]
        for library in ("odc.stac", "pystac_client", *signing):
            needs(library, "source=stac")
        from data_prep.sources.stac import load_stac

        return load_stac(self, window)


class OpenEOSource(BaseModel):
    """Raw cubes from openEO batch jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["openeo"] = "openeo"
    backend: Literal["cdse", "terrascope"] = Field(
        "cdse", description="back-end; its collections and bands are in configs/target"
    )
    url: str | None = Field(None, description="URL of the back-end; null: the URL in configs/target")
    login: Literal["oidc", "none"] = Field(
        "oidc", description="oidc: login of the openEO client; none: back-end without login"
    )
    areas: dict[str, Bounds] = Field(min_length=1, description="name -> west, south, east, north, degrees")
    start: FirstDate = Field(description="first date")
    end: LastDate = Field(description="last date")
    folder: Path = Field(description="downloads and job state; use the same folder to resume")
    sensors: tuple[Sensor, ...] = Field(("s2", "s1", "coarse"), description="sensors to download; s2 is required")
    s2_offset_dn: OffsetSetting = Field("auto", description=OFFSET_HELP)
    parallel_jobs: int = Field(2, ge=1, le=20, description="largest number of jobs at the same time")
    poll_s: float = Field(60.0, gt=0, description="interval between two queries of the job states, seconds")
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="failed jobs: stop at the end, or continue without them"
    )

    @field_validator("areas")
    @classmethod
    def _sound_areas(cls, areas: dict[str, Bounds]) -> dict[str, Bounds]:
        for name, bounds in areas.items():
            if not name.replace("-", "").replace("_", "").isalnum() or not name[0].isalpha():
                raise ValueError(f"area name {name!r}; use letters, digits, '-' and '_', a letter first")
            check_lonlat(bounds, f"area {name}")
        return areas

    @field_validator("sensors")
    @classmethod
    def _with_s2(cls, sensors: tuple[Sensor, ...]) -> tuple[Sensor, ...]:
        if "s2" not in sensors:
            raise ValueError(f"sensors={list(sensors)}; Sentinel-2 (s2) is required")
        return sensors

    def load(self) -> RawCubes:
        """Raw cubes of a source with a single area."""
        return self.only_area().load()

    def only_area(self) -> "DownloadedArea":
        """The area of a source with a single one, downloaded."""
        if len(self.areas) > 1:
            raise SourceError(f"there are {len(self.areas)} areas; include '{{area}}' in out, or set one area")
        for _, downloaded in self.downloaded():
            return downloaded
        raise SourceError(f"the area {next(iter(self.areas))} has no Sentinel-2; see the messages above")

    def downloaded(self) -> Iterator[tuple[str, "DownloadedArea"]]:
        """Download missing data, then yield name and files of each area that has Sentinel-2."""
        from data_prep.sources.openeo import area_files, fetch

        problems = fetch(self)
        for area in self.areas:
            if (self.folder / area / "s2").is_dir():
                yield area, area_files(self, area)
            else:
                log.warning("area %s has no Sentinel-2 and is skipped: %s", area, problems.get((area, "s2"), "unknown"))


class DownloadedArea(BaseModel):
    """Files that openEO jobs made of one area."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["openeo"] = "openeo"
    data: FilesSource = Field(description="the files of each sensor, and how they are read")
    origin: str = Field(description="back-end and area")
    missing: tuple[Sensor, ...] = Field((), description="sensors that were not downloaded")

    def files(self) -> list[Path]:
        """All files."""
        return self.data.files()

    def load(self, window: "Extent | None" = None) -> RawCubes:
        """Raw cubes of the files, or of a window; see :func:`data_prep.sources.files.load_files`."""
        raw = self.data.load(window)
        notes = tuple(f"{sensor} was not downloaded" for sensor in self.missing)
        return replace(raw, origin=self.origin, notes=raw.notes + notes)


class SimulatedSource(BaseModel):
    """A simulated scene."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["simulated"] = "simulated"
    scene: SceneSettings = Field(
        SceneSettings(height=128, width=128), description="size, period and randomised ranges of the scene"
    )
    seed: int = Field(0, ge=0, description="seed; equal settings and seed give an equal scene")

    def load(self) -> RawCubes:
        """Raw cubes of the scene; :func:`data_prep.simulator.raw.simulate_raw` also returns its truth."""
        from data_prep.simulator.raw import simulate_raw

        return simulate_raw(self.scene, self.seed).raw


Source = Annotated[FilesSource | StacSource | OpenEOSource | SimulatedSource, Field(discriminator="kind")]
