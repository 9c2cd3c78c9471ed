"""Calibrated uncertainty: from the network's raw scale to a standard deviation, by distance to observations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from numbers import Real
from statistics import NormalDist
from typing import Any

import numpy as np

CALIBRATED_SHARE = 0.9
NORMAL_90 = NormalDist().inv_cdf(0.5 + CALIBRATED_SHARE / 2)  # half width of the 90 % interval, standard deviations
LAPLACE_STD = np.float32(np.sqrt(2.0))  # standard deviation of a Laplace distribution, in units of its scale
CALIBRATION_EDGES = (0.0, 3.0, 8.0, 15.0, 30.0, 45.0, 60.0, 80.0, 100.0, 140.0)
SIGMA_KINDS = ("observation", "ndvi")
LARGEST = 10_000.0  # of any value of a table


@dataclass(frozen=True)
class Calibration:
    """Calibration tables over the distance to the nearest observation, interpolated linearly.

    Attributes
    ----------
    gap_days : tuple of float
        Nodes of the tables, ascending, days.
    ndvi_factor : tuple of float
        Factor on the raw standard deviation, with which the central 90 % interval of a normal error covers 90 % of the
        NDVI itself.
    observation_noise : tuple of float
        NDVI standard deviation added in quadrature, so that the interval covers 90 % of single observations (with
        atmosphere, residual cloud, view angle and sensor noise).
    """

    gap_days: tuple[float, ...]
    ndvi_factor: tuple[float, ...]
    observation_noise: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse tables that are no tables, wherever they come from (a manifest, a checkpoint, a fit)."""
        for name, table in vars(self).items():
            if not table or len(table) != len(self.gap_days) or not all(_is_size(value) for value in table):
                raise ValueError(
                    f"calibration.{name} is {str(table)[:80]}; expected numbers from 0 to {LARGEST:g}, as many as in "
                    "gap_days and at least one"
                )
        if any(b <= a for a, b in pairwise(self.gap_days)):
            raise ValueError(f"calibration.gap_days is {str(self.gap_days)[:80]}; expected ascending days")

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any]) -> "Calibration":
        """Tables as a manifest or a checkpoint holds them: lists by name.

        Raises
        ------
        ValueError
            Another name, a missing one, or a table that is no list of numbers.
        """
        names = [field.name for field in fields(cls)]
        if sorted(tables) != sorted(names):
            raise ValueError(f"calibration has the tables {sorted(tables)}; expected {names}")
        return cls(**{name: tuple(t) if isinstance(t, list | tuple) else () for name, t in tables.items()})

    def sigma(self, scale: np.ndarray, gap_days: np.ndarray, kind: str) -> np.ndarray:
        """Calibrated standard deviation, NDVI, float32 with the shape of ``scale``.

        Parameters
        ----------
        scale : float32
            Laplace scale predicted by the network.
        gap_days : float32
            Distance to the nearest observation, same shape.
        kind : {"observation", "ndvi"}
            Standard deviation of one observation, or of the NDVI itself.

        Raises
        ------
        ValueError
            Another ``kind``.
        """
        if kind not in SIGMA_KINDS:
            raise ValueError(f"sigma is {kind!r}; expected one of {SIGMA_KINDS}")
        sigma = scale * LAPLACE_STD * self.interpolate_table(self.ndvi_factor, gap_days)
        if kind == "observation":
            sigma = np.sqrt(sigma**2 + self.interpolate_table(self.observation_noise, gap_days) ** 2)
        return sigma.astype(np.float32)

    def interpolate_table(self, table: Sequence[float], gap_days: np.ndarray) -> np.ndarray:
        """Values of a table at distances ``gap_days``, rounded to whole days, float32."""
        fine = np.arange(0.0, self.gap_days[-1] + 1.0)
        values = np.interp(fine, self.gap_days, table).astype(np.float32)
        return values[np.clip(np.rint(gap_days), 0, len(fine) - 1).astype(np.int32)]


def _is_size(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) <= LARGEST


UNCALIBRATED = Calibration((0.0, 1.0), (1.0, 1.0), (0.0, 0.0))


def covering_factor(error: np.ndarray, sigma: np.ndarray) -> float:
    """Factor on ``sigma`` with which the 90 % interval covers 90 % of the errors (split conformal)."""
    return float(np.quantile(np.abs(error) / sigma, CALIBRATED_SHARE) / NORMAL_90)


def covering_noise(error: np.ndarray, sigma: np.ndarray) -> float:
    """Standard deviation to add in quadrature so that the 90 % interval covers 90 % of the errors."""
    needed = np.square(error / NORMAL_90) - np.square(sigma)
    return float(np.sqrt(max(np.quantile(needed, CALIBRATED_SHARE), 0.0)))
