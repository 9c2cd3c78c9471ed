"""One grid for files that lie side by side: several tiles of one sensor, also of two UTM zones."""

from collections.abc import Sequence

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.grid import bounds, same_grid
from data_prep.raw.cubes import SourceError
from fusion.place import project_bounds

_MOST_EMPTY = 4.0  # a grid may be this many times the area of its files


def common_grid(files: Sequence[tuple[str, xr.DataArray]], what: str, notes: list[str]) -> xr.DataArray:
    """The grid of the first file, extended to the extent of all files; the first file itself if nothing is added.

    Where files differ in CRS, the one that most images have counts. A note names the files that were joined and
    the share of the grid that no file covers. In overlaps, merging per day takes the first valid pixel (radar: the
    mean power).

    Parameters
    ----------
    files : sequence of (name, xarray.DataArray)
        Files of one band, dims (t, y, x) with their CRS.

    Raises
    ------
    SourceError
        Files lie so far apart that most of the grid would be empty.
    """
    tiles: list[tuple[str, xr.DataArray]] = []
    for name, values in files:
        if not any(same_grid(values, tile) for _, tile in tiles):
            tiles.append((name, values))
    if len(tiles) == 1:
        return tiles[0][1]
    first = _reference(files)
    boxes = [project_bounds(bounds(tile), tile.rio.crs, first.rio.crs) for _, tile in tiles]
    grid = _extended(first, boxes)
    share = _covered(grid, boxes)
    if share * _MOST_EMPTY < 1:
        raise SourceError(
            f"{what}: {_named(tiles)} lie apart: {_round(boxes[0])} and {_round(boxes[-1])} ({first.rio.crs}), "
            f"together {grid.sizes['x']} x {grid.sizes['y']} px, {100 * (1 - share):.0f} % of them empty; expected "
            "tiles side by side; prepare each area by itself"
        )
    zones = sorted({str(tile.rio.crs) for _, tile in tiles})
    if grid is not first or len(zones) > 1:
        onto = (
            f"; {' and '.join(zones)} were warped to {first.rio.crs}, which most images have" if len(zones) > 1 else ""
        )
        gap = f"; {100 * (1 - share):.0f} % of it has no file" if share < 0.995 else ""
        notes.append(
            f"{what}: {_named(tiles)} were joined on one grid of {grid.sizes['x']} x {grid.sizes['y']} px{onto}{gap}"
        )
    return grid


def _named(tiles: list[tuple[str, xr.DataArray]]) -> str:
    names = list(dict.fromkeys(name for name, _ in tiles))
    more = f" and {len(names) - 3} more files" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _round(box: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(edge, 4) for edge in box)


def _reference(files: Sequence[tuple[str, xr.DataArray]]) -> xr.DataArray:
    """The first file of the CRS that most images have; of equal counts, the first."""
    images: dict[str, int] = {}
    for _, values in files:
        crs = str(values.rio.crs)
        images[crs] = images.get(crs, 0) + values.sizes["t"]
    wanted = max(images, key=lambda crs: images[crs])
    return next(values for _, values in files if str(values.rio.crs) == wanted)


def _extended(first: xr.DataArray, boxes: list[tuple[float, float, float, float]]) -> xr.DataArray:
    """``first``, or an empty grid of its pixels that reaches over all boxes."""
    left, bottom, right, top = bounds(first)
    side_x, side_y = (right - left) / first.sizes["x"], (top - bottom) / first.sizes["y"]
    far = [min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)]
    steps = ((left - far[0]) / side_x, (far[2] - right) / side_x, (far[3] - top) / side_y, (bottom - far[1]) / side_y)
    more = [max(int(np.ceil(step - 0.01)), 0) for step in steps]
    if not any(more):
        return first
    x = np.concatenate([first.x.values[0] - side_x * np.arange(more[0], 0, -1), first.x.values,
                        first.x.values[-1] + side_x * np.arange(1, more[1] + 1)])  # fmt: skip
    y = np.concatenate([first.y.values[0] + side_y * np.arange(more[2], 0, -1), first.y.values,
                        first.y.values[-1] - side_y * np.arange(1, more[3] + 1)])  # fmt: skip
    empty = np.broadcast_to(np.float32(np.nan), (len(y), len(x)))
    return xr.DataArray(empty, dims=("y", "x"), coords={"y": y, "x": x}).rio.write_crs(first.rio.crs)


def _covered(grid: xr.DataArray, boxes: list[tuple[float, float, float, float]]) -> float:
    """Share of the grid inside any box, from a raster of at most 200 x 200 points."""
    x = grid.x.values[:: max(1, grid.sizes["x"] // 200)]
    y = grid.y.values[:: max(1, grid.sizes["y"] // 200), None]
    inside = [(x >= left) & (x <= right) & (y >= bottom) & (y <= top) for left, bottom, right, top in boxes]
    return float(np.any(inside, axis=0).mean())
