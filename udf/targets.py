"""Targets of the workflow: collections, band names, units and job options of each back-end."""

import datetime
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fusion.config_folder import config_folder
from fusion.date_settings import FirstDate, LastDate


class CoarseSource(BaseModel):
    """A collection of the coarse role and the dates that it covers; no setting has a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    collection: str = Field(description="collection id, or a file relative to the source folder")
    band: str = Field(description="its NDVI band")
    scale: float = Field(description="NDVI = scale * number + offset")
    offset: float = Field(description="NDVI = scale * number + offset")
    valid_max: float | None = Field(description="numbers above are flags, not NDVI; null: none")
    first: FirstDate | None = Field(description="first date it covers; null: any")
    last: LastDate | None = Field(description="last date it covers; null: any")


class TargetSettings(BaseModel):
    """A back-end, or this machine; each file in ``configs/target`` gives all settings that have no default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["local", "terrascope", "cdse"] = Field(description="name of the target")
    s2_collection: str = Field(description="Sentinel-2 L2A collection, or a file relative to the source folder")
    red_band: str = Field(description="its red band, 10 m")
    nir_band: str = Field(description="its near-infrared band, 10 m")
    s2_dn: float = Field(gt=0, description="what digital number 1, reflectance 0.0001, is in these bands")
    scl_collection: str = Field(description="collection that holds the scene classification")
    scl_band: str = Field(description="its scene classification band")
    scl_pixel_m: float = Field(gt=0, description="pixel size of that band; sizes the dilation kernels")
    s1_collection: str | None = Field(description="Sentinel-1 collection; null: no radar")
    vv_band: str = Field(description="its VV band")
    vh_band: str = Field(description="its VH band")
    s1_units: Literal["dB", "linear"] = Field(description="units of VV and VH as the collection delivers them")
    s1_coefficient: str = Field(description="backscatter coefficient that is delivered or requested")
    s1_process: Literal["sar_backscatter"] | None = Field(
        description="process that computes the coefficient; null: delivered as it is"
    )
    s1_pass_property: str | None = Field(
        None, description="property of the collection's items that tells the pass; null: not known"
    )
    s1_passes: tuple[str, ...] = Field(
        ("ASCENDING", "DESCENDING"), description="values of that property that are levelled to one another"
    )
    s1_satellite_property: str | None = Field(
        None, description="property of the collection's items that tells the satellite; null: not known"
    )
    coarse: tuple[CoarseSource, ...] = Field(description="collections of the coarse role, by date")
    cloud_mask: Literal["apply_kernel", "to_scl_dilation_mask"] = Field(
        "apply_kernel", description="portable dilation by two gaussian kernels, or Terrascope's own process"
    )
    s1_resampling: str = Field("bilinear", description="resampling of radar to the Sentinel-2 grid")
    coarse_resampling: str = Field("bilinear", description="resampling of coarse NDVI to the Sentinel-2 grid")
    connection: str | None = Field(description="URL of the back-end; null: this machine")
    platform: str | None = Field(None, description="id of the platform's record in the APEx catalogue; null: none")
    job_options: dict[str, Any] = Field(default_factory=dict, description="job options other than the archives")

    @model_validator(mode="after")
    def _sources_do_not_overlap(self) -> "TargetSettings":
        spans = [(s.first or datetime.date.min, s.last or datetime.date.max, s.collection) for s in self.coarse]
        for k, (first, last, name) in enumerate(spans):
            if last < first:
                raise ValueError(f"coarse source {name} ends ({last}) before it begins ({first})")
            for other_first, other_last, other in spans[k + 1 :]:
                if first <= other_last and other_first <= last:
                    raise ValueError(f"coarse sources {name} and {other} overlap in time; give each its own dates")
        return self

    @property
    def remote(self) -> bool:
        """True for a back-end."""
        return self.connection is not None


def load_target(name: str) -> TargetSettings:
    """A target from ``configs/target``.

    Raises
    ------
    ValueError
        No such target; the message lists the existing ones.
    """
    folder = config_folder() / "target"
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise ValueError(f"target is {name!r}; expected one of {known}")
    return TargetSettings(**yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8")))
