"""Every output of a season by its formula, quality flags from hand-made observations, edges of all methods, memory."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
import xarray as xr

from fusion.contract import ContractError
from fusion.phenology.extraction import count_observations
from fusion.phenology.seasons import seasons
from fusion.phenology.settings import CURVES, FLAGS, HRVPP_VARIABLES, METHODS, VARIABLES
from fusion.phenology.smoothing import smooth

YEAR = np.arange(0, 365, 5)
OWN_METHODS = tuple(m for m in METHODS if m not in ("reference", "phenolopy"))


def curve(days, t1=120.0, t2=270.0, left=0.2, right=0.2, top=0.7, k1=10.0, k2=12.0):
    """Double logistic with a base of its own on each side."""
    days = np.asarray(days, float)
    return left + (top - left) / (1 + np.exp(-(days - t1) / k1)) - (top - right) / (1 + np.exp(-(days - t2) / k2))


def cube(values, first="2019-01-01", days=YEAR):
    """(T, n) as (t, y, x)."""
    values = np.asarray(values, np.float32).reshape(len(days), 1, -1)
    dates = np.datetime64(first, "ns") + np.asarray(days).astype("timedelta64[D]")
    return xr.DataArray(values, dims=("t", "y", "x"), coords={"t": dates})


def test_the_thirteen_parameters_stand_first_and_in_the_order_of_hr_vpp():
    wanted = ["SOSD", "EOSD", "MAXD", "SOSV", "EOSV", "MINV", "MAXV", "AMPL", "LENGTH"]
    wanted += ["LSLOPE", "RSLOPE", "SPROD", "TPROD"]
    assert list(HRVPP_VARIABLES) == wanted == list(VARIABLES[:13])
    data = seasons(cube(curve(YEAR)))
    main = [f"{name}_main" for name in VARIABLES]
    assert [str(name) for name in data.data_vars] == [*VARIABLES, "COUNT", "MAIN", *main]


@pytest.mark.parametrize("name", ["double_logistic", "whittaker"])
def test_formulae_hold_among_the_outputs(name):
    rng = np.random.default_rng(4)
    many = np.stack([curve(YEAR, t1, t2) for t1, t2 in zip(rng.uniform(90, 150, 30), rng.uniform(230, 290, 30))], 1)
    data = seasons(cube(many + 0.01 * rng.normal(size=many.shape)), sigma=0.02, curve=name).isel(season=0, drop=True)
    assert int(data.SOSD.notnull().sum()) == 30
    derived = {
        "AMPL": data.MAXV - data.MINV,
        "LENGTH": data.EOSD - data.SOSD,
        "SOSV": data.MINV + 0.25 * data.AMPL,
        "EOSV": data.MINV + 0.15 * data.AMPL,
        "SPROD": data.TPROD - data.MINV * data.LENGTH,
    }
    for key, value in derived.items():
        tolerance = 2e-2 if key == "SPROD" else 2e-3 if name == "whittaker" else 1e-4
        np.testing.assert_allclose(data[key], value, atol=tolerance, err_msg=key)


def test_minimum_is_the_mean_of_both_sides():
    data = seasons(cube(curve(YEAR, left=0.15, right=0.35))).isel(season=0, y=0, x=0)
    assert float(data.MINV) == pytest.approx(0.25, abs=5e-3)
    assert float(data.SOSV) == pytest.approx(0.25 + 0.25 * (0.7 - 0.25), abs=6e-3)


OBS = {  # observations in green-up (days 0 to 9), peak (10 to 19) and green-down (20 to 29) -> QFLAG
    (3, 3, 3): 10, (2, 3, 3): 9, (3, 2, 3): 8, (3, 3, 2): 7, (2, 3, 2): 6, (2, 2, 3): 5, (3, 2, 2): 4,
    (2, 2, 2): 3, (1, 1, 1): 3, (2, 0, 0): 2, (0, 0, 1): 2, (0, 0, 0): 1,
}  # fmt: skip


@pytest.mark.parametrize(("obs", "flag"), OBS.items())
@pytest.mark.parametrize("other_pixel", [False, True])
def test_qflag_and_gap_statistics(obs, flag, other_pixel):
    days = np.concatenate([10 * k + np.arange(n) for k, n in enumerate(obs)] + [[90]]).astype(int)
    seen = np.ones((1, len(days)), bool)
    if other_pixel:  # a pixel without observations takes the general way
        seen = np.concatenate([seen, ~seen])
    borders = {"UP": 0.0, "TOP": 10.0, "DOWN": 20.0, "OFF": 30.0}
    metrics = {name: np.array([value]) for name, value in borders.items()} | {"FLAG": np.array([0])}
    count_observations(metrics, np.array([0]), np.array([0]), (days, seen))
    assert [int(metrics[f"OBS_{n}"][0]) for n in ("UP", "PEAK", "DOWN")] == list(obs)
    assert int(metrics["QFLAG"][0]) == flag
    assert bool(metrics["FLAG"][0] & FLAGS["few_observations"]) == (flag < 7)


def test_longest_gap_reaches_from_green_up_to_green_down():
    days = np.array([0, 4, 5, 17, 25, 80])
    metrics = {name: np.array([value]) for name, value in {"UP": 2.0, "TOP": 8.0, "DOWN": 20.0, "OFF": 31.0}.items()}
    seen = np.stack([np.ones(6, bool), np.zeros(6, bool)])
    count_observations(metrics | {"FLAG": np.array([0])}, np.array([0]), np.array([0]), (days, seen))
    full = metrics | {"FLAG": np.array([0])}
    count_observations(full, np.array([0]), np.array([0]), (days, seen))
    assert float(full["LONGEST_GAP"][0]) == 12  # 5 to 17; the borders count as observations


def test_yydoy_before_new_year():
    days = np.arange(0, 730, 5)
    data = seasons(cube(curve(days, 340, 460), "2018-01-01", days), yydoy=True).sel(year=2019).isel(season=0, y=0, x=0)
    day = int(np.floor(float(data.SOSD)))
    assert day < 0 and int(data.SOSD_YYDOY) == 18000 + 365 + day + 1  # -1 is 31 December 2018, 18365
    assert int(data.MAXD_YYDOY) == 19000 + int(np.floor(float(data.MAXD))) + 1


def test_cf_attributes():
    data = seasons(cube(curve(YEAR)), yydoy=True)
    assert data.attrs["Conventions"].startswith("CF-")
    days = {"SOSD", "EOSD", "MAXD", "LENGTH", "SOSD_SIGMA", "EOSD_SIGMA", "MAXD_SIGMA", "LONGEST_GAP", "SPROD", "TPROD"}
    for name, layer in data.data_vars.items():
        plain = str(name).removesuffix("_main")
        unit = "d" if plain in days else "d-1" if plain in ("LSLOPE", "RSLOPE") else "1"
        assert layer.attrs["units"] == unit and layer.attrs["long_name"], name
    assert "1 January" in data.SOSD.attrs["comment"]
    assert dict(zip(data.FLAG.attrs["flag_meanings"].split(), data.FLAG.attrs["flag_masks"])) == FLAGS


EDGES = {
    "flat": np.full(73, 0.3),
    "evergreen": 0.75 + 0.03 * np.sin(YEAR / 58),
    "snow": np.where((YEAR < 120) | (YEAR > 290), -0.05, 0.03),
    "all NaN": np.full(73, np.nan),
    "only a green-up": curve(YEAR, 330, 600),
    "only a senescence": curve(YEAR, -40, 60),
}


@pytest.mark.parametrize("method", OWN_METHODS)
@pytest.mark.parametrize("name", ["double_logistic", "whittaker", "none"])
def test_no_method_and_no_curve_makes_up_a_date(method, name):
    many = cube(np.stack(list(EDGES.values()), axis=1))
    data = seasons(many, method=method, curve=name)
    for variable in ("SOSD", "EOSD", "MAXD", "LENGTH", "TPROD", "SOSD_SIGMA", "EOSD_SIGMA"):
        assert data[variable].isnull().all(), variable
    assert (data.FLAG.isel(season=0) > 0).all() and set(CURVES) >= {name}


@pytest.mark.parametrize("method", OWN_METHODS)
def test_a_cut_side_is_nan_and_flagged_and_the_other_side_is_kept(method):
    begins, ends = YEAR >= 125, YEAR <= 265  # in the middle of green-up, and of senescence
    for part, cut, kept, flag in ((begins, "SOSD", "EOSD", "start_cut"), (ends, "EOSD", "SOSD", "end_cut")):
        data = seasons(cube(curve(YEAR[part]), days=YEAR[part]), method=method, start=0.3, end=0.3)
        data = data.isel(season=0, y=0, x=0)
        assert np.isnan(data[cut]) and np.isnan(data.LENGTH) and np.isnan(data[f"{cut}_SIGMA"]), (method, cut)
        assert int(data.FLAG) & FLAGS[flag] and np.isfinite(data[kept])


def test_noise_alone_gives_no_date_on_the_edge():
    rng = np.random.default_rng(6)
    walk = np.clip(0.4 + np.cumsum(0.05 * rng.normal(size=(73, 300)), axis=0), -0.15, 0.95)
    for options in ({}, {"curve": "whittaker"}, {"method": "gu"}):
        data = seasons(cube(walk), **options)
        for name in ("SOSD", "EOSD", "MAXD"):
            dates = data[name].values[np.isfinite(data[name].values)]
            assert ((dates > 0) & (dates < 360)).all(), (options, name)
        cut = np.isnan(data.SOSD) & np.isfinite(data.AMPL)
        assert (data.FLAG.where(cut, FLAGS["start_cut"]).astype(int) & FLAGS["start_cut"] > 0).all()


def test_wrong_dims_and_times_are_named():
    good = cube(curve(YEAR))
    bad = {
        "expected dim and coord 't'": good.rename(t="time"),
        "no date|sorted": good.isel(t=[]),
        "NaT": good.assign_coords(t=[np.datetime64("NaT"), *good.t.values[1:]]),
        "NDVI within": good + 2.0,
    }
    for message, broken in bad.items():
        for call in (seasons, smooth):
            with pytest.raises(ContractError, match=message):
                call(broken)
    with pytest.raises(ContractError, match="whole series"):
        seasons(good, method="phenolopy", year=2019)
    with pytest.raises(TypeError, match="sart"):
        seasons(good, sart=0.3)


@pytest.mark.parametrize("call", [seasons, smooth])
def test_working_memory_does_not_grow_with_the_years(call):
    """Peak of one lazy chunk beyond its input and output, for 2 and for 10 years of the same pixels."""
    import dask.array

    def extra(years, pixels=3000):
        days = np.arange(0, 365 * years, 5)
        source = dask.array.from_delayed(_delayed_series(days, pixels), (len(days), 1, pixels), np.float32)
        lazy = xr.DataArray(source, dims=("t", "y", "x"), coords={"t": cube(0 * days, "2010-01-01", days).t})
        out = call(lazy)
        arrays = list(out.data_vars.values()) if isinstance(out, xr.Dataset) else [out]
        tracemalloc.start()
        sizes = 4 * len(days) * pixels + sum(a.size * 4 for a in arrays)
        dask.compute(arrays, scheduler="synchronous")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return (peak - sizes) / 2**20

    extra(1, 10)  # compiles
    short, long = extra(2), extra(10)
    grown = 8 * 3000 * 73 * 4 / 2**20  # MiB of input that eight years add; a few copies of it are allowed, no more
    assert long - short <= 3 * grown, f"{short:.1f} MiB for 2 years, {long:.1f} MiB for 10, input grew by {grown:.1f}"


def _delayed_series(days, pixels):
    import dask

    @dask.delayed
    def make():
        return np.repeat(curve(days % 365).astype(np.float32), pixels).reshape(len(days), 1, pixels)

    return make()


def test_settings_say_what_is_possible():
    from fusion.phenology.settings import SeasonSettings

    for field in dataclasses.fields(SeasonSettings):
        assert field.name in (SeasonSettings.__doc__ or ""), f"{field.name} is not documented"


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_first_guess_and_fit_of_numba_equal_those_of_numpy(rho):
    """Random walks: windows of every length, observations missing, seasons cut by the edges."""
    from fusion.phenology.curve_fit import find_seasons
    from fusion.phenology.detection import first_guess
    from fusion.phenology.double_logistic import fit_double_logistic
    from fusion.phenology.settings import SeasonSettings

    rng = np.random.default_rng(7)
    walk = np.cumsum(0.06 * rng.normal(size=(200, 61)), axis=1)
    rows, *_ = find_seasons(walk, 12, SeasonSettings())
    both = [first_guess(walk, *rows, 5.0, use_numba=flag) for flag in (True, False)]
    np.testing.assert_array_equal(both[0][0], both[1][0])
    np.testing.assert_allclose(both[0][1], both[1][1], atol=1e-9)
    window, start = both[0]
    obs = np.where(rng.random(walk.shape) < 0.2, np.nan, walk + 0.02 * rng.normal(size=walk.shape))
    sigma = np.full(walk.shape, 0.05)
    fits = [
        fit_double_logistic(obs, sigma, rows[0], window, start, step=5.0, rho=rho, iterations=2, use_numba=flag)
        for flag in (True, False)
    ]
    assert len(rows[0]) > 200
    for fast, slow in zip(*fits):
        np.testing.assert_allclose(fast, slow, rtol=1e-6, atol=1e-7)
