"""Season dates of a fused series against those of the true series, with a gap in the observations around the event."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import STEP_DAYS
from fusion.evaluation.metrics import HALF_WIDTHS
from fusion.evaluation.predictor import Predictor, Target, s2_obs
from fusion.evaluation.scenes import TruthScene
from fusion.evaluation.settings import PhenologyRules
from fusion.evaluation.withholding import withhold_s2
from fusion.phenology.extraction import LAYERS, extract_seasons
from fusion.phenology.settings import FLAGS, SeasonSettings

EVENTS = {"SOS": "SOSD", "peak": "MAXD", "EOS": "EOSD"}
OBS = "observations"  # label of dates extracted from the S2 observations without fusion
MAX_SEASONS = 4  # per series
MATCH_DAYS = 60  # a season is matched if its maximum is at most this far from the true one
CENTRED_DAYS = 7  # pixels with the event at most this far from the middle of the gap are scored
UNUSABLE = FLAGS["no_data"] | FLAGS["no_season"] | FLAGS["start_cut"] | FLAGS["end_cut"]


@dataclass(frozen=True)
class SeasonDates:
    """Seasons of P series, at most S each, float64 (S, P), NaN = none; dates are days since 1970-01-01."""

    dates: dict[str, np.ndarray]
    sigmas: dict[str, np.ndarray]  # one standard deviation of each date, days
    maximum: np.ndarray
    amplitude: np.ndarray
    usable: np.ndarray

    def main(self) -> "SeasonDates":
        """The usable season with the largest amplitude of every series, (1, P)."""
        amplitude = np.where(self.usable, np.nan_to_num(self.amplitude, nan=-1.0), -1.0)
        best = amplitude.argmax(axis=0)[None]
        return self._pick(best, np.take_along_axis(amplitude, best, axis=0) > 0)

    def nearest(self, maximum: np.ndarray) -> "SeasonDates":
        """The season of every series with the maximum nearest to ``maximum`` (P,), none beyond MATCH_DAYS, (1, P)."""
        distance = np.nan_to_num(np.abs(self.maximum - maximum), nan=np.inf)
        best = distance.argmin(axis=0)[None]
        return self._pick(best, np.take_along_axis(distance, best, axis=0) <= MATCH_DAYS)

    def _pick(self, index: np.ndarray, found: np.ndarray) -> "SeasonDates":
        def pick(values: np.ndarray) -> np.ndarray:
            return np.where(found, np.take_along_axis(values, index, axis=0), np.nan)

        dates, sigmas = ({event: pick(days) for event, days in of.items()} for of in (self.dates, self.sigmas))
        return SeasonDates(dates, sigmas, pick(self.maximum), pick(self.amplitude), found)


def season_dates(days: np.ndarray, ndvi: np.ndarray, sigma: np.ndarray | None = None) -> SeasonDates:
    """Seasons of series (n, P) on sorted days (n,), with the default settings; NaN = no observation."""
    settings = SeasonSettings(max_seasons=MAX_SEASONS)
    origin = int(days[0])
    period = np.array([[origin, int(days[-1]), origin]])
    spread = None if sigma is None else np.ascontiguousarray(sigma.T, np.float64)
    layers = extract_seasons(np.ascontiguousarray(ndvi.T, np.float64), spread, np.asarray(days), period, settings)
    layer = {name: np.asarray(layers[i, 0], np.float64) for i, name in enumerate(LAYERS)}
    flags = np.nan_to_num(layer["FLAG"], nan=float(UNUSABLE)).astype(int)
    dates = {event: layer[name] + origin for event, name in EVENTS.items()}
    usable = (flags & UNUSABLE == 0) & np.isfinite(layer["SOSD"]) & np.isfinite(layer["EOSD"])
    sigmas = {event: layer[f"{name}_SIGMA"] for event, name in EVENTS.items()}
    return SeasonDates(dates, sigmas, layer["MAXD"] + origin, layer["AMPL"], usable)


@dataclass(frozen=True)
class SeasonCase:
    """A cube to extract seasons from: the event in the gap, the length of the gap, and the scored pixels."""

    event: str
    gap_days: int
    cube: xr.DataArray
    scored: np.ndarray  # bool (P,)


@dataclass(frozen=True)
class SeasonTruth:
    """The true main season of the sampled pixels (flat indices into the scene)."""

    pixels: np.ndarray
    season: SeasonDates


def season_truth(scene: TruthScene, rules: PhenologyRules) -> SeasonTruth:
    """Main seasons of the true daily series of sampled pixels."""
    size = scene.truth[0].size
    pixels = np.unique(np.linspace(0, size - 1, min(rules.pixels, size)).round().astype(int))
    series = scene.truth.reshape(len(scene.truth), -1)[:, pixels]
    return SeasonTruth(pixels, season_dates(scene.truth_days, series).main())


def season_cases(scene: TruthScene, truth: SeasonTruth, rules: PhenologyRules) -> Iterator[SeasonCase]:
    """Every event with every gap. A gap is centred where most pixels have the event; without a gap all are scored."""
    for event in EVENTS:
        dates = truth.season.dates[event][0]
        known = np.isfinite(dates)
        if not known.any():
            continue
        near = np.abs(dates[known][:, None] - dates[known][None]) <= CENTRED_DAYS
        centre = round(float(dates[known][near.sum(axis=1).argmax()]))
        for gap in rules.gaps_days:
            half = gap // 2
            cube = withhold_s2(scene.cube, centre - half, centre + half) if gap else scene.cube
            with np.errstate(invalid="ignore"):
                scored = known & ((np.abs(dates - centre) <= CENTRED_DAYS) | (gap == 0))
            yield SeasonCase(event, gap, cube, scored)


def score_seasons(scene: TruthScene, predictor: Predictor | None, rules: PhenologyRules) -> pd.DataFrame:
    """Errors of season dates, one row per pixel: ``scene, predictor, event, gap_days, pixel, error_days, sigma_days``.

    ``predictor=None`` extracts seasons from the S2 observations. ``error_days`` is NaN where no season matches the true
    one; ``sigma_days`` is the standard deviation of the extracted date.
    """
    truth = season_truth(scene, rules)
    grid = np.arange(scene.truth_days[0], scene.truth_days[-1] + 1, STEP_DAYS)
    parts, whole = [], None
    for case in season_cases(scene, truth, rules):
        if case.gap_days or whole is None:
            days, ndvi, sigma = series_of(case.cube, predictor, grid, truth.pixels, rules.sigma)
            found = season_dates(days, ndvi, sigma).nearest(truth.season.maximum[0])
            whole = whole if case.gap_days else found
        else:
            found = whole  # without a gap all events come from the same series
        error = (found.dates[case.event] - truth.season.dates[case.event])[0][case.scored]
        columns = {"event": case.event, "gap_days": case.gap_days, "pixel": truth.pixels[case.scored]}
        columns |= {"error_days": error, "sigma_days": found.sigmas[case.event][0][case.scored]}
        parts.append(pd.DataFrame(columns))
    if not parts:
        return pd.DataFrame()
    name = OBS if predictor is None else predictor.name
    return pd.concat(parts, ignore_index=True).assign(scene=scene.key, predictor=name)


def series_of(
    cube: xr.DataArray, predictor: Predictor | None, grid: np.ndarray, pixels: np.ndarray, target: Target
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Days (n,), NDVI (n, P) and sigma (n, P) of the sampled pixels: observations, or a prediction on the grid."""
    if predictor is None:
        days, observations = s2_obs(cube)
        return days, observations.reshape(len(days), -1)[:, pixels], None
    ndvi, sigma = predictor.predict(cube, grid.astype("datetime64[D]"), target=target)
    flat = ndvi.reshape(len(grid), -1)[:, pixels]
    return grid, flat, None if sigma is None else sigma.reshape(len(grid), -1)[:, pixels]


