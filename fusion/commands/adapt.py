"""``ndvi-fusion adapt``: rescale a model's uncertainty with the observations of an area, or of many places.

Observations are withheld and predicted; one factor on sigma makes the 90 % interval cover 90 % of them. The NDVI itself
is unchanged. To change the NDVI too, fine-tune with ``ndvi-fusion train experiment=fine_tune``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fusion.contract import NDVI, NDVI_SIGMA, S2NDVI, ContractError, TimeGrid
from fusion.data.settings import SPLITS
from fusion.features.calibration import covering_factor
from fusion.inference.locate import locate_model
from fusion.inference.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, read_model_files
from fusion.place import latitude_of
from fusion.training.model_folder import whole_model_folder

if TYPE_CHECKING:
    import xarray as xr

    from fusion.data.store import PatchStore
    from fusion.inference.session import ModelSession

PATCH_PX = 16  # pixels per side that are used of a patch, so that a store of large patches takes minutes
ENOUGH_OBS = 500  # pixel-observations; with fewer the factor is too uncertain


class AdaptSettings(BaseModel):
    """``ndvi-fusion adapt``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    cube: Path | None = Field(None, description="merged cube (.nc or .zarr) of the area, or a folder of raw files")
    store: Path | None = Field(None, description="patch store instead of a cube, for example of points or fields")
    out: Path = Field(description="model folder to write; use it as model=FOLDER")
    model: str | None = Field(None, description="model to adapt; the shipped one when empty")
    s1_units: Literal["dB", "linear"] | None = Field(
        None, description="radar units, where the cube does not state them"
    )
    withheld_days: tuple[int, ...] = Field((5, 20, 40), description="lengths of the windows withheld in turn, days")
    folds: int = Field(4, ge=1, description="withheld dates per window length, spread over the cube's observations")
    side_px: int = Field(
        96, ge=1, description="at most this many pixels per side are used, from the middle of the cube"
    )
    places: int = Field(100, ge=1, description="patches of a store that are used, spread over all")

    @model_validator(mode="after")
    def _one_input(self) -> AdaptSettings:
        if (self.cube is None) == (self.store is None):
            raise ValueError("give either cube=PATH, one area, or store=PATH, a patch store of many places")
        return self


def run(settings: AdaptSettings) -> str:
    """Adapt and write; returns a line for the terminal."""
    from fusion.inference.session import load_session

    source = locate_model(settings.model)
    session = load_session(source, threads=os.cpu_count() or 1)
    factor, obs = sigma_factor(
        open_places(settings, session.manifest),
        session,
        withheld_days=settings.withheld_days,
        folds=settings.folds,
        side_px=settings.side_px,
        s1_units=settings.s1_units,
    )
    write_rescaled(source, settings.out, factor, obs)
    return f"{settings.out}: sigma times {factor:.3f}, from {obs} withheld pixel-observations"


def open_places(settings: AdaptSettings, manifest: Manifest) -> Iterator[xr.DataArray]:
    """The cube of the settings, or one cube for each chosen patch of the store, at most ``PATCH_PX`` a side."""
    if settings.cube is not None:
        from data_prep.cube import open_cube

        yield open_cube(settings.cube)
        return
    from fusion.data.store import PatchStore
    from fusion.evaluation.scenes import cube_from_observations

    assert settings.store is not None
    store = PatchStore.open(settings.store)
    for i in unseen_patches(store, manifest, settings.places):
        obs = store[i].observations
        rows, columns = (slice(*_middle(size, PATCH_PX)) for size in obs.shape)
        yield cube_from_observations(obs.window(rows, columns))


def unseen_patches(store: PatchStore, manifest: Manifest, count: int) -> list[int]:
    """Positions of ``count`` patches spread over the store; none of the training split if the model learned from it."""
    learned = store.content_hash() in json.dumps(manifest.training)
    splits = ("calibration", "test") if learned else SPLITS
    found = sorted(i for split in splits for i in store.indices(split))
    if not found:
        raise ContractError(f"{store.path} has no patch that the model did not learn from; give another store")
    return [found[k] for k in np.unique(np.linspace(0, len(found) - 1, count).round().astype(int))]


