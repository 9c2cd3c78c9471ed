"""Calibrated uncertainty: from the network's raw scale to one standard deviation, by distance to observations."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CALIBRATED_SHARE = 0.9
NORMAL_90 = NormalDist().inv_cdf(0.5 + CALIBRATED_SHARE / 2)  # half width of the central 90 % interval, in sigma
LAPLACE_STD = np.float32(np.sqrt(2.0))  # standard deviation of a Laplace error over its scale
CALIBRATION_EDGES = (0.0, 3.0, 8.0, 15.0, 30.0, 45.0, 60.0, 80.0, 100.0, 140.0)
SIGMA_KINDS = ("observation", "ndvi")


@dataclass(frozen=True)
class Calibration:
    """Tables over the distance to the nearest observation, read by linear interpolation.

    Attributes
    ----------
    gap_days : nodes, ascending.
    ndvi_factor : what the raw sigma is multiplied by, so that the central 90 % interval of a normal error covers
        90 % of *clean* NDVI.
    observation_noise : standard deviation added in quadrature, so that it covers 90 % of what a single *observation*
    would measure
        (atmosphere, residual cloud, view angle and sensor noise included).
    """

    gap_days: tuple[float, ...]
    ndvi_factor: tuple[float, ...]
    observation_noise: tuple[float, ...]

    def sigma(self, scale: np.ndarray, gap_days: np.ndarray, kind: str) -> np.ndarray:
        """One standard deviation of NDVI, float32 of the shape of ``scale``.

        Parameters
        ----------
        scale : float32
            Laplace scale given by the network.
        gap_days : float32
            Distance to the nearest observation.
        kind : {"observation", "ndvi"}
            The error against what an observation would measure, or against clean NDVI.
        """
        if kind not in SIGMA_KINDS:
            raise ValueError(f"sigma is {kind!r}; expected one of {SIGMA_KINDS}")
        sigma = scale * LAPLACE_STD * self.interpolate_table(self.ndvi_factor, gap_days)
        if kind == "observation":
            sigma = np.sqrt(sigma**2 + self.interpolate_table(self.observation_noise, gap_days) ** 2)
        return sigma.astype(np.float32)

    def interpolate_table(self, table: Sequence[float], gap_days: np.ndarray) -> np.ndarray:
        """A table read at these distances."""
        fine = np.arange(0.0, self.gap_days[-1] + 1.0)
        values = np.interp(fine, self.gap_days, table).astype(np.float32)
        return values[np.clip(np.rint(gap_days), 0, len(fine) - 1).astype(np.int32)]


UNCALIBRATED = Calibration((0.0, 1.0), (1.0, 1.0), (0.0, 0.0))


def covering_factor(error: np.ndarray, sigma: np.ndarray) -> float:
    """The factor on sigma with which the 90 % interval covers 90 % of the errors (split conformal)."""
    return float(np.quantile(np.abs(error) / sigma, CALIBRATED_SHARE) / NORMAL_90)


def covering_noise(error: np.ndarray, sigma: np.ndarray) -> float:
    """The standard deviation to add in quadrature so that the 90 % interval covers 90 % of the errors."""
    needed = np.square(error / NORMAL_90) - np.square(sigma)
    return float(np.sqrt(max(np.quantile(needed, CALIBRATED_SHARE), 0.0)))
