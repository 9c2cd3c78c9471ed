"""The clean NDVI of a simulated scene by date; never taken from another date."""

import numpy as np


def truth_on_days(truth_days: np.ndarray, truth: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Truth on exactly the given days.

    Parameters
    ----------
    truth_days : int64 (m,)
        Days since 1970-01-01, sorted, gaps allowed: a patch store keeps every fifth day.
    truth : float32 (m, H, W)
        Clean NDVI of these days.
    days : int (n,)
        Requested days, in any order.

    Returns
    -------
    float32 (n, H, W)
        NaN on days that are not in ``truth_days``.
    """
    truth_days, days = np.asarray(truth_days), np.asarray(days)
    found = np.full((len(days), *truth.shape[1:]), np.nan, np.float32)
    if len(truth_days):
        rows = np.minimum(np.searchsorted(truth_days, days), len(truth_days) - 1)
        held = truth_days[rows] == days
        found[held] = truth[rows[held]]
    return found


def nearest_truth_day(truth_days: np.ndarray, day: int) -> int:
    """The day with truth nearest to ``day``; the earlier one of two."""
    return int(truth_days[np.argmin(np.abs(np.asarray(truth_days) - day))])
