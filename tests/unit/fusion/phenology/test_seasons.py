"""Seasons against curves whose dates are known, and everything that must not be dated."""

import numpy as np
import pytest
import xarray as xr

from fusion.contract import ContractError
from fusion.phenology.layers import season_cube, season_cube_bands, season_layers
from fusion.phenology.seasons import seasons
from fusion.phenology.settings import FLAGS, HRVPP_VARIABLES, SeasonSettings

BASE, RISE, T1, K1, T2, K2 = 0.2, 0.5, 120.0, 10.0, 270.0, 12.0


def curve(days, t1=T1, t2=T2, base=BASE, rise=RISE, k1=K1, k2=K2):
    """Double logistic."""
    days = np.asarray(days, float)
    return base + rise / (1 + np.exp(-(days - t1) / k1)) - rise / (1 + np.exp(-(days - t2) / k2))


def cube(values, first="2019-01-01", days=None, step=5):
    """(T,) or (T, n) as (t, y, x)."""
    values = np.atleast_2d(np.asarray(values, float).T).T
    days = np.arange(len(values)) * step if days is None else np.asarray(days)
    dates = np.datetime64(first, "ns") + days.astype("timedelta64[D]")
    return xr.DataArray(values[:, None, :].astype(np.float32), dims=("t", "y", "x"), coords={"t": dates})


YEAR = np.arange(0, 365, 5)


def one(data, name, season=0):
    return float(data[name].isel(season=season, y=0, x=0))


def truth(shift=0.0, step=0.01, **shape):
    """SOS 25 %, EOS 15 %, TPROD and SPROD by brute force on a fine axis of one year."""
    t = np.arange(0, 360, step)
    y = curve(t, **shape)
    top = y.argmax()
    low, high = 0.5 * (y[: top + 1].min() + y[top:].min()), y.max()
    sos = t[:top][y[:top] < low + 0.25 * (high - low)][-1]
    eos = t[top:][y[top:] < low + 0.15 * (high - low)][0]
    inside = (t >= sos) & (t <= eos)
    return {"SOSD": sos + shift, "EOSD": eos + shift, "MAXD": t[top] + shift, "MAXV": high, "MINV": low,
            "TPROD": y[inside].sum() * step, "SPROD": (y[inside] - low).sum() * step}  # fmt: skip


@pytest.mark.parametrize("sigma", [None, 0.02])
def test_thirteen_parameters_of_a_known_curve(sigma):
    data, true = seasons(cube(curve(YEAR)), sigma=sigma), truth()
    tolerance = 0.02 if sigma is None else 0.3  # the weak priors count beside a sigma
    for name in ("SOSD", "EOSD", "MAXD"):
        assert one(data, name) == pytest.approx(true[name], abs=tolerance), name
    for name in ("MAXV", "MINV"):
        assert one(data, name) == pytest.approx(true[name], abs=2e-3), name
    for name in ("TPROD", "SPROD"):
        assert one(data, name) == pytest.approx(true[name], rel=5e-3), name
    assert one(data, "AMPL") == pytest.approx(one(data, "MAXV") - one(data, "MINV"), abs=1e-6)
    assert one(data, "LENGTH") == pytest.approx(one(data, "EOSD") - one(data, "SOSD"), abs=1e-4)
    assert one(data, "SOSV") == pytest.approx(one(data, "MINV") + 0.25 * one(data, "AMPL"), abs=1e-5)
    # slope of a logistic at 25 %: rise * 0.25 * 0.75 / k
    assert one(data, "LSLOPE") == pytest.approx(RISE * 0.25 * 0.75 / K1, rel=0.03)
    assert one(data, "RSLOPE") == pytest.approx(RISE * 0.15 * 0.85 / K2, rel=0.03)
    assert int(data.COUNT.squeeze()) == 1 and one(data, "QFLAG") == 10 and one(data, "FLAG") == 0
    assert all(np.isnan(one(data, n, 1)) for n in HRVPP_VARIABLES if n != "QFLAG")
    assert data.SOSD.dims == ("season", "y", "x") and int(data.year) == 2019


