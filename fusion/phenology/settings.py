"""Options of season extraction, output variables and flags."""

from dataclasses import dataclass

from fusion.contract import SEASON_METHOD, ContractError

METHODS = (
    "relative_amplitude",
    "absolute",
    "first_derivative",
    "max_curvature",
    "gu",
    "zhang",
    "median_slope",
    "reference",
    "phenolopy",
)
CURVES = ("double_logistic", "whittaker", "savitzky_golay", "spline", "hants", "none")

# the 13 HR-VPP parameters first (Copernicus HR-VPP Product User Manual, seasonal trajectories)
VARIABLES = (
    "SOSD", "EOSD", "MAXD", "SOSV", "EOSV", "MINV",
    "MAXV", "AMPL", "LENGTH", "LSLOPE", "RSLOPE", "SPROD",
    "TPROD", "QFLAG", "SOSD_SIGMA", "EOSD_SIGMA", "MAXD_SIGMA", "OBS_UP",
    "OBS_PEAK", "OBS_DOWN", "LONGEST_GAP", "FLAG",
)  # fmt: skip
HRVPP_VARIABLES = VARIABLES[:13]
DATES = ("SOSD", "EOSD", "MAXD")
MAIN_SUFFIX = "_main"  # of the layers of a year's main season, that with the largest amplitude

FLAGS = {
    "no_data": 1,  # fewer observations than a season needs
    "no_season": 2,  # amplitude below the minimum: evergreen, bare, urban, water, snow, failed crop
    "water": 4,  # NDVI stays below 0.1: water, snow or a sealed surface
    "start_cut": 8,  # green-up truncated at the begin of the series, or never reaches the threshold
    "end_cut": 16,  # senescence truncated at the end of the series, or never reaches the threshold
    "curve_fallback": 32,  # the double logistic does not follow the observations; Whittaker curve used
    "more_seasons": 64,  # more seasons found than max_seasons
    "few_observations": 128,  # QFLAG below 7
    "edge_near": 256,  # the series begins or ends on a flank or above the other minimum: MINV is uncertain
    "over_a_year": 512,  # LENGTH above 366 days: often two seasons with an undetected trough between them
}


@dataclass(frozen=True)
class SeasonSettings:
    """Options of :func:`fusion.phenology.seasons.seasons`.

    Attributes
    ----------
    method : str
        Definition of SOS and EOS on the curve, one of ``METHODS``.
    start, end : float
        Threshold of SOS and EOS: share of the amplitude (``relative_amplitude``) or NDVI (``absolute``).
    curve : str
        Curve fitted to the observations, one of ``CURVES``; ``none`` is linear interpolation.
    max_seasons : int
        Maximum number of seasons per year: those with the largest amplitude, in order of time.
    min_amplitude : float
        Smallest amplitude of a season, NDVI.
    min_swing : float
        Smallest rise and fall of a separate season, as a share of the range of the series.
    obs_sigma : float
        Standard deviation of one observation, NDVI, for cubes without sigma; start value, refined from the residuals.
    error_days : float, optional
        Correlation time of the errors, days. Default: 14 for cubes with sigma (fused series), else 0.
    use_numba : bool, optional
        None uses numba if it is installed.
    """

    method: str = SEASON_METHOD
    start: float = 0.25
    end: float = 0.15
    curve: str = "double_logistic"
    max_seasons: int = 2
    min_amplitude: float = 0.1
    min_swing: float = 0.25
    obs_sigma: float = 0.03
    error_days: float | None = None
    use_numba: bool | None = None

    def __post_init__(self) -> None:
        for name, choices in (("method", METHODS), ("curve", CURVES)):
            if getattr(self, name) not in choices:
                raise ContractError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(choices)}")
        limits = (0.0, 1.0) if self.method != "absolute" else (-1.0, 1.0)
        for name in ("start", "end"):
            if not limits[0] < getattr(self, name) < limits[1]:
                raise ContractError(
                    f"{name} is {getattr(self, name)}; expected a number between {limits} for {self.method}"
                )
        if not 1 <= self.max_seasons <= 10:
            raise ContractError(f"max_seasons is {self.max_seasons}; expected 1 to 10 seasons per year")
        if not 0 < self.min_amplitude < 1 or not 0 < self.min_swing < 1 or not 0 < self.obs_sigma < 1:
            raise ContractError(
                f"min_amplitude {self.min_amplitude}, min_swing {self.min_swing} and obs_sigma {self.obs_sigma} "
                "must lie between 0 and 1"
            )
        if self.error_days is not None and not 0 <= self.error_days <= 200:
            raise ContractError(f"error_days is {self.error_days}; expected 0 to 200 days")
