"""Radar units: what the short way over usual decibels lets pass is what the whole check lets pass."""

import re

import numpy as np
import pytest

from fusion.contract import S1_DB_MIN, ContractError
from fusion.features.measured import note_stretched, refuse_other_units


def backscatter(shape: tuple[int, ...] = (20, 10, 10), low: float = -22.0, high: float = -3.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)


@pytest.mark.parametrize("fill", [np.nan, -9999.0, S1_DB_MIN])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.6])
def test_fill_values_are_no_negative_decibels(fill, share):
    """Decibels whose sign is lost are refused however many negative fill values stand between them."""
    lost = -backscatter()
    lost[np.random.default_rng(1).random(lost.shape) < share] = fill
    with pytest.raises(ContractError, match=re.escape("give the decibels their sign")):
        refuse_other_units(lost, "dB", "VV")
    usual = np.where(lost == np.float32(fill), lost, -lost)
    refuse_other_units(usual, "dB", "VV")


@pytest.mark.parametrize("negative", [0.005, 0.02, 0.5])
def test_an_image_of_power_is_found_among_any_number_of_negative_ones(negative):
    values = backscatter()
    values[:, ~(np.random.default_rng(2).random(values.shape[1:]) < negative)] = 5.0
    values[4] = 10 ** (backscatter((10, 10)) / 10)
    with pytest.raises(ContractError, match=re.escape("1 of 20 images, the first number 4, hold only values from 0")):
        refuse_other_units(values, "dB", "VV")


def test_units_of_a_few_values_are_not_judged():
    refuse_other_units(np.full((8, 1, 1), 12.0, np.float32), "dB", "VV")
    with pytest.raises(ContractError, match="give the decibels their sign"):
        refuse_other_units(np.full((9, 1, 1), 12.0, np.float32), "dB", "VV")


@pytest.mark.parametrize(("low", "warns"), [(2, False), (1, True), (0, True)])
def test_stretched_ndvi_is_told_by_its_lowest_percent(low, warns, caplog):
    ndvi = np.full((100, 1, 1), 0.8, np.float32)
    ndvi[:low] = 0.3
    note_stretched(ndvi, np.datetime64("2021-01-01") + 4 * np.arange(100))
    assert bool(caplog.records) is warns
