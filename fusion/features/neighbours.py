"""The observations before and after a date, per pixel, and linear interpolation between them."""

from dataclasses import dataclass

import numpy as np

FAR_DAYS = 10_000.0  # distance where there is no observation on that side


@dataclass(frozen=True)
class Neighbours:
    """Indices into the observation axis, each of shape (T, P); n (the number of observations) means "none".

    ``before`` is the latest observation on or before the date, ``after`` the earliest one strictly later; ``before2``
    and ``after2`` are the next ones beyond. ``gap_before`` and ``gap_after`` are distances in days, float32 (T, P).
    """

    before: np.ndarray
    after: np.ndarray
    before2: np.ndarray
    after2: np.ndarray
    gap_before: np.ndarray
    gap_after: np.ndarray

    @property
    def nearest(self) -> np.ndarray:
        """Distance to the nearest observation in days, (T, P); ``FAR_DAYS`` where the pixel has none."""
        return np.minimum(self.gap_before, self.gap_after)


class RowPicker:
    """Picks values of several arrays (n, P) at the same rows ``index`` (T, P) of every pixel; row n is "none"."""

    def __init__(self, index: np.ndarray) -> None:
        self._flat = index.astype(np.intp)
        self._flat *= index.shape[1]
        self._flat += np.arange(index.shape[1])

    def __call__(self, rows: np.ndarray, fill: float) -> np.ndarray:
        """Values of ``rows`` (n, P), and ``fill`` at row n."""
        padded = np.concatenate([rows, np.full((1, rows.shape[1]), fill, rows.dtype)])
        return padded.ravel().take(self._flat)


def gather_rows(rows: np.ndarray, index: np.ndarray, fill: float) -> np.ndarray:
    """Values of ``rows`` (n, P) at ``index`` (T, P); index n gives ``fill``."""
    return RowPicker(index)(rows, fill)


def days_at(days: np.ndarray, index: np.ndarray, fill: float) -> np.ndarray:
    """Days (n,) at ``index``, float32 of its shape; index n gives ``fill``."""
    return np.append(days, fill).astype(np.float32).take(index)


def neighbour_chain(valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the last valid observation at or before each one, and of the first at or after; (n + 1, P), n = none."""
    n, pixels = valid.shape
    index = np.arange(n, dtype=np.int32)[:, None]
    last, following = np.full((n + 1, pixels), n, np.int32), np.full((n + 1, pixels), n, np.int32)
    seen = np.maximum.accumulate(np.where(valid, index, np.int32(-1)), axis=0)
    np.copyto(last[:n], seen, where=seen >= 0)
    np.minimum.accumulate(np.where(valid, index, np.int32(n))[::-1], axis=0, out=following[:n][::-1])
    return last, following


def strictly_before_and_after(valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the valid observation strictly before each one, and strictly after; (n, P), n = none."""
    return _beyond(*neighbour_chain(valid))


def _beyond(last: np.ndarray, following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From :func:`neighbour_chain`, (n + 1, P), the index strictly before and strictly after each row, (n, P)."""
    n = len(last) - 1
    return np.concatenate([last[n:], last[: n - 1]]) if n else last[:0], following[1:]


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
    if n:
        earlier, later = _beyond(last, following)
        before2, after2 = gather_rows(earlier, before, n), gather_rows(later, after, n)
    else:
        before2, after2 = before, after
    grid = grid_days.astype(np.float32)[:, None]
    gap_before = np.where(before < n, grid - days_at(obs_days, before, 0.0), np.float32(FAR_DAYS))
    gap_after = np.where(after < n, days_at(obs_days, after, 0.0) - grid, np.float32(FAR_DAYS))
    return Neighbours(before, after, before2, after2, gap_before, gap_after)


def later_weight(gap_before: np.ndarray, gap_after: np.ndarray) -> np.ndarray:
    """Weight of the later neighbour in linear interpolation, 0 to 1; a missing neighbour has none."""
    has_before, has_after = gap_before < FAR_DAYS, gap_after < FAR_DAYS
    total = np.maximum(gap_before + gap_after, np.float32(1e-6))
    return np.where(has_before & has_after, gap_before / total, np.where(has_after, np.float32(1), np.float32(0)))


def blend_linearly(
    value_before: np.ndarray, value_after: np.ndarray, gap_before: np.ndarray, gap_after: np.ndarray
) -> np.ndarray:
    """Linear interpolation between two observations; the nearest if one is missing, NaN if both are."""
    has_before, has_after = gap_before < FAR_DAYS, gap_after < FAR_DAYS
    weight = later_weight(gap_before, gap_after)
    before = np.where(has_before, value_before, np.float32(0))
    after = np.where(has_after, value_after, np.float32(0))
    blended = before + weight * (after - before)
    return np.where(has_before | has_after, blended, np.float32(np.nan)).astype(np.float32)


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
    near = find_neighbours(np.isfinite(flat), days, grid_days)
    out = blend_linearly(
        gather_rows(flat, near.before, np.nan), gather_rows(flat, near.after, np.nan), near.gap_before, near.gap_after
    )
    return out.reshape(len(grid_days), *shape)


def gap_to_nearest(days: np.ndarray, values: np.ndarray, grid_days: np.ndarray) -> np.ndarray:
    """Days from every grid date to the nearest observation of the pixel, (T, ...); ``FAR_DAYS`` without any."""
    flat = np.isfinite(values).reshape(len(days), int(np.prod(values.shape[1:])))
    return find_neighbours(flat, days, grid_days).nearest.reshape(len(grid_days), *values.shape[1:])
