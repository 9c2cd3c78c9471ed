"""Cut patches from merged cubes, simulated scenes or tables: list of tasks, and patches of one task.

:mod:`data_prep.farm` runs the tasks.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.raw.cubes import SourceError
from data_prep.settings import CubePatches, CutSettings, SimulatedPatches
from data_prep.simulator.settings import SceneSettings
from data_prep.split import Ground, SplitSettings, split_of_ground, split_of_name
from data_prep.tables import TablePatches, TableTask, table_patches, table_task
from fusion.contract import S2NDVI, ContractError
from fusion.data.cube_files import is_cube_file, opened_cube
from fusion.data.patch import Patch
from fusion.data.provenance import code_hash
from fusion.features.observations import Observations, observations_from_cube
from fusion.place import LONLAT, latitude_of, project_bounds

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SceneTask:
    """One simulated scene."""

    seed: int
    scene: SceneSettings
    code: str | None  # hash of the simulator's source files

    @property
    def name(self) -> str:
        return f"sim-{self.seed:08d}"

    @property
    def identity(self) -> str:
        """Hash of seed, settings and simulator code."""
        return _digest(self.scene.model_dump_json(), self.seed, self.code)


@dataclass(frozen=True)
class TileTask:
    """A part of one merged cube."""

    cube: Path
    site: str
    row: int
    column: int
    height: int
    width: int
    size: int
    modified_ns: int

    @property
    def name(self) -> str:
        return f"{self.site}-r{self.row:06d}-c{self.column:06d}"

    @property
    def identity(self) -> str:
        """Hash of file name, size, modification time and position of the tile."""
        return _digest(self.cube.name, self.size, self.modified_ns, self.row, self.column, self.height, self.width)


Task = SceneTask | TileTask | TableTask


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps([str(p) for p in parts]).encode()).hexdigest()[:16]


def plan(source: CubePatches | SimulatedPatches | TablePatches, cut: CutSettings) -> list[Task]:
    """All tasks of a source in a fixed order; reads file headers only.

    Raises
    ------
    SourceError
        A file is missing or not a merged cube, two cubes have the same name, or one is smaller than a patch.
    """
    if isinstance(source, SimulatedPatches):
        if min(source.scene.height, source.scene.width) < cut.patch_px:
            raise SourceError(
                f"scenes of {source.scene.height} x {source.scene.width} px are smaller than {cut.patch_px} px; "
                "increase source.scene.height and width, or reduce cut.patch_px"
            )
        code = code_hash("data_prep.simulator.scene")
        return [SceneTask(source.seed + k, source.scene, code) for k in range(source.count)]
    if isinstance(source, TablePatches):
        return [table_task(source)]
    tasks: list[Task] = []
    seen: dict[str, Path] = {}
    for path in _cube_files(source.cubes):
        site = _site_of(path)
        if site in seen:
            raise SourceError(f"{path} and {seen[site]} give the same site name {site!r}; rename one")
        seen[site] = path
        tasks += _tiles(path, site, cut)
    return tasks


def _cube_files(patterns: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        if any(sign in pattern for sign in "*?["):
            base = Path(path.anchor or ".")
            some = sorted(base.glob(str(path.relative_to(path.anchor) if path.anchor else path)))
            some = [p for p in some if not p.name.startswith(".") and p.suffix in (".nc", ".zarr")]
        else:
            some = [path] if path.exists() else []
        if not some:
            raise SourceError(f"source.cubes: no file matches {pattern}; check the path")
        found += some
    return list(dict.fromkeys(found))


def _site_of(path: Path) -> str:
    name = "".join(c if c.isalnum() or c in "._" else "_" for c in path.stem)
    return name.lstrip("._") or "cube"


def _tiles(path: Path, site: str, cut: CutSettings) -> list[Task]:
    if not is_cube_file(path):
        raise SourceError(f"{path} is not a merged cube (no band {S2NDVI}); create it with `ndvi-fusion cube`")
    with opened_cube(path) as cube:
        height, width, crs = cube.sizes["y"], cube.sizes["x"], cube.rio.crs
    if min(height, width) < cut.patch_px:
        raise SourceError(
            f"{path} has {height} x {width} px, less than a patch of {cut.patch_px} px; reduce cut.patch_px"
        )
    if crs is None:
        raise SourceError(f"{path} has no CRS, which the split requires to locate patches; add one (rio.write_crs)")
    step = max(cut.patch_px, cut.tile_px // cut.patch_px * cut.patch_px)
    stat = path.stat() if path.is_file() else (path / "zarr.json").stat()
    tasks: list[Task] = []
    for row in range(0, height - cut.patch_px + 1, step):
        for column in range(0, width - cut.patch_px + 1, step):
            size = (min(step, height - row), min(step, width - column))
            tasks.append(TileTask(path.absolute(), site, row, column, *size, stat.st_size, stat.st_mtime_ns))
    return tasks


def cut_patches(task: Task, cut: CutSettings, split: SplitSettings) -> Iterator[Patch | str]:
    """Yield the patches of one task; for each window that is not kept, a string with the reason."""
    if isinstance(task, SceneTask):
        yield from _cut_scene(task, cut, split)
    elif isinstance(task, TableTask):
        yield from table_patches(task, cut.min_observations, split)
    else:
        yield from _cut_tile(task, cut, split)


def _cut_scene(task: SceneTask, cut: CutSettings, split: SplitSettings) -> Iterator[Patch | str]:
    from data_prep.simulator.scene import simulate_observations  # needs numba, as no other source of patches does

    scene = simulate_observations(task.scene, task.seed)
    year = int(scene.truth_days[0].astype("datetime64[D]").astype("datetime64[Y]").astype(int) + 1970)
    pick = slice(None, None, cut.truth_step_days)
    side = cut.patch_px
    for row in range(0, task.scene.height - side + 1, side):
        for column in range(0, task.scene.width - side + 1, side):
            rows, columns = slice(row, row + side), slice(column, column + side)
            obs = scene.observations.window(rows, columns)
            seen, reason = _usable_dates(obs, cut)
            if reason is not None:
                yield reason
                continue
            yield Patch(
                observations=obs if seen.all() else _drop_empty(obs, seen),
                split=split_of_name(task.name, split),
                site=task.name,
                year=year,
                key=f"{task.name}_r{row:04d}_c{column:04d}",
                truth_days=scene.truth_days[pick],
                truth=scene.truth[pick, rows, columns],
                suspect=scene.suspect[seen, rows, columns],
                cover=scene.cover[rows, columns].astype(np.int16),
                parcel=scene.parcel[rows, columns].astype(np.int16),
                extra={"source": "simulated", "seed": task.seed, "latitude": round(float(scene.latitude), 4)},
            )


def _usable_dates(obs: Observations, cut: CutSettings) -> tuple[np.ndarray, str | None]:
    share = np.isfinite(obs.s2_ndvi).mean(axis=(1, 2)) if len(obs.s2_days) else np.zeros(0)
    good = int((share >= cut.min_clear).sum())
    if good < cut.min_observations:
        return share > 0, f"too few observations ({'<' + str(cut.min_observations)})"
    return share > 0, None


def _drop_empty(obs: Observations, seen: np.ndarray) -> Observations:
    return obs.withhold(s2=~seen)


def _cut_tile(task: TileTask, cut: CutSettings, split: SplitSettings) -> Iterator[Patch | str]:
    rows, columns = slice(task.row, task.row + task.height), slice(task.column, task.column + task.width)
    with opened_cube(task.cube) as cube:
        tile = cube.isel(y=rows, x=columns).load()
    side = cut.patch_px
    for row in range(0, task.height - side + 1, side):
        for column in range(0, task.width - side + 1, side):
            part = tile.isel(y=slice(row, row + side), x=slice(column, column + side))
            for window in _windows(part, cut):
                yield _cut_window(window, task, (task.row + row, task.column + column), cut, split)


def _windows(cube: xr.DataArray, cut: CutSettings) -> Iterator[xr.DataArray]:
    days = cube.t.values.astype("datetime64[D]").astype("int64")
    start = int(days[0])
    while True:
        inside = (days >= start) & (days < start + cut.window_days)
        if inside.any():
            yield cube.isel(t=np.flatnonzero(inside))
        if start + cut.window_days > days[-1]:
            return
        start += cut.window_step_days


def _cut_window(
    window: xr.DataArray, task: TileTask, at: tuple[int, int], cut: CutSettings, split: SplitSettings
) -> Patch | str:
    days = window.t.values.astype("datetime64[D]")
    ground = ground_of(window)
    chosen = split_of_ground(ground, task.site, split)
    if chosen is None:
        return "on a border between splits or in a held-out year"
    try:
        obs = observations_from_cube(window, latitude=latitude_of(window))
    except ContractError as error:
        raise SourceError(f"{task.cube}: {error}") from error
    _, reason = _usable_dates(obs, cut)
    if reason is not None:
        return reason
    year = ground.years[0]
    return Patch(
        observations=obs,
        split=chosen,
        site=task.site,
        year=year,
        key=f"{task.site}_{days[0]}_r{at[0]:06d}_c{at[1]:06d}",
        extra={
            "source": task.cube.name,
            "row": at[0],
            "column": at[1],
            "crs": f"EPSG:{window.rio.crs.to_epsg()}" if window.rio.crs.to_epsg() else window.rio.crs.to_wkt(),
            "bounds": [round(float(v), 3) for v in window.rio.bounds()],
            "ground": [round(v, 7) for v in (ground.west, ground.south, ground.east, ground.north)],
            "first": str(days[0]),
            "last": str(days[-1]),
        },
    )


def ground_of(cube: xr.DataArray) -> Ground:
    """Extent in WGS 84 and the years of a cube."""
    box = project_bounds(cube.rio.bounds(), cube.rio.crs, LONLAT)
    years = np.unique(cube.t.values.astype("datetime64[Y]").astype(int) + 1970)
    west, south, east, north = (float(v) for v in box)
    return Ground(west, south, east, north, tuple(int(y) for y in years))
