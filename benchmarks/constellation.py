"""What a gap in the constellation costs on the simulated hold-out: change of MAE against the full constellation.

``python benchmarks/constellation.py [--scenes 12] [--size 48] [--model PATH]``; results/constellation.json.

Hold-out as in ``fusion.evaluation.holdout``: two withheld windows a scene; scored are the pixels and dates without an
observation in the full constellation, by every row. ``levelled`` rows pass the radar through
``data_prep.satellites.even_out``, which knows the satellite of each acquisition, as ``cube`` does; those of a pass, as
the process graph does.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from data_prep.satellites import even_out
from data_prep.simulator.scene import simulate_observations
from data_prep.simulator.settings import SceneSettings
from fusion.contract import S2NDVI, VH, VV
from fusion.evaluation.holdout import Holdout, withhold_scene
from fusion.evaluation.predictor import ModelPredictor
from fusion.evaluation.scenes import truth_scenes

RADAR = (VV, VH)
Change = Callable[[xr.DataArray, np.random.Generator], xr.DataArray]


def dates_of(cube: xr.DataArray, band: str) -> np.ndarray:
    """Positions of the dates on which a band has data."""
    return np.flatnonzero(np.isfinite(cube.sel(bands=band).values).any(axis=(1, 2)))


def without(cube: xr.DataArray, bands: tuple[str, ...], at: np.ndarray) -> xr.DataArray:
    """A copy without some dates of some bands."""
    out = cube.copy(deep=True)
    for band in bands:
        out.values[at, list(cube.bands.values).index(band)] = np.nan
    return out


def days_of(cube: xr.DataArray) -> np.ndarray:
    """Days since 1970-01-01."""
    return cube.t.values.astype("datetime64[D]").astype("int64")


def half_of_radar(cube: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
    """Every second acquisition missing, as after the loss of S1B."""
    return without(cube, RADAR, dates_of(cube, VV)[1::2])


def fifth_missing(cube: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
    """A fifth of all products missing."""
    for bands in ((S2NDVI,), RADAR):
        at = dates_of(cube, bands[0])
        cube = without(cube, bands, at[rng.random(len(at)) < 0.2])
    return cube


def one_pass(cube: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
    """Only the pass with most acquisitions; a pass repeats every six days."""
    at = dates_of(cube, VV)
    phase = days_of(cube)[at] % 6
    most = np.bincount(phase, minlength=6).argmax() if len(at) else 0
    return without(cube, RADAR, at[phase != most])


def one_optical(cube: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
    """One of the two Sentinel-2 satellites missing; they take turns every five days."""
    at = dates_of(cube, S2NDVI)
    return without(cube, (S2NDVI,), at[days_of(cube)[at] // 5 % 2 == 1])


def other_satellite(db: float, pixels: int, *, levelled: bool, alternating: bool) -> Change:
    """Part of the radar from a satellite of another level and place: every second acquisition, or the second half."""

    def change(cube: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
        out, at, days = cube.copy(deep=True), dates_of(cube, VV), days_of(cube)
        if len(at) < 12:
            return out
        orbits = np.array([f"orbit {k}" for k in days[at] % 6])
        late = np.arange(len(at)) >= len(at) // 2
        for orbit in np.unique(orbits) if alternating else ():
            members = np.flatnonzero(orbits == orbit)
            late[members] = np.arange(len(members)) % 2 == 1
        bands = {}
        for band in RADAR:
            images = np.array(cube.sel(bands=band).values[at])
            images[late] = ndimage.shift(images[late], (0, pixels, 0), order=0, mode="nearest") + np.float32(db)
            coords = {"t": cube.t.values[at], "platform": ("t", np.where(late, "S1C", "S1A"))}
            bands[band] = xr.DataArray(images, dims=("t", "y", "x"), coords=coords)
        bands = even_out(bands, orbits, "level", []) if levelled else bands
        for band in RADAR:
            out.values[at, list(cube.bands.values).index(band)] = bands[band].values
        return out

    return change


def other_pass(*, levelled: bool) -> Change:
    """The pass with the latest phase 1.5 dB higher, by 0.7 dB more or less at the sides; levelled as the graph does."""

    def change(cube: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
        out, at = cube.copy(deep=True), dates_of(cube, VV)
        phase = days_of(cube)[at] % 6
        late = phase == phase.max(initial=0)
        if late.all():
            return out
        for band in RADAR:
            images = np.array(cube.sel(bands=band).values[at])
            images[late] += np.float32(1.5) + np.linspace(-0.7, 0.7, images.shape[2], dtype=np.float32)
            if levelled:
                levels = [np.nanmedian(images[of], axis=0) for of in (~late, late)]
                images += np.where(late[:, None, None], -1, 1) * (levels[1] - levels[0]) / 2
            out.values[at, list(cube.bands.values).index(band)] = images
        return out

    return change


CHANGES: dict[str, Change] = {
    "every second S1 acquisition missing": half_of_radar,
    "20 % of products missing": fifth_missing,
    "one pass of S1 only": one_pass,
    "one S2 satellite missing": one_optical,
    "S1 one pass +1.5 dB and a slope, as it is": other_pass(levelled=False),
    "S1 one pass +1.5 dB and a slope, levelled": other_pass(levelled=True),
}
for name, db, pixels in (("+1 dB", 1.0, 0), ("-1 dB", -1.0, 0), ("2 px", 0.0, 2)):
    for turns, alternating in (("from the middle on", False), ("every second image", True)):
        for label, levelled in (("as it is", False), ("levelled", True)):
            CHANGES[f"S1 {name} {turns}, {label}"] = other_satellite(
                db, pixels, levelled=levelled, alternating=alternating
            )


def measured(scenes: int, size: int, seed: int, model: str | None) -> list[dict]:
    """Rows of the table: MAE over all scored pixels, and its change."""
    predictor, rules = ModelPredictor.load(model), Holdout()
    settings = SceneSettings(height=size, width=size)
    total = {name: 0.0 for name in ("full constellation", *CHANGES)}
    count = 0
    made = (simulate_observations(settings, seed + k) for k in range(scenes))
    for index, scene in enumerate(truth_scenes(made, scenes)):
        held = withhold_scene(scene, rules, index)
        dates = held.days.astype("datetime64[D]")
        scored = (held.gap_days > 0) & np.isfinite(held.reference)
        count += int(scored.sum())
        for name in total:
            rng = np.random.default_rng([seed, index])
            cube = CHANGES[name](held.cube, rng) if name in CHANGES else held.cube
            answer = predictor.predict(cube, dates, target="ndvi").ndvi
            total[name] += float(np.abs(np.nan_to_num(answer, nan=0.5) - held.reference)[scored].sum())
    whole = total["full constellation"]
    return [
        {"constellation": name, "mae": round(value / count, 5), "change_percent": round(100 * (value / whole - 1), 2)}
        for name, value in total.items()
    ]


def main() -> None:
    """Print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--seed", type=int, default=910_000)
    parser.add_argument("--model", default=None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "constellation.json")
    args = parser.parse_args()
    rows = measured(args.scenes, args.size, args.seed, args.model)
    for row in rows:
        print(f"{row['constellation']:48s} MAE {row['mae']:.4f}  {row['change_percent']:+6.2f} %")
    args.out.write_text(json.dumps({"scenes": args.scenes, "size": args.size, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
