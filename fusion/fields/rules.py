"""Rules by which a field is averaged, and the flags that say what happened to it."""

from dataclasses import dataclass

from fusion.contract import ContractError

FIELD_FLAGS = {
    "no_geometry": 1,  # null or empty geometry, or nothing left of it after the repair
    "repaired": 2,  # the polygon was invalid, for example crossed itself
    "no_buffer": 4,  # the inner buffer would leave fewer than min_pixels pixels: the whole field is averaged
    "small": 8,  # the whole field is smaller than min_pixels pixels: its mean includes much of its neighbours
    "partly_outside": 16,  # a part of the field lies beside the cube and counts as not observed
    "outside": 32,  # the field lies beside the cube
}


@dataclass(frozen=True)
class FieldRules:
    """How a field is averaged.

    Attributes
    ----------
    inner_buffer_m : float
        Width of the border that is left out, metres: pixels there are mixed with the neighbour, and a shift between
        images moves them across the border. By default one pixel of Sentinel-2.
    min_pixels : float
        Pixels that must remain after the buffer, in area; otherwise the whole field is averaged (flag ``no_buffer``).
        A field that is smaller as a whole keeps its mean and gets the flag ``small``.
    min_share : float
        Share of the field's area that must be observed on a date; below it the mean of that date is missing.
    correlation : float
        Correlation of the errors of two pixels of one field on one date, from 0 (independent) to 1 (all pixels share
        one error). See ``docs/fields.md`` for model, source and measurement.
    """

    inner_buffer_m: float = 10.0
    min_pixels: float = 4.0
    min_share: float = 0.5
    correlation: float = 0.9

    def __post_init__(self) -> None:
        limits = {"inner_buffer_m": (0, 1000), "min_pixels": (0, 1e6), "min_share": (0, 1), "correlation": (0, 1)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ContractError(f"{name} is {getattr(self, name)}; expected a number from {low} to {high:g}")
