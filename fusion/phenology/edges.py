"""Seasons cut by the begin or end of a series: which minima were seen, which dates stand, with what sigma.

The last value before a series ends is no minimum. Where a series begins or ends on a flank, or high above the minimum
of the other side, that other minimum stands for both; the dates' sigma admits the difference between the two.
"""

from dataclasses import dataclass

import numpy as np

from fusion.phenology.double_logistic import SHIFT_SD
from fusion.phenology.settings import FLAGS, SeasonSettings

EDGE_NEAR, EDGE_CUT = 0.1, 0.25  # share of the amplitude left at the edge of the series: flag, date removed
EDGE_HIGH = 0.5  # an edge so high above the other side's minimum, as a share of the amplitude, is no minimum
NEAR_DAYS = 20.0  # a date this close to the edge is drawn inwards, by half of what is missing to it (season_edges.py)


@dataclass(frozen=True)
class SeenMinima:
    """What is known of the minima left and right of each season, (M,) each but ``high``."""

    high: np.ndarray  # (M, 2) bool, the series begins or ends above the level at which the season would begin or end
    weight: np.ndarray  # of the left minimum in MINV: 0.5 both seen, 0 only the right one, 1 only the left one
    sigma: np.ndarray  # standard deviation of MINV from minima that were not seen, NDVI
    near: np.ndarray  # bool, a minimum is uncertain
    none: np.ndarray  # bool, neither was seen


def seen_minima(lows: tuple, maxv: np.ndarray, rest: tuple, open_edge: np.ndarray) -> SeenMinima:
    """Judge the minima at the edges of the series.

    Parameters
    ----------
    lows : two ndarray (M,)
        Lowest values left and right of the maximum, NDVI.
    maxv : ndarray, (M,)
        Maxima, NDVI.
    rest : two ndarray (M,)
        Share of the amplitude by which each flank would fall further beyond the series.
    open_edge : bool ndarray, (M, 2)
        The series begins or ends on this side.
    """
    high, unseen, spread = [], [], []
    with np.errstate(invalid="ignore", divide="ignore"):
        for side in (0, 1):
            above = (lows[side] - lows[1 - side]) / (maxv - lows[1 - side])
            left_over = np.abs(rest[side])
            high.append(open_edge[:, side] & (above > EDGE_CUT))
            unseen.append(open_edge[:, side] & ((left_over > EDGE_CUT) | (above > EDGE_HIGH)))
            doubt = np.fmax(left_over, above)
            near = open_edge[:, side] & (doubt > EDGE_NEAR)
            spread.append(np.where(near, doubt * np.abs(maxv - lows[1 - side]) / np.sqrt(3.0), 0.0))
    none = unseen[0] & unseen[1]
    weight = np.where(none | ~(unseen[0] | unseen[1]), 0.5, np.where(unseen[0], 0.0, 1.0))
    spread = [np.where(missing, SHIFT_SD, of_side) for missing, of_side in zip(unseen, spread, strict=True)]
    sigma = 0.5 * np.hypot(*spread)
    return SeenMinima(np.stack(high, axis=1), weight, sigma, sigma > 0, none)


def admit_unseen_minima(
    out: dict, minima: SeenMinima, open_edge: np.ndarray, edges: tuple, settings: SeasonSettings
) -> None:
    """Widen the sigma of dates near an edge or by an unseen minimum, flag them, and drop what cannot be told.

    ``edges`` are the first and the last day of each season's window, in the days of ``out``.
    """
    out["FLAG"] |= np.where(minima.near, FLAGS["edge_near"], 0)
    out["FLAG"] |= np.where(minima.none, FLAGS["start_cut"] | FLAGS["end_cut"], 0)
    relative = settings.method == "relative_amplitude"
    sides = (("SOSD", "LSLOPE", settings.start), ("EOSD", "RSLOPE", settings.end))
    for side, (name, slope, share) in enumerate(sides):
        with np.errstate(invalid="ignore", divide="ignore"):
            missing = np.maximum(NEAR_DAYS - np.abs(out[name] - edges[side]), 0.0)
            near = np.where(open_edge[:, side], 0.5 * missing, 0.0)
            level = (1.0 - share) * minima.sigma / out[slope] if relative else np.zeros(len(near))
            wider = np.sqrt(out[f"{name}_SIGMA"] ** 2 + near**2 + level**2)
        out[f"{name}_SIGMA"] = np.where((near > 0) | (level != 0), wider, out[f"{name}_SIGMA"])
    needing = ["MINV", "AMPL", "SPROD"]
    if relative:
        needing += ["SOSD", "EOSD", "SOSV", "EOSV", "SOSD_SIGMA", "EOSD_SIGMA", "LSLOPE", "RSLOPE", "LENGTH", "TPROD"]
    for name in needing:
        out[name] = np.where(minima.none, np.nan, out[name])


def cut_flags(
    out: dict, left_over: tuple, open_edge: np.ndarray, high: np.ndarray, begin: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """Flags of truncated flanks and of length; dates, values and sigmas of truncated flanks become NaN in ``out``."""
    flag = np.zeros(len(begin), np.int32)
    sides = (("SOS", "start_cut", 0, begin), ("EOS", "end_cut", 1, end))
    spoiled = np.zeros(len(begin), bool)
    for name, label, side, edge in sides:
        date = out[f"{name}D"]
        share = np.abs(left_over[side])
        truncated = (share > EDGE_CUT) | high[:, side] | (np.abs(date - edge) < 1e-6)
        cut = ~np.isfinite(date) | (open_edge[:, side] & truncated)
        near = open_edge[:, side] & (share > EDGE_NEAR) & ~cut
        flag |= np.where(cut, FLAGS[label], 0) | np.where(near, FLAGS["edge_near"], 0)
        for variable in (f"{name}D", f"{name}V", f"{name}D_SIGMA", "LSLOPE" if side == 0 else "RSLOPE"):
            out[variable] = np.where(cut, np.nan, out[variable])
        spoiled |= cut
    for variable in ("LENGTH", "SPROD", "TPROD"):
        out[variable] = np.where(spoiled, np.nan, out[variable])
    flag |= np.where(out["LENGTH"] > 366, FLAGS["over_a_year"], 0)
    peak_cut = (out["MAXD"] <= begin) | (out["MAXD"] >= end)
    for variable in ("MAXD", "MAXD_SIGMA"):
        out[variable] = np.where(peak_cut, np.nan, out[variable])
    return flag
