"""Landscape and vegetation: areas, harvest, hemispheres, within-field variation, mixed edges."""

import numpy as np

from data_prep.simulator.crops import COVER, Grower
from data_prep.simulator.geometry import make_landscape
from data_prep.simulator.growth import BROADLEAF, CEREAL
from data_prep.simulator.phenology import _grow, make_vegetation
from data_prep.simulator.scene import simulate_parts
from data_prep.simulator.settings import GeometrySettings, PhenologySettings
from data_prep.simulator.truth import daily_truth
from data_prep.simulator.weather import make_weather


def grown(component: tuple, days: int = 200) -> np.ndarray:
    green = np.zeros((1, days))
    plant, cleared = np.zeros((1, days), np.int8), np.zeros((1, days), np.float32)
    growth, none = np.array([component], float), np.zeros((0, 6))
    _grow(growth, none, 0.0, np.zeros(1), np.ones(1), green, plant, cleared)
    return green[0], cleared[0]


def test_growth_is_logistic_and_harvest_sharp():
    # parcel, plant, amplitude, half day, scale, senescence (never), end day 150 with scale 0.4, first day 0
    green, cleared = grown((0, CEREAL, 0.6, 80, 6, 1e5, 5, 0.0, 150, 0.4, 0))
    np.testing.assert_allclose(green[80], 0.3, atol=1e-6)  # half of the amplitude at the half day
    np.testing.assert_allclose(green[86], 0.6 / (1 + np.exp(-1)), atol=1e-6)
    assert green[147] > 0.59 and green[153] < 0.01  # gone within days
    assert cleared[150] == 1 and cleared.sum() == 1


def test_parcels_have_the_size_that_was_asked_for():
    settings = GeometrySettings(
        parcel_ha=(2.0, 2.0), road_probability=0, hedge_probability=0, buildings=(0, 0), voronoi_probability=0.0
    )
    areas = []
    for seed in range(8):
        land = make_landscape(settings, 128, 128, 10.0, np.random.default_rng(seed))
        labels = np.unique(land.parcel)
        assert labels.min() == 0 and labels.max() == len(land.kind) - 1
        areas.append(np.median(np.bincount(land.parcel[36:-36, 36:-36].ravel())))
    assert 0.7 < np.median(areas) * 0.01 < 4  # hectares


def test_seasons_swap_hemispheres(north_year):
    """Temperate fields are greener from late May to June in the north, in midwinter in the south."""
    summer, winter = np.arange(140, 180), np.r_[335:365, 0:20]
    temperate = north_year.phenology.model_copy(update={"latitude_deg": (49.0, 51.0)})
    gaps = []
    for south in (0.0, 1.0):
        phenology = temperate.model_copy(update={"southern_probability": south})
        settings = north_year.model_copy(update={"phenology": phenology})
        truth = [simulate_parts(settings, seed).truth for seed in range(120)]
        gaps.append(np.mean([t[summer].mean() - t[winter].mean() for t in truth]))
    assert gaps[0] > 0.02 and gaps[1] < -0.02


def test_spring_comes_earlier_towards_the_equator_and_mediterranean_summers_are_dry(north_year):
    """NDVI of the scene mean: greenest earlier at 38 than at 57 degrees, and summer below spring there."""
    spring, summer = np.arange(75, 120), np.arange(190, 235)

    def greenness(latitude: float) -> tuple[float, float]:
        phenology = north_year.phenology.model_copy(
            update={"latitude_deg": (latitude, latitude), "summer_dry_probability": 1.0}
        )
        settings = north_year.model_copy(update={"phenology": phenology})
        truth = [simulate_parts(settings, seed).truth for seed in range(24)]
        return float(np.mean([t[spring].mean() for t in truth])), float(np.mean([t[summer].mean() for t in truth]))

    (south_spring, south_summer), (north_spring, north_summer) = greenness(38.0), greenness(57.0)
    assert south_spring > north_spring + 0.03
    assert south_summer < south_spring - 0.05
    assert north_summer > north_spring


