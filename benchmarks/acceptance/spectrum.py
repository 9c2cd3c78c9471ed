"""Texture of NDVI images: power spectrum of the gradient, which the adversarial stage should improve."""

import numpy as np
import pandas as pd

from fusion.evaluation.holdout import WithheldScene, scored_frames
from fusion.evaluation.images import gradient_magnitude

SPECTRUM_MIN_PX = 16  # smaller frames have too few radial frequencies
SPECTRUM_FLOOR = 1e-12  # NDVI^2; keeps the logarithm of a perfectly flat image finite


def radial_power(image: np.ndarray) -> np.ndarray:
    """Radially averaged power spectrum of a NaN-free image about its mean, from frequency 1 up to Nyquist.

    Frequencies are whole cycles per shorter side. A Hann window keeps the image border out of the spectrum.
    """
    height, width = image.shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None, :]
    centred = (image - np.average(image, weights=window)) * window
    power = np.abs(np.fft.fft2(centred)) ** 2 / (window**2).sum()
    side = min(height, width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]) * side
    ring = np.rint(radius).astype(int)
    inside = (ring >= 1) & (ring <= side // 2)
    total = np.bincount(ring[inside], weights=power[inside], minlength=side // 2 + 1)
    count = np.bincount(ring[inside], minlength=side // 2 + 1)
    return total[1:] / count[1:]


def gradient_spectrum(frame: np.ndarray) -> np.ndarray | None:
    """log10 of the radially averaged power spectrum of a frame's NDVI gradient magnitude, from frequency 1 to Nyquist.

    None for frames with gaps or under 16 px.
    """
    if min(frame.shape) < SPECTRUM_MIN_PX or not np.isfinite(frame).all():
        return None
    return np.log10(radial_power(gradient_magnitude(frame)) + SPECTRUM_FLOOR)


def gradient_spectrum_error(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Mean over the upper half of the radial frequencies of |log10 P_prediction - log10 P_reference|.

    P is the radially averaged power spectrum of the NDVI gradient magnitude: too smooth a prediction has too little
    power at high frequencies. 0 is equal, 1 is a factor of ten. NaN for frames with gaps or under 16 px.
    """
    return float(np.abs(_upper_spectrum_difference(prediction, reference)).mean())


def gradient_spectrum_bias(prediction: np.ndarray, reference: np.ndarray) -> float:
    """The same without the absolute value: negative is too smooth, positive too rough.

    If near 0 with a large :func:`gradient_spectrum_error`, contrasts between fields are wrong, not the texture.
    """
    return float(_upper_spectrum_difference(prediction, reference).mean())


def _upper_spectrum_difference(prediction: np.ndarray, reference: np.ndarray) -> np.ndarray:
    predicted, true = gradient_spectrum(prediction), gradient_spectrum(reference)
    if predicted is None or true is None:
        return np.array([np.nan])
    return (predicted - true)[true.size // 2 :]


def spectrum_rows(withheld: WithheldScene, predictor: str, ndvi: np.ndarray, frames: int) -> pd.DataFrame:
    """Spectrum error and bias of the frames that the hold-out compares as images."""
    rows = scored_frames(withheld, frames)
    errors = [gradient_spectrum_error(ndvi[row], withheld.reference[row]) for row in rows]
    biases = [gradient_spectrum_bias(ndvi[row], withheld.reference[row]) for row in rows]
    table = pd.DataFrame({"spectrum_error": errors, "spectrum_bias": biases})
    return table.assign(scene=withheld.key, predictor=predictor)


def image_table(images: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The evaluation's table of image metrics with the mean spectrum error and bias of each predictor."""
    means = rows.groupby("predictor", sort=False)[["spectrum_error", "spectrum_bias"]].mean().reset_index()
    table = images.merge(means, on="predictor", how="left")
    return table[[*(column for column in table if column != "frames"), "frames"]]


class MeanSpectra:
    """Sums of log10 spectra of the truth and of each predictor, for the figure."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[np.ndarray, int]] = {}
        self._truth_of = ""

    def add(self, withheld: WithheldScene, predictor: str, ndvi: np.ndarray, frames: int) -> None:
        """Add the frames that the hold-out compares as images; the truth once per scene."""
        rows = scored_frames(withheld, frames)
        self._add(predictor, ndvi[rows])
        if self._truth_of != withheld.key:
            self._truth_of = withheld.key
            self._add("truth", withheld.reference[rows])

    def _add(self, name: str, frames: np.ndarray) -> None:
        for frame in frames:
            spectrum = gradient_spectrum(frame)
            total, count = self.sums.get(name, (np.zeros(0), 0))
            if spectrum is None or (count and total.shape != spectrum.shape):
                continue
            self.sums[name] = (total + spectrum if count else spectrum, count + 1)
