"""Values of Sentinel-1 that are no echo, or of another kind: constant floors, amplitudes, two coefficients."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from data_prep.cube import PrepareSettings, build_cube
from data_prep.optical import OpticalSettings
from data_prep.radar import RadarSettings, prepare_radar
from data_prep.radar_values import floor_of, note_amplitudes
from data_prep.raw.cubes import SourceError
from data_prep.raw.roles import coefficient_of
from data_prep.sources.files import FilesSource, load_files
from tests.unit.data_prep.raw_files import CRS, axis, gee_like

SIDE, COUNT = 20, 12
KEEP = RadarSettings(border_noise_db=None)


def radar(seed: int = 0) -> xr.Dataset:
    """Speckle of land: VV about -11 dB, VH 7 dB below."""
    rng = np.random.default_rng(seed)
    t = np.datetime64("2021-03-01", "ns") + 6 * np.arange(COUNT) * np.timedelta64(1, "D")
    images = {"VV": rng.normal(-11, 2, (COUNT, SIDE, SIDE)), "VH": rng.normal(-18, 2, (COUNT, SIDE, SIDE))}
    data = {band: (("t", "y", "x"), values.astype(np.float32)) for band, values in images.items()}
    return xr.Dataset(data, coords={"t": t, **axis(SIDE, 10)}, attrs={"s1_units": "dB"}).rio.write_crs(CRS)


@pytest.mark.parametrize("floor", [-49.0, -40.0, -30.0])
@pytest.mark.parametrize("units", ["dB", "linear"])
def test_a_constant_floor_is_missing_and_counted(floor, units):
    s1 = radar()
    s1["VH"][2:6, :4, 5:9] = floor
    if units == "linear":
        s1 = (10 ** (s1 / 10)).assign_attrs(s1_units=units).rio.write_crs(CRS)
    out, notes = prepare_radar(s1, KEEP)
    assert int(out.VH.isnull().sum()) == 64 and bool(out.VH[2:6, :4, 5:9].isnull().all())
    assert int(out.VV.isnull().sum()) == 0
    assert any(f"exactly {floor:.2f} dB" in note and "VH" in note for note in notes)


@pytest.mark.parametrize("name", ["grassland_slovakia", "points_france_2023", "points_flanders_2021"])
def test_real_backscatter_is_neither_floor_nor_amplitude(name, real_data):
    """Medians of VV lie from -11.4 to -9.0 dB, VH 6.9 to 7.0 dB below; as amplitudes both would be halved."""
    table = pd.read_parquet(real_data / name / "series.parquet", columns=["vv_db", "vh_db"]).dropna()
    table = table[: len(table) // 16 * 16]
    bands = [
        xr.DataArray(table[k].to_numpy(np.float32).reshape(-1, 4, 4), dims=("t", "y", "x")) for k in ("vv_db", "vh_db")
    ]
    notes = []
    for band in bands:
        assert floor_of(band, "S1", notes) is None
    note_amplitudes(*bands, notes)
    assert (
        notes == [] and -11.4 < float(bands[0].median()) < -9.0 and -7.1 < float((bands[1] - bands[0]).median()) < -6.8
    )
    note_amplitudes(*(band / 2 for band in bands), notes)
    assert "amplitudes" in notes[0]


def test_dark_water_and_coarse_steps_are_no_floor():
    s1 = radar()
    water = np.random.default_rng(1).normal(-26, 1.5, (COUNT, 10, SIDE))
    s1["VH"][:, :10] = np.round(water * 5) / 5  # stored in steps of 0.2 dB
    out, notes = prepare_radar(s1, KEEP)
    assert not out.VH.isnull().any() and not any("exactly" in note for note in notes)


def test_amplitudes_declared_as_power_are_named_and_power_is_not():
    s1 = radar()
    _, right = prepare_radar(s1, KEEP)
    _, halved = prepare_radar((s1 / 2).assign_attrs(s1_units="dB").rio.write_crs(CRS), KEEP)
    assert not any("amplitudes" in note for note in right)
    assert any("may be amplitudes declared as power; square them" in note for note in halved)


@pytest.mark.parametrize(
    ("name", "told"),
    [("Gamma0_VV_db", "gamma0"), ("sigma0_VH", "sigma0"), ("VV", None), ("S1_Sigma_Nought_VV", "sigma0"),
     ("sigma0_gamma0", None), ("sigmatic_VV", None)],
)  # fmt: skip
def test_names_tell_the_coefficient(name, told):
    assert coefficient_of(name) == told


def two_bands(folder, names, gamma_db=-14.0):
    """One file of radar with two bands for VV and VH each."""
    gee_like(folder)
    (folder / "s1_ascending.nc").unlink()
    s1 = radar()
    data = {}
    for name, shift in zip(names, (0.0, gamma_db + 11.0), strict=True):
        data |= {name.format(band): s1[band] + np.float32(shift) for band in ("VV", "VH")}
    t = np.datetime64("2019-03-02", "ns") + 6 * np.arange(COUNT) * np.timedelta64(1, "D")
    xr.Dataset(data).assign_coords(t=t).rio.write_crs(CRS).to_netcdf(folder / "s1.nc")
    return s1


def test_of_sigma0_and_gamma0_the_latter_is_taken_and_said(tmp_path):
    s1 = two_bands(tmp_path, ("sigma0_{}", "gamma0_{}"))
    raw = load_files(FilesSource(folder=tmp_path, s1_units="dB"))
    np.testing.assert_allclose(raw.s1.VV.values, s1.VV.values - 3, atol=1e-5)
    assert any("gamma0 is taken" in note for note in raw.notes)
    cube = build_cube(raw, PrepareSettings(optical=OpticalSettings(mask="none"), radar=KEEP))
    assert float(cube.sel(bands="VV").median()) == pytest.approx(-14, abs=0.3)


def test_two_bands_of_one_kind_and_date_are_refused_by_name(tmp_path):
    two_bands(tmp_path, ("{}", "filtered_{}"))
    with pytest.raises(SourceError, match="two bands for VV on the same dates, (filtered_)?VV and (filtered_)?VV"):
        load_files(FilesSource(folder=tmp_path, s1_units="dB"))