def test_crop_land_drops_sharply_at_harvest(north_year):
    """Most crop parcels lose at least 0.15 NDVI within five days at some time of the year."""
    drops = []
    for seed in range(6):
        parts = simulate_parts(north_year, seed)
        curves = parts.vegetation.ndvi.mean(axis=0)
        crops = np.isin(parts.vegetation.cover, [COVER[c] for c in ("root_crop", "maize", "double_crop", "rapeseed")])
        drops += (curves[crops, 5:] - curves[crops, :-5]).min(axis=1).tolist()
    assert np.mean(np.array(drops) < -0.15) > 0.6


def test_year_effect_is_common_to_a_scene():
    """With one crop and no shift between fields, fields of a scene agree more than fields of different scenes."""
    settings = PhenologySettings(southern_probability=0.0, field_shift_d=0.0, year_shift_d=20.0)
    from data_prep.simulator.settings import SceneSettings

    shifts = []
    for seed in range(20):
        weather = make_weather(SceneSettings(phenology=settings), np.random.default_rng(seed))
        grower = Grower(settings, weather, np.random.default_rng(seed))
        shifts.append(grower.shift[0])
    assert np.std(shifts) > 8


def test_variation_within_fields_keeps_the_parcel_mean(parts):
    """Truth inside a parcel spreads around the mean of its two versions; no pixel leaves it by more than it may."""
    truth = daily_truth(parts.land, parts.vegetation.ndvi)
    np.testing.assert_array_equal(truth, parts.truth)
    label = np.bincount(parts.parcel.ravel()).argmax()
    mine = parts.parcel == label
    core = mine.copy()
    core[1:-1, 1:-1] &= mine[:-2, 1:-1] & mine[2:, 1:-1] & mine[1:-1, :-2] & mine[1:-1, 2:]
    core[1:-1, 1:-1] &= mine[:-2, :-2] & mine[2:, 2:] & mine[:-2, 2:] & mine[2:, :-2]
    core[[0, -1]] = core[:, [0, -1]] = False
    strong, weak = parts.vegetation.ndvi[:, label]
    mean, half = 0.5 * (strong + weak), 0.5 * (strong - weak)
    m = parts.land.margin
    w = np.clip(parts.land.variation[m:-m, m:-m][core], -2.5, 2.5)
    expected = np.clip(mean[:, None] + w * half[:, None], -0.2, 0.98)
    np.testing.assert_allclose(truth[:, core], expected, atol=1e-5)


def test_edge_pixels_mix_their_neighbours(parts):
    """A slow oracle: every pixel of one day as the blur of the unmixed image around it."""
    land, curves, day, m = parts.land, parts.vegetation.ndvi, 100, parts.land.margin
    mean, half = 0.5 * (curves[0] + curves[1])[:, day], 0.5 * (curves[0] - curves[1])[:, day]
    w = np.clip(land.variation, -2.5, 2.5)
    sharp = mean[land.parcel] + w * half[land.parcel]
    for i, j in ((0, 0), (5, 9), (20, 30), (35, 43)):
        rows, columns = slice(i + m - 1, i + m + 2), slice(j + m - 1, j + m + 2)
        pure = len(np.unique(land.parcel[rows, columns])) == 1
        expected = sharp[i + m, j + m] if pure else (land.blur * sharp[rows, columns]).sum()
        np.testing.assert_allclose(parts.truth[day, i, j], expected, atol=1e-5)
    np.testing.assert_allclose(land.blur.sum(), 1, atol=1e-6)


def test_every_cover_can_be_grown():
    """Each kind of land gives finite curves; grass regrows after cuts."""
    from data_prep.simulator.settings import SceneSettings

    scene = SceneSettings(n_days=400, start_day=(0, 0), phenology=PhenologySettings(southern_probability=0.0))
    seen = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        weather = make_weather(scene, rng)
        land = make_landscape(GeometrySettings(), 48, 48, 10.0, rng)
        vegetation = make_vegetation(scene.phenology, land, weather, rng)
        assert np.isfinite(vegetation.ndvi).all() and vegetation.ndvi.shape[1:] == (len(land.kind), 400)
        seen |= set(vegetation.cover.tolist())
        for row in np.flatnonzero(vegetation.cover == COVER["grass_mown"]):
            cuts = np.flatnonzero(vegetation.cleared[row] > 0.2)
            assert len(cuts) >= 1
    assert seen == set(COVER.values())
    assert BROADLEAF == 2