@pytest.mark.parametrize("method", ["relative_amplitude", "absolute"])
def test_closed_form_equals_the_daily_curve(method):
    """The generic path over daily values is the oracle of the closed form."""
    from fusion.phenology.curve_fit import detection_curve, find_seasons, fit_seasons, place_obs, regular_axis
    from fusion.phenology.extraction import daily_metrics
    from fusion.phenology.fit_metrics import analytic_metrics

    rng = np.random.default_rng(1)
    many = np.stack([curve(YEAR, *p) for p in zip(rng.uniform(90, 150, 50), rng.uniform(230, 290, 50), strict=True)])
    settings = SeasonSettings(method=method, start=0.35, end=0.3)
    axis = regular_axis(YEAR)
    placed, sigma = place_obs(axis, many, np.full(many.shape, 0.02))
    smooth = detection_curve(axis, placed, True, None)
    rows, *_ = find_seasons(smooth, 4, settings)
    fit = fit_seasons(axis, placed, sigma, smooth, rows, settings)
    closed, daily = analytic_metrics(fit, 5.0, settings), daily_metrics(axis, placed, sigma, fit, settings)
    for name, tolerance in {"SOSD": 0.1, "EOSD": 0.1, "MAXD": 0.3, "MINV": 1e-3, "TPROD": 0.1, "LSLOPE": 2e-4}.items():
        np.testing.assert_allclose(closed[name], daily[name], atol=tolerance, err_msg=name)


def test_sigma_of_a_date_is_what_repeated_noise_gives():
    rng = np.random.default_rng(5)
    noisy = curve(YEAR)[:, None] + 0.02 * rng.normal(size=(len(YEAR), 600))
    data = seasons(cube(noisy), sigma=0.02, error_days=0.0)
    for name in ("SOSD", "EOSD", "MAXD"):
        spread = float(data[name].isel(season=0).std())
        assert float(data[f"{name}_SIGMA"].isel(season=0).median()) == pytest.approx(spread, rel=0.12), name


