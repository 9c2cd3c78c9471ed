"""The UDF contract of the back-ends, line by line, through openEO's own runner and the bundled files."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from openeo.metadata import Band, BandDimension, CollectionMetadata, SpatialDimension, TemporalDimension
from openeo.udf import OpenEoUdfException, UdfData, XarrayDataCube
from openeo.udf.run_code import execute_local_udf, load_module_from_string, run_udf_code

from fusion.contract import ContractError, TimeGrid
from fusion.inference.fuse import fuse_cube
from fusion.inference.session import load_session
from tests.factory import mock_cube
from tests.unit.udf.fakes import PERIOD, as_back_end_chunk, fusion_context, run_udf
from udf.season_chunk import season_bands
from udf.workflow import udf_source

NAMES = ("fusion_udf", "phenology_udf")


@pytest.fixture(scope="module")
def chunk() -> xr.DataArray:
    """One chunk as GeoPySpark hands it over."""
    return as_back_end_chunk(mock_cube(t=40, y=20, x=24))


@pytest.fixture(scope="module")
def fused(chunk: xr.DataArray, model: Path) -> xr.DataArray:
    """The fusion UDF's answer on it."""
    return run_udf("fusion_udf", chunk, fusion_context(model))


def series(years: int = 1, y: int = 6, x: int = 5) -> xr.DataArray:
    """A fused series as the second UDF gets it."""
    t = np.datetime64("2019-01-01") + np.arange(0, 365 * years, 5)
    doy = (t - t.astype("datetime64[Y]").astype("datetime64[D]")).astype(int) + 1
    ndvi = 0.2 + 0.6 / (1 + np.exp(-(doy - 120) / 10)) - 0.6 / (1 + np.exp(-(doy - 260) / 10))
    values = np.broadcast_to(np.stack([ndvi, np.full(len(t), 0.03)], 1)[:, :, None, None], (len(t), 2, y, x))
    coords = {
        "t": t.astype("datetime64[ns]"),
        "bands": ["NDVI", "NDVI_SIGMA"],
        "y": np.arange(y)[::-1] * 10.0,
        "x": np.arange(x) * 10.0,
    }
    return xr.DataArray(values.astype("float32"), dims=("t", "bands", "y", "x"), coords=coords)


# --- recognition -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_entry_has_the_signature_that_the_dispatcher_wants(name: str) -> None:
    module = load_module_from_string(udf_source(name))
    signature = inspect.signature(module["apply_datacube"])
    assert list(signature.parameters) == ["cube", "context"]
    assert signature.parameters["cube"].annotation is xr.DataArray
    assert signature.parameters["context"].annotation is dict
    assert signature.return_annotation is xr.DataArray
    metadata = inspect.signature(module["apply_metadata"])
    assert list(metadata.parameters) == ["metadata", "context"]
    assert metadata.parameters["metadata"].annotation is CollectionMetadata is metadata.return_annotation