def sigma_factor(
    cubes: Iterable[xr.DataArray],
    session: ModelSession,
    *,
    withheld_days: tuple[int, ...] = (5, 20, 40),
    folds: int = 4,
    side_px: int = 96,
    s1_units: str | None = None,
) -> tuple[float, int]:
    """Factor on ``NDVI_SIGMA`` by which 90 % intervals cover 90 % of withheld observations, and their number.

    Parameters
    ----------
    cubes : iterable of xarray.DataArray
        Merged cubes, dims (t, bands, y, x); the middle ``side_px`` x ``side_px`` pixels of each are used.
    session : ModelSession
        The model to rescale; its sigma is that of one observation.
    withheld_days : tuple of int
        Lengths of the windows withheld around a date, in turn, days.
    folds : int
        Withheld dates per window length.
    s1_units : {"dB", "linear"}, optional
        Radar units, where the cube does not state them.

    Raises
    ------
    ContractError
        Fewer than 500 pixel-observations could be withheld and predicted.
    """
    parts = [
        part
        for cube in cubes
        for part in withheld_errors(cube, session, withheld_days, folds, side_px=side_px, s1_units=s1_units)
    ]
    errors, sigmas = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else (np.zeros(0),) * 2
    if len(errors) < ENOUGH_OBS:
        raise ContractError(
            f"only {len(errors)} pixel-observations could be withheld and predicted; {ENOUGH_OBS} are needed; give a "
            "larger area, more places or a longer period"
        )
    return covering_factor(errors, sigmas), len(errors)


def withheld_errors(
    cube: xr.DataArray,
    session: ModelSession,
    withheld_days: tuple[int, ...],
    folds: int,
    *,
    side_px: int,
    s1_units: str | None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Errors and standard deviations of the observations of each withheld date, NDVI; see :func:`sigma_factor`."""
    import xarray as xr

    from fusion.inference.fuse import fuse_cube

    rows, columns = (slice(*_middle(cube.sizes[axis], side_px)) for axis in ("y", "x"))
    cube, latitude = cube.isel(y=rows, x=columns).load(), latitude_of(cube)
    ndvi = cube.sel(bands=S2NDVI)
    days = cube.t.values.astype("datetime64[D]").astype("int64")
    seen = np.flatnonzero(np.isfinite(ndvi.values).any(axis=(1, 2)))
    for length in withheld_days:
        for centre in seen[np.linspace(1, len(seen) - 2, folds).round().astype(int)] if len(seen) > 2 else []:
            withheld = np.abs(days - days[centre]) <= length // 2
            visible = cube.where(~xr.DataArray(withheld, dims="t", coords={"t": cube.t}) | (cube.bands != S2NDVI))
            visible.attrs = cube.attrs
            day = np.datetime64(int(days[centre]), "D")
            grid = TimeGrid(day, day, session.manifest.step_days)
            fused = fuse_cube(visible, session, grid, s1_units=s1_units, latitude=latitude)
            error = (fused.sel(bands=NDVI).values[0] - ndvi.values[centre]).ravel()
            known = np.isfinite(error)
            yield error[known], fused.sel(bands=NDVI_SIGMA).values[0].ravel()[known]


def _middle(size: int, side: int) -> tuple[int, int]:
    start = max(size - side, 0) // 2
    return start, min(start + side, size)


def write_rescaled(source: Path, out: Path, factor: float, obs: int) -> Path:
    """A copy of a model whose uncertainty tables are multiplied by ``factor``."""
    model, manifest = read_model_files(source)
    tables = manifest.calibration
    rescaled = replace(
        manifest,
        calibration=replace(
            tables,
            ndvi_factor=tuple(round(v * factor, 4) for v in tables.ndvi_factor),
            observation_noise=tuple(round(v * factor, 4) for v in tables.observation_noise),
        ),
        training={**manifest.training, "adapted": {"sigma_factor": round(factor, 4), "pixel_obs": obs}},
    )
    with whole_model_folder(out) as folder:
        (folder / MODEL_FILE).write_bytes(model)
        (folder / MANIFEST_FILE).write_text(rescaled.to_json(), encoding="utf-8")
    return out