def test_numpy_path_equals_numba():
    rng = np.random.default_rng(2)
    obs = curve(YEAR)[:, None] + 0.02 * rng.normal(size=(len(YEAR), 40))
    obs[rng.random(obs.shape) < 0.3] = np.nan
    for sigma in (None, 0.02):
        fast, slow = (seasons(cube(obs), sigma=sigma, use_numba=flag) for flag in (True, False))
        for name in fast.data_vars:
            np.testing.assert_allclose(fast[name], slow[name], rtol=1e-5, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("shift", [182, 180, 91, -60])
def test_dates_move_with_the_curve_over_new_year_and_hemispheres(shift):
    days = np.arange(0, 1096, 5)  # 2018..2020, one season, somewhere
    moved = seasons(cube(curve(days, T1 + 365 + shift, T2 + 365 + shift), "2018-01-01"))
    still = seasons(cube(curve(days, T1 + 365, T2 + 365), "2018-01-01"))
    assert moved.SOSD.dims == ("year", "season", "y", "x")
    for name in ("SOSD", "EOSD", "MAXD"):
        dates = [float((d[name] + xr.DataArray([0, 365, 730], dims="year")).max()) for d in (moved, still)]
        assert dates[0] - dates[1] == pytest.approx(shift, abs=0.2), name
    assert int(moved.COUNT.sum()) == 1


def test_season_over_new_year_counts_from_its_years_first_day():
    days = np.arange(0, 730, 5)
    data = seasons(cube(curve(days, 320.0, 460.0), "2018-01-01"))  # green-up in November 2018, maximum in January 2019
    data = data.sel(year=2019)
    assert one(data, "SOSD") == pytest.approx(320 - 365 - K1 * np.log(3), abs=0.3)
    assert one(data, "MAXD") > 0


def test_leap_year_adds_no_day():
    plain, leap = (one(seasons(cube(curve(YEAR), f"{y}-01-01")), "EOSD") for y in (2019, 2020))
    assert plain == pytest.approx(leap, abs=1e-3)


def test_double_crop_is_split():
    two = curve(YEAR, 80, 160, k1=7, k2=6) + curve(YEAR, 225, 300, base=0.0, k1=7, k2=6)
    data = seasons(cube(two))
    assert int(data.COUNT.squeeze()) == 2
    for season, shape in enumerate(({"t1": 80, "t2": 160}, {"t1": 225, "t2": 300})):
        true = truth(**shape, k1=7, k2=6)
        assert one(data, "SOSD", season) == pytest.approx(true["SOSD"], abs=2)
        assert one(data, "EOSD", season) == pytest.approx(true["EOSD"], abs=2)


def test_three_seasons_keep_the_largest_and_say_so():
    crops = ((50, 0.5, 0.2), (160, 0.3, 0.0), (270, 0.45, 0.0))
    three = sum(curve(YEAR, t, t + 55, base=base, rise=rise, k1=5, k2=5) for t, rise, base in crops)
    data = seasons(cube(three))
    assert int(data.COUNT.squeeze()) == 3
    assert [round(one(data, "AMPL", k), 1) for k in (0, 1)] == [0.5, 0.4]
    assert int(one(data, "FLAG")) & FLAGS["more_seasons"]
    assert int(seasons(cube(three), max_seasons=3).SOSD.notnull().sum()) == 3


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        (np.full(73, np.nan), "no_data"),
        (np.where(np.arange(73) == 30, 0.5, np.nan), "no_data"),
        (np.full(73, 0.3), "no_season"),
        (0.75 + 0.03 * np.sin(YEAR / 58), "no_season"),  # evergreen
        (np.full(73, -0.15), "water"),
        (curve(YEAR, -40, 60), "start_cut"),  # only a senescence
        (curve(YEAR, 330, 600), "end_cut"),  # only a green-up
    ],
)
def test_what_is_no_season_is_flagged_and_never_dated(values, flag):
    data = seasons(cube(values))
    assert int(one(data, "FLAG")) & FLAGS[flag]
    for name in ("SOSD", "EOSD", "MAXD"):
        assert np.isnan(one(data, name)), name


def test_series_that_ends_in_the_season_has_no_end():
    data = seasons(cube(curve(YEAR)[:54]))  # until 23 September, at the 60 % level
    assert np.isfinite(one(data, "SOSD")) and np.isnan(one(data, "EOSD")) and np.isnan(one(data, "LENGTH"))
    assert int(one(data, "FLAG")) & FLAGS["end_cut"]


@pytest.mark.parametrize(("brown", "flagged"), [(420, False), (500, True)])
def test_a_season_longer_than_a_year_is_dated_and_flagged(brown, flagged):
    days = np.arange(0, 730, 5)
    data = seasons(cube(curve(days, t1=100, t2=brown)))
    length = data.LENGTH.values[np.isfinite(data.LENGTH.values)].item()
    flags = data.FLAG.values[np.isfinite(data.LENGTH.values)].item()
    assert (length > 366) == flagged and bool(int(flags) & FLAGS["over_a_year"]) == flagged


@pytest.mark.parametrize(("method", "side"), [("first_derivative", (T1, T2)), ("gu", (T1 - 2 * K1, T2 + 2 * K2))])
def test_methods_with_a_hand_derived_date(method, side):
    """Steepest point of a logistic is its centre; its tangent meets the base two time constants before."""
    data = seasons(cube(curve(YEAR)), method=method)
    assert (one(data, "SOSD"), one(data, "EOSD")) == pytest.approx(side, abs=0.3)