@pytest.mark.parametrize("name", NAMES)
def test_metadata_function_starts_in_column_0(name: str) -> None:
    lines = udf_source(name).splitlines()
    wanted = "def apply_metadata(metadata: CollectionMetadata, context: dict) -> CollectionMetadata:"
    assert lines.count(wanted) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# ndvi-fusion", "from __future__ import annotations\n# ndvi-fusion"),
        ("(cube: xr.DataArray, context: dict) -> xr.DataArray:", "(cube: xr.DataArray, context: dict):"),
        (
            "(cube: xr.DataArray, context: dict) -> xr.DataArray:",
            "(cube: xr.DataArray, context: dict) -> xr.DataArray | None:",
        ),
        ("def apply_datacube(cube: xr.DataArray, context: dict)", "def apply_datacube(cube: xr.DataArray)"),
        ("def apply_datacube(cube: xr.DataArray,", "def apply_datacube(data: xr.DataArray,"),
    ],
)
def test_what_makes_a_udf_invisible(name: str, old: str, new: str, chunk: xr.DataArray) -> None:
    """Proof that the traps are real: with any of these changes openEO finds no UDF at all."""
    code = udf_source(name)
    at = code.rindex("def apply_datacube") if "apply_datacube" in old or "cube: xr" in old else 0
    broken = code[:at] + code[at:].replace(old, new, 1)
    assert broken != code
    if "__future__" in new:
        module = load_module_from_string(broken)
        assert isinstance(module["apply_datacube"].__annotations__["cube"], str)
        return
    with pytest.raises(OpenEoUdfException, match="No UDF found"):
        run_udf_code(broken, UdfData(datacube_list=[XarrayDataCube(chunk)], user_context={}))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_else_is_dispatched(name: str) -> None:
    """No other function stands where the dispatcher looks than the entries and the loader, and none takes UdfData."""
    module = load_module_from_string(udf_source(name))
    own = {k: v for k, v in module.items() if inspect.isfunction(v) and getattr(v, "__globals__", None) is module}
    assert set(own) == {"apply_datacube", "apply_metadata", "bundled"}
    for function in own.values():
        assert all("UdfData" not in str(p.annotation) for p in inspect.signature(function).parameters.values())
    assert not {"apply_timeseries", "apply_hypercube", "apply_vectorcube"} & set(module)


def test_band_metadata_takes_another_number_of_bands() -> None:
    dims = [
        SpatialDimension(name="x", extent=[0, 1]),
        SpatialDimension(name="y", extent=[0, 1]),
        TemporalDimension(name="t", extent=["2019-01-01", "2020-01-01"]),
        BandDimension(name="bands", bands=[Band(name=b) for b in ("S2NDVI", "VV", "VH", "COARSE_NDVI")]),
    ]
    metadata = CollectionMetadata({}, dimensions=dims)
    fusion, phenology = (load_module_from_string(udf_source(n))["apply_metadata"] for n in NAMES)
    assert fusion(metadata, {}).band_names == ["NDVI", "NDVI_SIGMA"]
    assert phenology(metadata, {"method": "reference"}).band_names == ["sos", "eos"]
    assert phenology(metadata, {"output": "smoothed", "method": "reference"}).band_names == metadata.band_names
    assert phenology(metadata, {"output": "smoothed"}).band_names == ["NDVI"]
    assert phenology(metadata, {}).band_names[26:28] == ["COUNT", "SOSD_main"]
    without = CollectionMetadata({}, dimensions=dims[:3])
    assert not fusion(without, {}).has_band_dimension()


# --- what comes in, what goes out -------------------------------------------------------------------------------------


def test_answer_keeps_shape_labels_and_order(fused: xr.DataArray, chunk: xr.DataArray) -> None:
    assert fused.dims == ("t", "bands", "y", "x")
    assert fused.dtype == np.float32
    assert list(fused.bands.values) == ["NDVI", "NDVI_SIGMA"]
    np.testing.assert_array_equal(fused.y, chunk.y)
    np.testing.assert_array_equal(fused.x, chunk.x)
    expected = TimeGrid(np.datetime64(PERIOD["start"]), np.datetime64(PERIOD["end"])).dates
    np.testing.assert_array_equal(fused.t, expected)
    assert np.isfinite(fused.values).all()
    assert 0.1 < float(fused.sel(bands="NDVI").mean()) < 0.9


