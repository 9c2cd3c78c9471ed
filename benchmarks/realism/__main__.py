"""Statistics of simulated scenes and of a real cube, and their distances.

``python -m benchmarks.realism real=CUBE [start=2018-08-01 end=2018-12-31 count=60 out=FOLDER scene.KEY=VALUE ...]``.
"""

import json
import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.table import Table

from benchmarks.realism.difficulty import GAPS_D
from benchmarks.realism.statistics import SeriesStatistics
from data_prep.cube import PrepareSettings, open_cube
from data_prep.simulator.scene import simulate_observations
from data_prep.simulator.settings import SceneSettings
from fusion.cli.settings import validation_message
from fusion.contract import S2NDVI
from fusion.features.observations import Observations, observations_from_cube
from fusion.place import latitude_of
from fusion.progress import tracked
from fusion.whole_file import whole_file

log = logging.getLogger(__name__)

_MIN_OBS = 4  # S2 dates; fewer give no statistics of change
# simulated scenes are mostly masked by a square dilation of 2 to 7 px, so raw files are by default
LIKE_SCENES = {"prepare": {"optical": {"mask": "square"}}}


class RealismSettings(BaseModel):
    """``python -m benchmarks.realism``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    real: Path = Field(description="merged cube (.nc, .zarr) or folder of raw files")
    start: str | None = Field(None, description="first date used of the real cube, YYYY-MM-DD; null: all")
    end: str | None = Field(None, description="last date used of the real cube, YYYY-MM-DD; null: all")
    count: int = Field(60, ge=2, description="number of simulated scenes")
    seed: int = Field(500_000, ge=0, description="seed of the first scene")
    match: bool = Field(True, description="give the scenes the place, period, revisit and size of the real cube")
    out: Path | None = Field(None, description="folder for realism.json and realism.md; null: print only")
    scene: SceneSettings = Field(SceneSettings(), description="size, period and every randomised range of a scene")
    prepare: PrepareSettings = Field(
        PrepareSettings.model_validate(LIKE_SCENES["prepare"]), description="how raw files become a cube, as in `cube`"
    )


def run(settings: RealismSettings) -> Table:
    """Compare, write the files if ``out`` is set; returns the table to print."""
    cube = open_cube(settings.real, settings.prepare)
    cube = cube.sel(t=slice(settings.start, settings.end))
    dates = int(cube.sel(bands=S2NDVI).notnull().any(("y", "x")).sum()) if cube.sizes["t"] else 0
    if dates < _MIN_OBS:
        raise ValueError(
            f"{settings.real} has {dates} Sentinel-2 dates from {settings.start} to {settings.end}; "
            f"at least {_MIN_OBS} are needed; widen start and end"
        )
    real = observations_from_cube(cube, latitude=latitude_of(cube))
    scene = matched(settings.scene, cube, real) if settings.match else settings.scene
    rows = compare(real, scene, settings.seed, settings.count)
    if settings.out is not None:
        _write(settings.out, rows, settings)
    return table(rows, settings)


def matched(scene: SceneSettings, cube: xr.DataArray, real: Observations) -> SceneSettings:
    """``scene`` with the latitude, period, revisits and size of a real cube; every other range stays."""
    days = np.concatenate([real.s2_days, real.s1_days])
    first = days.min().astype("datetime64[D]")
    of_year = int((first - first.astype("datetime64[Y]")).astype(int))
    latitude = real.latitude
    if latitude is None:
        log.warning("the latitude of the cube is unknown; 50 degrees north is assumed")
        latitude = 50.0
    s2_gaps, s1_gaps = np.diff(real.s2_days), np.diff(real.s1_days)
    orbits = 2 if len(s2_gaps) and (s2_gaps % 5 != 0).mean() > 0.2 else 1
    revisit = 12 if len(s1_gaps) and np.median(s1_gaps) >= 9 else 6
    passes = 2 if len(s1_gaps) and np.median(s1_gaps) <= 4 else 1
    return scene.model_copy(
        update={
            "height": int(np.clip(real.shape[0], 32, 128)),
            "width": int(np.clip(real.shape[1], 32, 128)),
            "n_days": int(days.max() - days.min() + 1),
            "start_day": (of_year, of_year),
            "phenology": scene.phenology.model_copy(
                update={
                    "southern_probability": float(latitude < 0),
                    "latitude_deg": (max(abs(latitude) - 2, 0.0), abs(latitude) + 2),
                }
            ),
            "optics": scene.optics.model_copy(update={"orbits": (orbits, orbits)}),
            "radar": scene.radar.model_copy(update={"orbits": (passes, passes), "revisit_d": (revisit,)}),
        }
    )


def compare(real: Observations, scene: SceneSettings, seed: int, count: int) -> list[dict]:
    """Rows of statistic, simulated, real, distance; then linear interpolation by the leave-gap-out protocol."""
    rng = np.random.default_rng(seed)
    of_real, of_simulated = SeriesStatistics(), SeriesStatistics()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(Mean of empty slice|All-NaN slice|Degrees of freedom)", RuntimeWarning)
        of_real.add(real, rng)
        for k in tracked(range(count), "scenes", count):
            obs = simulate_observations(scene, seed + k).observations
            if len(obs.s2_days) >= _MIN_OBS:
                of_simulated.add(obs, rng)
    return of_simulated.distances(of_real) + difficulty_rows(of_simulated, of_real)


def difficulty_rows(simulated: SeriesStatistics, real: SeriesStatistics) -> list[dict]:
    """Mean absolute error of linear interpolation, simulated and real, pooled over scored dates."""
    mine, yours = (np.concatenate(s.linear) for s in (simulated, real))
    rows = []
    for k, gap in enumerate(GAPS_D):
        if len(mine) and len(yours):
            a, b = float(np.nanmean(mine[:, k])), float(np.nanmean(yours[:, k]))
            name = f"linear interpolation, MAE, observations within {gap} d withheld"
            rows.append(
                {"statistic": name, "simulated": round(a, 4), "real": round(b, 4), "distance": round(abs(a - b), 4)}
            )
    return rows


def table(rows: list[dict], settings: RealismSettings) -> Table:
    """The rows as a table for the terminal."""
    out = Table(title=f"{settings.count} simulated scenes beside {settings.real.name}")
    out.add_column("statistic")
    for name in ("simulated", "real", "distance"):
        out.add_column(name, justify="right")
    for row in rows:
        out.add_row(*(_text(row[key]) for key in ("statistic", "simulated", "real", "distance")))
    return out


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(f"{v:.2f}" for v in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _write(folder: Path, rows: list[dict], settings: RealismSettings) -> None:
    lines = ["| statistic | simulated | real | distance |", "|---|---|---|---|"]
    lines += [
        f"| {r['statistic']} | {_text(r['simulated'])} | {_text(r['real'])} | {_text(r['distance'])} |" for r in rows
    ]
    content = {
        "realism.json": json.dumps({"settings": settings.model_dump(mode="json"), "rows": rows}, indent=1),
        "realism.md": "\n".join(lines) + "\n",
    }
    for name, text in content.items():
        with whole_file(folder / name) as partial:
            partial.write_text(text)


def main(arguments: list[str]) -> None:
    """Compare, and print the table."""
    try:
        given = OmegaConf.merge(LIKE_SCENES, OmegaConf.from_dotlist(arguments))
        settings = RealismSettings.model_validate(OmegaConf.to_container(given))
    except ValidationError as error:
        sys.exit(validation_message(error, RealismSettings))
    Console(width=120).print(run(settings))


if __name__ == "__main__":
    main(sys.argv[1:])