def test_curvature_methods_of_a_logistic():
    """Curvature is largest at logit(0.2113) = -1.317 k, its rate of change at logit(0.0918) = -2.292 k (y' << 1)."""
    for method, distance in (("max_curvature", 1.317), ("zhang", 2.292)):
        data = seasons(cube(curve(YEAR)), method=method)
        assert one(data, "SOSD") == pytest.approx(T1 - distance * K1, abs=0.5), method
        assert one(data, "EOSD") == pytest.approx(T2 + distance * K2, abs=0.6), method


def test_absolute_threshold():
    data = seasons(cube(curve(YEAR)), method="absolute", start=0.45, end=0.45)
    assert (one(data, "SOSD"), one(data, "EOSD")) == pytest.approx((T1, T2), abs=0.1)


@pytest.mark.parametrize("curve_name", ["whittaker", "savitzky_golay", "spline", "hants", "none"])
def test_every_curve_dates_the_season(curve_name):
    data = seasons(cube(curve(YEAR)), curve=curve_name)
    assert one(data, "SOSD") == pytest.approx(truth()["SOSD"], abs=12)
    assert one(data, "EOSD") == pytest.approx(truth()["EOSD"], abs=12)


def test_integrals_do_not_depend_on_the_dates_of_the_observations():
    rng = np.random.default_rng(0)
    irregular = np.unique(np.sort(rng.choice(365, 120, replace=False)))
    axes = [np.arange(365), YEAR, np.arange(0, 365, 10), irregular]
    totals = [one(seasons(cube(curve(days), days=days)), "TPROD") for days in axes]
    np.testing.assert_allclose(totals, totals[0], rtol=0.01)


def test_duplicate_dates_are_merged():
    days = np.sort(np.concatenate([YEAR, YEAR[::3]]))
    assert one(seasons(cube(curve(days), days=days)), "SOSD") == pytest.approx(truth()["SOSD"], abs=0.05)


def test_observations_statistics_come_from_the_real_observations():
    fused = cube(curve(YEAR))
    obs = cube(curve(YEAR))
    obs[(obs.t.dt.month >= 6) & (obs.t.dt.month <= 8)] = np.nan
    data = seasons(fused, sigma=0.02, observations=obs)
    assert one(data, "OBS_UP") > 2 and one(data, "OBS_PEAK") < 10
    assert one(data, "LONGEST_GAP") == pytest.approx(95, abs=1)
    assert one(seasons(fused, sigma=0.02), "LONGEST_GAP") == 5


def test_undetected_clouds_hardly_move_the_dates():
    obs = curve(YEAR)
    obs[[22, 25, 40, 41, 55]] = 0.08
    data = seasons(cube(obs))
    assert int(data.COUNT.squeeze()) == 1
    assert one(data, "SOSD") == pytest.approx(truth()["SOSD"], abs=1.5)


def test_dims_in_any_order_and_bands():
    plain = cube(np.stack([curve(YEAR), curve(YEAR, 130, 250)], axis=1))
    expected = seasons(plain, sigma=0.02).SOSD
    two = xr.concat([plain, xr.full_like(plain, 0.02)], dim="bands").assign_coords(bands=["NDVI", "NDVI_SIGMA"])
    for order in (("t", "bands", "y", "x"), ("x", "bands", "y", "t")):
        got = seasons(two.transpose(*order)).SOSD.transpose("season", "y", "x")
        np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize("more", [{"yydoy": True}, {"method": "reference"}, {"method": "phenolopy"}], ids=str)
