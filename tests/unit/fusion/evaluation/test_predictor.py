"""The network as a predictor: dates of any phase, no leak, ablations, the whole command."""

import json

import numpy as np
import pytest

from fusion.commands.evaluate import EvaluateSettings, run
from fusion.contract import COARSE_NDVI, S2NDVI
from fusion.evaluation.baselines import Linear
from fusion.evaluation.leave_gap_out import LeaveGapOut, leave_gap_out
from fusion.evaluation.predictor import ModelPredictor, ablations, s2_obs, to_days
from tests.factory import mock_cube, mock_model

SMALL_SCENES = {
    "_target_": "data_prep.simulator.stream.SimulatedScenes",
    "seed": 5,
    "settings": {"height": 32, "width": 32, "n_days": 420},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"random": mock_model(root / "random", 1), "untrained": mock_model(root / "untrained", None)}


def test_dates_of_every_phase_come_back_in_their_order(folders):
    cube, model = mock_cube(cloud=0.5), ModelPredictor.load(folders["untrained"])
    first = cube.t.values[3].astype("datetime64[D]")
    dates = first + np.array([31, 2, 30, 7, 12, 33])  # phases 1, 2, 0, 2, 2, 3 of the 5-day step
    expected, _ = Linear().predict(cube, dates)
    ndvi, sigma = model.predict(cube, dates)
    np.testing.assert_allclose(ndvi, expected, atol=1e-5)
    assert sigma.shape == ndvi.shape and (sigma > 0).all()


def test_a_date_alone_and_among_others_is_answered_alike(folders):
    cube, model = mock_cube(), ModelPredictor.load(folders["random"])
    dates = cube.t.values[4:12]
    together, _ = model.predict(cube, dates)
    alone = np.concatenate([model.predict(cube, dates[i : i + 1]).ndvi for i in range(len(dates))])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_sigma_of_an_observation_is_wider_than_of_the_signal(folders):
    cube, model = mock_cube(), ModelPredictor.load(folders["random"])
    observation, signal = (
        model.predict(cube, cube.t.values[5:7], target=target).sigma for target in ("observation", "ndvi")
    )
    np.testing.assert_allclose(observation, np.hypot(signal, 0.03), rtol=1e-4)


def test_the_network_does_not_see_withheld_observations(folders):
    cube, model = mock_cube(t=48, cloud=0.0), ModelPredictor.load(folders["random"])
    days = to_days(cube.t.values)
    day = int(days[24])
    rules = LeaveGapOut(gaps_days=(12,), dates=(str(np.datetime64(day, "D")),))
    other = cube.copy(deep=True)
    inside = np.abs(days - day) <= 12
    other.loc[{"bands": S2NDVI, "t": cube.t[inside]}] = 0.99
    overlap = (days <= day + 12) & (days + 9 >= day - 12) & np.isfinite(cube.sel(bands=COARSE_NDVI).values).any((1, 2))
    other.loc[{"bands": COARSE_NDVI, "t": cube.t[overlap]}] = -0.1
    rows = [leave_gap_out(c, [model], rules).iloc[0] for c in (cube, other)]
    predicted = [(row.error + row.reference) / row.n for row in rows]
    assert predicted[0] == pytest.approx(predicted[1], abs=1e-6)
    assert abs(rows[0].mae - rows[1].mae) > 0.05  # the references do differ


def test_ablations_change_the_answer_of_a_net_that_uses_its_sensors(folders):
    cube, model = mock_cube(), ModelPredictor.load(folders["random"])
    dates = cube.t.values[6:9]
    full = model.predict(cube, dates).ndvi
    reduced = ablations(model, ["s1", "coarse", "s2_only"])
    assert [r.name for r in reduced] == ["model, minus S1", "model, minus coarse", "model, S2 only"]
    for ablation in reduced:
        assert np.abs(ablation.predict(cube, dates).ndvi - full).max() > 1e-4
    with pytest.raises(ValueError, match="expected some of"):
        ablations(model, ["radar"])


def test_s2_observations_leaves_out_dates_without_any():
    cube = mock_cube(cloud=0.0)
    cube.loc[{"bands": S2NDVI, "t": cube.t[3]}] = np.nan
    days, observations = s2_obs(cube)
    assert len(days) == cube.sizes["t"] - 1 == len(observations) and to_days(cube.t.values)[3] not in days


def test_a_single_pixel_without_radar_and_coarse_is_answered(folders):
    cube = mock_cube(y=1, x=1, radar=False, coarse=False)
    model = ModelPredictor.load(folders["untrained"])
    expected, _ = Linear().predict(cube, cube.t.values[5:8])
    np.testing.assert_allclose(model.predict(cube, cube.t.values[5:8]).ndvi, expected, atol=1e-5)


def test_whole_command_on_simulated_scenes(folders, tmp_path):
    settings = EvaluateSettings(
        out=tmp_path / "out",
        model=str(folders["untrained"]),
        others={"random": str(folders["random"])},
        ablations=("s1",),
        baselines=("linear", "efast_like"),
        truth=SMALL_SCENES,
        scenes=1,
        near_real_time={"scenes": 1, "dates": 1, "lags_days": (0, 30)},
        phenology={"scenes": 1, "gaps_days": (0, 60), "pixels": 16},
        bootstrap={"draws": 20},
        tracking={"enabled": False},
    )
    run(settings)
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["predictors"] == ["model", "model, minus S1", "random", "linear", "efast-like"]
    hashes = scores["models_sha256"]
    assert set(hashes) == {"model", "random"} and hashes["model"] != hashes["random"]
    mae = {row["predictor"]: row["mae"] for row in scores["tables"]["overall"]}
    assert mae["model"] == pytest.approx(mae["linear"], abs=1e-4)  # the untrained network is linear interpolation
    wanted = {"overall", "by_bin", "by_season", "by_bin_and_season", "missing_frames", "fields_by_bin", "images"}
    assert set(scores["tables"]) == wanted | {"lags", "season_dates"}  # nothing of the laboratory
    figures = {p.name for p in (tmp_path / "out" / "figures").iterdir()}
    assert {"example_images.png", "example_series.png", "mae_by_lag.png", "season_dates.png"} <= figures