def season_table(rows: pd.DataFrame) -> pd.DataFrame:
    """RMSE, median absolute error and bias in days where a season was found, and the share where none was found.

    A method that misses the seasons with uncertain dates has a lower RMSE. ``observations_rmse_ratio`` therefore
    divides the RMSE by that of the observations without fusion, on the pixels where both found the season.
    """
    case = ["scene", "event", "gap_days", "pixel"]
    observations = rows[rows.predictor == OBS].set_index(case).error_days.rename("observations_error_days")
    rows = rows.join(observations, on=case)
    out = []
    for (predictor, event, gap), group in rows.groupby(["predictor", "event", "gap_days"], sort=False):
        error = group.error_days.dropna().to_numpy()
        row = {"predictor": predictor, "event": event, "gap_days": gap, "n": len(group)}
        if error.size:
            row |= {"rmse_days": root_mean_square(error), "bias_days": float(error.mean())}
            row |= {"median_absolute_days": float(np.median(np.abs(error)))}
            inside = np.abs(group.error_days) <= HALF_WIDTHS[90] * group.sigma_days
            row |= {"coverage_90": 100 * float(inside[group.error_days.notna()].mean())}
        both = group.dropna(subset=["error_days", "observations_error_days"])
        row |= {"n_both": len(both)}
        if len(both):
            beside = root_mean_square(both.observations_error_days.to_numpy())
            row |= {
                "observations_rmse_ratio": root_mean_square(both.error_days.to_numpy()) / beside if beside else np.nan
            }
        out.append(row | {"missed_percent": 100 * float(group.error_days.isna().mean())})
    columns = ["rmse_days", "median_absolute_days", "bias_days", "coverage_90"]
    columns += ["missed_percent", "n_both", "observations_rmse_ratio"]
    return pd.DataFrame(out).reindex(columns=["predictor", "event", "gap_days", "n", *columns])


def root_mean_square(values: np.ndarray) -> float:
    """Root mean square of one or more values."""
    return float(np.sqrt(np.mean(np.square(values))))