def test_bundle_equals_the_package(fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    """The inlined code computes exactly what the package computes."""
    grid = TimeGrid(np.datetime64(PERIOD["start"]), np.datetime64(PERIOD["end"]))
    direct = fuse_cube(chunk, load_session(model), grid, s1_units="dB")
    np.testing.assert_array_equal(fused.values, direct.transpose("t", "bands", "y", "x").values)


@pytest.mark.parametrize("order", [("x", "y", "bands", "t"), ("bands", "t", "y", "x"), ("y", "x", "t", "bands")])
def test_permuted_dims(order: tuple, fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    answer = run_udf("fusion_udf", chunk.transpose(*order), fusion_context(model))
    assert answer.dims == ("t", "bands", "y", "x")
    np.testing.assert_array_equal(answer.values, fused.values)


def test_axes_the_other_way_round(fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    turned = {"y": slice(None, None, -1), "x": slice(None, None, -1)}
    answer = run_udf("fusion_udf", chunk.isel(turned), fusion_context(model))
    xr.testing.assert_equal(answer.isel(turned), fused)


def test_permuted_bands(fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    answer = run_udf("fusion_udf", chunk.isel(bands=[3, 1, 0, 2]), fusion_context(model))
    np.testing.assert_array_equal(answer.values, fused.values)


def test_other_band_labels(fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    named = chunk.assign_coords(bands=["ndvi", "vv", "vh", "probav"])
    roles = {"S2NDVI": "ndvi", "VV": "vv", "VH": "vh", "COARSE_NDVI": "probav"}
    answer = run_udf("fusion_udf", named, fusion_context(model, bands=roles))
    np.testing.assert_array_equal(answer.values, fused.values)


def test_missing_band_labels_need_an_order(fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    bare = chunk.drop_vars("bands")
    with pytest.raises(ContractError, match=r"4 bands without labels.*band_order"):
        from udf.fuse_chunk import fuse_chunk

        fuse_chunk(bare, fusion_context(model))
    order = ["S2NDVI", "VV", "VH", "COARSE_NDVI"]
    answer = run_udf("fusion_udf", bare, fusion_context(model, band_order=order))
    np.testing.assert_array_equal(answer.values, fused.values)


def test_cube_without_band_dimension(chunk: xr.DataArray, model: Path) -> None:
    alone = chunk.sel(bands="S2NDVI", drop=True)
    answer = run_udf("fusion_udf", alone, fusion_context(model))
    expected = run_udf("fusion_udf", chunk.sel(bands=["S2NDVI"]), fusion_context(model))
    assert answer.sizes["bands"] == 2
    np.testing.assert_array_equal(answer.values, expected.values)


def test_missing_space_labels(fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    answer = run_udf("fusion_udf", chunk.drop_vars(["y", "x"]), fusion_context(model))
    np.testing.assert_array_equal(answer.values, fused.values)


def test_float64_and_integers(fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    np.testing.assert_array_equal(
        run_udf("fusion_udf", chunk.astype("float64"), fusion_context(model)).values, fused.values
    )
    packed = chunk.sel(bands=["S2NDVI"]).fillna(0.5)
    packed = (packed * 10000).round().astype("int16")
    answer = run_udf("fusion_udf", packed, fusion_context(model, ndvi_scale=1e-4))
    expected = run_udf("fusion_udf", (packed * np.float32(1e-4)).astype("float32"), fusion_context(model))
    np.testing.assert_allclose(answer.values, expected.values, atol=1e-6)


def test_dates_vary_from_chunk_to_chunk(chunk: xr.DataArray, model: Path) -> None:
    """Only dates with data exist in a tile; all chunks must answer with the same labels."""
    answers = [
        run_udf("fusion_udf", chunk.isel(t=part), fusion_context(model)) for part in (slice(0, 40, 3), slice(5, 9), [7])
    ]
    for answer in answers:
        np.testing.assert_array_equal(answer.t, answers[0].t)
        assert answer.sizes == answers[0].sizes


def test_dates_without_an_observation_change_nothing(fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    """Dates that exist in a neighbouring tile only arrive as NaN images, or not at all: the answer is the same."""
    extra = chunk.isel(t=[3]).copy(data=np.full_like(chunk.isel(t=[3]).values, np.nan))
    extra = extra.assign_coords(t=extra.t + np.timedelta64(1, "D"))
    padded = xr.concat([chunk, extra], "t").sortby("t")
    np.testing.assert_array_equal(run_udf("fusion_udf", padded, fusion_context(model)).values, fused.values)


def test_unsorted_dates_with_hours(fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    shuffled = chunk.isel(t=np.random.default_rng(0).permutation(chunk.sizes["t"]))
    shuffled = shuffled.assign_coords(t=shuffled.t + np.timedelta64(39, "m") * 20)
    np.testing.assert_array_equal(run_udf("fusion_udf", shuffled, fusion_context(model)).values, fused.values)


def test_duplicate_dates_are_merged(fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    """Two half images of one day are one observation; the first with data wins."""
    left, right = chunk.isel(t=[4]).copy(deep=True), chunk.isel(t=[4]).copy(deep=True)
    left[..., 12:] = np.nan
    rest = chunk.isel(t=[k for k in range(chunk.sizes["t"]) if k != 4])
    doubled = xr.concat([rest, left, right], "t")
    np.testing.assert_array_equal(run_udf("fusion_udf", doubled, fusion_context(model)).values, fused.values)


@pytest.mark.parametrize("bands", [["S2NDVI"], ["S2NDVI", "VV", "VH"], ["S2NDVI", "COARSE_NDVI"], ["S2NDVI", "VV"]])
def test_absent_sensors(bands: list, chunk: xr.DataArray, model: Path) -> None:
    answer = run_udf("fusion_udf", chunk.sel(bands=bands), fusion_context(model))
    assert np.isfinite(answer.values).all()
    empty = chunk.where(chunk.bands.isin(bands))
    if "VV" not in bands or "VH" in bands:  # VV without VH is the same either way only if VH is all NaN
        np.testing.assert_array_equal(run_udf("fusion_udf", empty, fusion_context(model)).values, answer.values)


def test_all_nan_gives_no_data_of_full_shape(fused: xr.DataArray, chunk: xr.DataArray, model: Path) -> None:
    answer = run_udf("fusion_udf", chunk * np.nan, fusion_context(model))
    assert answer.sizes == fused.sizes
    assert np.isnan(answer.values).all()


def test_infinite_is_no_data(chunk: xr.DataArray, model: Path) -> None:
    holes, infinite = chunk.copy(deep=True), chunk.copy(deep=True)
    holes[3:9] = np.nan
    infinite[3:9] = np.inf
    answers = [run_udf("fusion_udf", c, fusion_context(model)).values for c in (holes, infinite)]
    np.testing.assert_array_equal(*answers)


def test_one_date(chunk: xr.DataArray, model: Path) -> None:
    answer = run_udf("fusion_udf", chunk.isel(t=[0]), fusion_context(model))
    assert np.isfinite(answer.values).all()
    assert float(answer.sel(bands="NDVI").std("t").max()) < 0.05  # one observation: a flat series


def test_overlap_windows_and_smallest_chunk(chunk: xr.DataArray, model: Path) -> None:
    answer = run_udf("fusion_udf", chunk.isel(y=slice(0, 4), x=slice(0, 4)), fusion_context(model))
    assert answer.shape[2:] == (4, 4)


def test_called_date_by_date_says_what_to_do(chunk: xr.DataArray, model: Path) -> None:
    """``apply`` and ``t = P1D`` hand over (bands, y, x) with the instant in attrs."""
    instant = chunk.isel(t=0, drop=True).assign_attrs(t="2019-03-01")
    for name in NAMES:
        with pytest.raises(Exception, match=r"without t: it was called date by date; call it with apply_neighborhood"):
            run_udf(name, instant, fusion_context(model))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": None}, r"lacks start and end"),
        ({"stepdays": 5}, r"'stepdays' is unknown; did you mean 'step_days'"),
        ({"s1_units": None}, r"radar units are None"),
        ({"s1_units": "linear"}, r"declared linear but .* negative"),
        ({"bands": {"S2NDVI": "NDWI"}}, r"label 'NDWI' for S2NDVI"),
        ({"model_dir": "nowhere"}, r"'nowhere' does not exist.*udf-dependency-archives"),
        ({"model_sha256": "0" * 64}, r"has sha256 [0-9a-f]{64}, the caller expects 0000"),
        ({"min_observations": 10**6}, r"expected 0 to 100000"),
    ],
)
def test_wrong_context(changes: dict, message: str, chunk: xr.DataArray, model: Path) -> None:
    with pytest.raises(Exception, match=message):
        run_udf("fusion_udf", chunk, fusion_context(model, **changes))


def test_ndvi_as_digital_numbers_is_refused(chunk: xr.DataArray, model: Path) -> None:
    with pytest.raises(Exception, match=r"S2NDVI ranges from .* expected NDVI within"):
        run_udf("fusion_udf", chunk * 10000, fusion_context(model))


def test_few_observations(chunk: xr.DataArray, model: Path) -> None:
    few = chunk.copy(deep=True)
    few[3:, 0, :5] = np.nan  # at most three observations left in the upper rows
    seen = np.isfinite(few.sel(bands="S2NDVI").values).sum(axis=0)
    answer = run_udf("fusion_udf", few, fusion_context(model, min_observations=5))
    np.testing.assert_array_equal(np.isnan(answer.values).all(axis=(0, 1)), seen < 5)
    kept = run_udf("fusion_udf", few, fusion_context(model, min_observations=5, insufficient="keep"))
    np.testing.assert_array_equal(np.isnan(kept.values).any(axis=(0, 1)), seen < 1)
    with pytest.raises(Exception, match=r"pixels have fewer than 5 clear Sentinel-2 observations"):
        run_udf("fusion_udf", few, fusion_context(model, min_observations=5, insufficient="error"))


def test_session_is_loaded_once(chunk: xr.DataArray, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = load_module_from_string(udf_source("fusion_udf"))["bundled"]("fusion.inference.session")
    session.SESSIONS.clear()
    opened = []
    original = session.open_session
    monkeypatch.setattr(session, "open_session", lambda *a: opened.append(a) or original(*a))
    for k in range(4):
        run_udf("fusion_udf", chunk.isel(t=slice(k, None), y=slice(0, 4), x=slice(0, 4)), fusion_context(model))
    assert len(opened) == 1


@pytest.mark.parametrize("name", NAMES)
def test_execute_local_udf(name: str, chunk: xr.DataArray, fused: xr.DataArray, model: Path) -> None:
    """The client's own way: it transposes and casts to float64 before."""
    import openeo

    if name == "fusion_udf":
        udf = openeo.UDF(udf_source(name), context=fusion_context(model))
        answer = execute_local_udf(udf, chunk.transpose("x", "y", "bands", "t")).get_datacube_list()[0].get_array()
        np.testing.assert_allclose(answer.values, fused.values, atol=1e-6)
    else:
        udf = openeo.UDF(udf_source(name), context={"method": "reference"})
        answer = execute_local_udf(udf, series()).get_datacube_list()[0].get_array()
        expected = run_udf(name, series(), {"method": "reference"})
        np.testing.assert_array_equal(answer.values, expected.values)


# --- the phenology UDF ------------------------------------------------------------------------------------------------


def test_reference_dates_of_a_known_curve() -> None:
    """Both crossings of 10 % of a logistic with slope 10 d lie ln(9) * 10 = 22 d outside its inflection."""
    answer = run_udf("phenology_udf", series(), {"method": "reference"})
    assert answer.dtype == np.int16
    assert list(answer.bands.values) == ["sos", "eos"]
    assert str(answer.t.values[0])[:10] == "2019-01-01"
    assert answer.dims == ("t", "bands", "y", "x")
    # Savitzky-Golay over 91 days rounds the shoulders, so only roughly where the unsmoothed curve has them
    assert np.abs(answer.sel(bands="sos").values - 98).max() <= 10
    assert np.abs(answer.sel(bands="eos").values - 282).max() <= 12


def test_smoothed_series_keeps_every_band() -> None:
    answer = run_udf("phenology_udf", series(), {"method": "reference", "output": "smoothed"})
    assert answer.sizes == {"t": 275, "bands": 2, "y": 6, "x": 5}
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer.sel(bands="NDVI_SIGMA"), 0.03, atol=1e-6)


def test_reference_without_data() -> None:
    empty = series()
    empty[:, :, 2, 3] = np.nan
    answer = run_udf("phenology_udf", empty, {"method": "reference"})
    assert (answer.values[..., 2, 3] == 0).all()
    assert (np.delete(answer.values[0, 0].ravel(), 2 * 5 + 3) > 0).all()


def test_series_of_one_date_is_refused() -> None:
    with pytest.raises(Exception, match=r"holds 1 date; seasons need a series"):
        run_udf("phenology_udf", series().isel(t=[0]), {})


def test_season_maps_have_fixed_bands_and_one_label_a_year() -> None:
    """Labels depend on the context and the period only, so that every chunk of a job answers alike."""
    few = {"phenology": {"max_seasons": 1, "variables": ["SOSD", "EOSD", "QFLAG"], "use_numba": False}}
    answer = run_udf("phenology_udf", series(y=2, x=2), few)
    labels = ["SOSD_s1", "EOSD_s1", "QFLAG_s1", "COUNT", "SOSD_main", "EOSD_main", "QFLAG_main"]
    assert list(answer.bands.values) == labels == list(season_bands(few, []))
    assert str(answer.t.values[0])[:10] == "2019-01-01"
    assert answer.dtype == np.float32
    # the curve rises with a slope of 10 d around day 120: 25 % lies ln(3) * 10 = 11 d before, 1 January = 0
    assert np.abs(answer.sel(bands="SOSD_s1").values - 108).max() < 3
    empty = run_udf("phenology_udf", series(y=2, x=2) * np.nan, few)
    np.testing.assert_array_equal(empty.bands, answer.bands)
    assert np.isnan(empty.sel(bands="SOSD_s1").values).all()


def test_whittaker_smoothed_series() -> None:
    noisy = series(y=2, x=2)
    noisy[20, 0] = np.nan
    answer = run_udf("phenology_udf", noisy, {"output": "smoothed", "smoothing": {"lam": 100.0, "step_days": 5}})
    assert list(answer.bands.values) == ["NDVI"]
    np.testing.assert_array_equal(answer.t, noisy.t)
    np.testing.assert_allclose(answer.values[:, 0], series(y=2, x=2).values[:, 0], atol=0.01)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"phenology": {"max_season": 1}}, r"option 'max_season' is unknown; did you mean 'max_seasons'"),
        ({"phenology": {"variables": ["SOS"]}}, r"variable 'SOS' is unknown; did you mean 'SOS[DV]'"),
        ({"output": "smoothed", "smoothing": {"lamda": 1}}, r"did you mean 'lam'"),
        ({"method": "phenolopy"}, r"does not run inside a UDF"),
        ({"method": "nonsense"}, r"expected one of relative_amplitude"),
    ],
)
def test_wrong_phenology_options(context: dict, message: str) -> None:
    with pytest.raises(Exception, match=message):
        run_udf("phenology_udf", series(y=2, x=2), context)


def test_more_than_two_unlabelled_bands() -> None:
    with pytest.raises(Exception, match=r"4 bands without labels"):
        run_udf("phenology_udf", xr.concat([series()] * 2, "bands").drop_vars("bands"), {})


def test_phenology_keeps_order_of_permuted_chunks() -> None:
    expected = run_udf("phenology_udf", series(y=6, x=5), {"method": "reference"})
    answer = run_udf("phenology_udf", series(y=6, x=5).transpose("x", "bands", "y", "t"), {"method": "reference"})
    assert answer.dims == ("t", "bands", "y", "x")
    np.testing.assert_array_equal(answer.values, expected.values)
