"""What a user can choose about seasons, the output variables and what every flag means."""

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

FLAGS = {
    "no_data": 1,  # fewer observations than a season needs
    "no_season": 2,  # amplitude below the minimum: evergreen, bare, urban, water, snow, failed crop
    "water": 4,  # NDVI never rises above 0.1: water, snow or a sealed surface
    "start_cut": 8,  # the green-up is cut off by the begin of the series, or never reaches the threshold
    "end_cut": 16,  # the same at the end
    "curve_fallback": 32,  # the double logistic does not follow the observations; the smoother's curve was used
    "more_seasons": 64,  # more seasons were found than the output has room for
    "few_observations": 128,  # QFLAG below 7
    "edge_near": 256,  # the series' edge lies on the curve's flank; the date is kept, the minimum is uncertain
    "over_a_year": 512,  # LENGTH above 366 days: often two years that a faint or unseen trough did not part
}


@dataclass(frozen=True)
class SeasonSettings:
    """Options of :func:`fusion.phenology.seasons.seasons`.

    Attributes
    ----------
    method : str
        How SOS and EOS are read from the curve, one of ``METHODS``.
    start, end : float
        Threshold of SOS and EOS: share of the amplitude (``relative_amplitude``) or NDVI (``absolute``).
    curve : str
        What is fitted to the observations, one of ``CURVES``; ``none`` joins the observations by straight lines.
    max_seasons : int
        Seasons kept per year, the largest ones, in order of time.
    min_amplitude : float
        NDVI; a smaller swing is no season.
    min_swing : float
        Share of the series' range; a smaller swing is no season of its own.
    obs_sigma : float
        NDVI error of an observation where the cube brings no sigma; start value, refined from the residuals.
    error_days : float, optional
        Correlation time of the errors. Default: 14 d when the cube brings a sigma (a fused series), else 0.
    use_numba : bool, optional
        None = if installed.
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
            raise ContractError(f"max_seasons is {self.max_seasons}; expected 1 to 10 seasons a year")
        if not 0 < self.min_amplitude < 1 or not 0 < self.min_swing < 1 or not 0 < self.obs_sigma < 1:
            raise ContractError(
                f"min_amplitude {self.min_amplitude}, min_swing {self.min_swing} and obs_sigma {self.obs_sigma} "
                "must lie between 0 and 1"
            )
        if self.error_days is not None and not 0 <= self.error_days <= 200:
            raise ContractError(f"error_days is {self.error_days}; expected 0 to 200 days")
