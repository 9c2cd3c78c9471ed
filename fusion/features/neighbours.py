"""The observations before and after a date, per pixel, and linear interpolation between them."""

from dataclasses import dataclass

import numpy as np

FAR_DAYS = 10_000.0  # distance where there is no observation on that side


@dataclass(frozen=True)
class Neighbours:
    """Indices into the observation axis, each of shape (T, P); n (the number of observations) means "none".

    ``before`` is the latest observation on or before the date, ``after`` the earliest one strictly later; ``before2``
    and ``after2`` are the next ones beyond. ``gap_before`` and ``gap_after`` are distances in days, float32 (T, P), and
    ``pick_before`` and ``pick_after`` pick rows at ``before`` and ``after``.
    """

    before: np.ndarray
    after: np.ndarray
    before2: np.ndarray
    after2: np.ndarray
    gap_before: np.ndarray
    gap_after: np.ndarray
    pick_before: "RowPicker"
    pick_after: "RowPicker"

    @property
    def nearest(self) -> np.ndarray:
        """Distance to the nearest observation in days, (T, P); ``FAR_DAYS`` where the pixel has none."""
        return np.minimum(self.gap_before, self.gap_after)


class RowPicker:
    """Picks values of several arrays at the same rows ``index`` (T, P) of every pixel; row n is "none"."""

    def __init__(self, index: np.ndarray) -> None:
        self._flat = index.astype(np.intp)
        self._flat *= index.shape[1]
        self._flat += np.arange(index.shape[1])

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Values (T, P) of ``rows`` (n + 1, P), whose last row is for "none" (:func:`with_none`)."""
        return rows.ravel().take(self._flat)


def with_none(rows: np.ndarray, fill: float) -> np.ndarray:
    """Rows (n, P), and one more of ``fill``."""
    return np.concatenate([rows, np.full((1, rows.shape[1]), fill, rows.dtype)])


def gather_rows(rows: np.ndarray, index: np.ndarray, fill: float) -> np.ndarray:
    """Values of ``rows`` (n, P) at ``index`` (T, P); index n gives ``fill``."""
    return RowPicker(index)(with_none(rows, fill))


def days_at(days: np.ndarray, index: np.ndarray, fill: float) -> np.ndarray:
    """Days (n,) at ``index``, float32 of its shape; index n gives ``fill``."""
    return np.append(days, fill).astype(np.float32).take(index)


def neighbour_chain(valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the last valid observation at or before each one, and of the first at or after; (n + 1, P), n = none."""
    n, pixels = valid.shape
    last, following = np.empty((2, n + 1, pixels), np.int32)
    last[n] = following[n] = n
    number = np.arange(1, n + 1, dtype=np.int32)[:, None]
    np.multiply(number, valid, out=last[:n])  # 0 where there is none, else the index + 1
    np.multiply(number - (n + 1), valid, out=following[:n])  # 0 where there is none, else the index - n
    for k in range(1, n):  # faster than numpy's accumulate
        np.maximum(last[k], last[k - 1], out=last[k])
        np.minimum(following[n - 1 - k], following[n - k], out=following[n - 1 - k])
    last[:n] += np.int32(n + 1) * (last[:n] == 0) - np.int32(1)
    following[:n] += np.int32(n)
    return last, following


def strictly_before_and_after(valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the valid observation strictly before each one, and strictly after; (n + 1, P), n = none."""
    return _beyond(*neighbour_chain(valid))


def _beyond(last: np.ndarray, following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From :func:`neighbour_chain`, the index strictly before and after each row; (n + 1, P), row n is none."""
    n = len(last) - 1
    none = last[n:]
    return np.concatenate([none, last[: max(n - 1, 0)], none])[: n + 1], np.concatenate([following[1:], none])


def find_neighbours(valid: np.ndarray, obs_days: np.ndarray, grid_days: np.ndarray) -> Neighbours:
    """Locate the observations around every grid date.

    Parameters
    ----------
    valid : bool array (n, P)
        True where a pixel has an observation.
    obs_days, grid_days : int64 arrays (n,), (T,)
        Sorted days.
    """
    n = len(valid)
    last, following = neighbour_chain(valid)
    row = np.searchsorted(obs_days, grid_days, side="right")
    before = last[np.where(row > 0, row - 1, n)]
    after = following[row]
    pick_before, pick_after = RowPicker(before), RowPicker(after)
    earlier, later = _beyond(last, following)
    grid = grid_days.astype(np.float32)[:, None]
    gap_before = np.minimum(grid - days_at(obs_days, before, -1e9), np.float32(FAR_DAYS))
    gap_after = np.minimum(days_at(obs_days, after, 1e9) - grid, np.float32(FAR_DAYS))
    return Neighbours(
        before, after, pick_before(earlier), pick_after(later), gap_before, gap_after, pick_before, pick_after
    )


def later_weight(gap_before: np.ndarray, gap_after: np.ndarray) -> np.ndarray:
    """Weight of the later neighbour in linear interpolation, 0 to 1; a missing neighbour has none."""
    has_before, has_after = gap_before < FAR_DAYS, gap_after < FAR_DAYS
    weight = gap_before / np.maximum(gap_before + gap_after, np.float32(1e-6))
    weight *= has_before & has_after
    weight += has_after > has_before
    return weight


def blend_linearly(value_before: np.ndarray, value_after: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Linear interpolation between two observations with the weight ``later`` of :func:`later_weight`.

    The value of a missing neighbour is 0; the result is that of the other one, 0 where both are missing.
    """
    blended = value_after - value_before
    blended *= later
    blended += value_before
    return blended


def interpolate_linear(days: np.ndarray, values: np.ndarray, grid_days: np.ndarray) -> np.ndarray:
    """Per-pixel linear interpolation in time; the nearest observation beyond the ends.

    Parameters
    ----------
    days : int64 (n,)
        Sorted dates of the observations.
    values : float (n, ...)
        NaN = no observation.
    grid_days : int64 (T,)
        Dates of the result.

    Returns
    -------
    float32 (T, ...)
        NaN for a pixel without any observation.
    """
    shape = values.shape[1:]
    flat = values.reshape(len(days), int(np.prod(shape))).astype(np.float32)
    valid = np.isfinite(flat)
    near = find_neighbours(valid, days, grid_days)
    known = with_none(np.where(valid, flat, np.float32(0)), 0)
    out = blend_linearly(near.pick_before(known), near.pick_after(known), later_weight(near.gap_before, near.gap_after))
    out[near.nearest >= FAR_DAYS] = np.nan
    return out.reshape(len(grid_days), *shape)


def gap_to_nearest(days: np.ndarray, values: np.ndarray, grid_days: np.ndarray) -> np.ndarray:
    """Days from every grid date to the nearest observation of the pixel, (T, ...); ``FAR_DAYS`` without any."""
    flat = np.isfinite(values).reshape(len(days), int(np.prod(values.shape[1:])))
    return find_neighbours(flat, days, grid_days).nearest.reshape(len(grid_days), *values.shape[1:])