def test_dask_input_stays_lazy_and_gives_the_same(more):
    import dask

    values = np.stack([curve(YEAR, 100 + k) for k in range(6)], axis=1)
    values[:, 5] = np.nan
    plain = cube(values).assign_coords(x=np.arange(6.0))
    lazy = plain.chunk({"x": 2, "t": 20})
    with dask.config.set(scheduler=_refuse):
        data = seasons(lazy, **more)
        assert all(v.chunks is not None for v in data.data_vars.values())
    expected = seasons(plain, **more)
    assert str(data.attrs) == str(expected.attrs) and list(data.data_vars) == list(expected.data_vars)
    for name, layer in data.data_vars.items():
        assert layer.chunks[-1] == (2, 2, 2) and str(layer.attrs) == str(expected[name].attrs)
        found = layer.compute(scheduler="synchronous")
        assert found.dtype == layer.dtype == expected[name].dtype
        xr.testing.assert_allclose(found, expected[name], atol=1e-4)


def _refuse(*_, **__):
    raise AssertionError("a lazy call computed something")


def test_lazy_multi_year_cube_keeps_its_chunks_of_pixels():
    days = np.arange(0, 4 * 365, 5)
    data = seasons(cube(np.stack([curve(days % 365)] * 8, axis=1), "2016-01-01").chunk({"x": 2}))
    assert data.SOSD.sizes["year"] == 4 and set(data.SOSD.chunks[-1]) == {2}


def test_yydoy():
    data = seasons(cube(curve(YEAR)), yydoy=True)
    assert one(data, "SOSD_YYDOY") == 19000 + np.floor(one(data, "SOSD")) + 1
    assert one(data, "SOSD_YYDOY", 1) == 0


def test_openeo_bands_depend_on_nothing_but_the_settings():
    layers, years = season_layers(cube(curve(YEAR)), SeasonSettings(), year=2019)
    bands = season_cube(layers, years)
    assert bands.dims == ("t", "bands", "y", "x")
    assert bands.t.values.tolist() == [np.datetime64("2019-01-01", "ns").astype(int)]
    assert bands.bands.values.tolist() == season_cube_bands() and bands.sizes["bands"] == 40
    assert float(bands.sel(bands="SOSD_s1").squeeze()) == pytest.approx(truth()["SOSD"], abs=0.05)
    empty = cube(np.full(73, np.nan))
    assert season_cube(*season_layers(empty, SeasonSettings(), year=2019)).bands.equals(bands.bands)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "relative_amplitude"),
        ({"curve": "magic"}, "whittaker"),
        ({"start": 1.5}, "start"),
        ({"max_seasons": 0}, "max_seasons"),
        ({"year": 1999}, "covers 2019 to 2019"),
        ({"sigma": -1.0}, "sigma"),
        ({"method": "reference", "year": 2018}, "2019"),
    ],
)
def test_bad_options_are_named(change, message):
    with pytest.raises(ContractError, match=message):
        seasons(cube(curve(YEAR)), **change)


def test_bad_cubes_are_named():
    good = cube(curve(YEAR))
    bad = {
        "digital|NDVI within": good * 200,
        "sorted": good.isel(t=slice(None, None, -1)),
        "coordinate|coord 't'": good.drop_vars("t"),
        "datetime64": good.assign_coords(t=np.arange(73)),
        "bands": good.expand_dims(bands=["a", "b"]),
    }
    for message, broken in bad.items():
        with pytest.raises(ContractError, match=message):
            seasons(broken)
    with pytest.raises(ContractError, match="DataArray"):
        seasons(good.values)


def test_reference_method_flags_its_capped_dates():
    data = seasons(cube(np.full(73, 0.3)), method="reference")
    assert one(data, "SOSD") == 91 and one(data, "EOSD") == 243  # day of year 92 and 244, the windows' first days
    assert int(one(data, "FLAG")) == FLAGS["start_cut"] + FLAGS["end_cut"]


def test_attributes():
    data = seasons(cube(curve(YEAR)))
    assert all(v.attrs.get("units") and v.attrs.get("long_name") for v in data.data_vars.values())
    assert data.SOSD.attrs["units"] == "d" and data.LSLOPE.attrs["units"] == "d-1" and data.TPROD.attrs["units"] == "d"
    assert len(data.FLAG.attrs["flag_meanings"].split()) == len(data.FLAG.attrs["flag_masks"])
