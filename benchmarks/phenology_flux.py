"""Season dates from Sentinel-2 NDVI at 20 flux towers against dates from tower GPP: default and original method.

``NDVI_FUSION_REAL_DATA=... python benchmarks/phenology_flux.py``. Needs ``flux_sites/``, a test set: the default
settings but the threshold (40 %, as in the tower dates); NDVI outside [-0.2, 1] is dropped. A tower season
is matched by the season whose maximum lies nearest, within 60 days.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import ContractError
from fusion.phenology.seasons import seasons
from fusion.phenology.settings import FLAGS

MATCH_DAYS = 60
SHARE = 0.4


def site_ndvi(file: Path) -> xr.DataArray:
    """The site's NDVI as a cube of one pixel; out-of-range values are no observations."""
    table = pd.read_csv(file, parse_dates=["t"]).sort_values("t")
    values = table["NDVI"].to_numpy(float)
    values = np.where(np.isfinite(values) & (values >= -0.2) & (values <= 1.0), values, np.nan)
    return xr.DataArray(
        values[:, None, None].astype(np.float32),
        dims=("t", "y", "x"),
        coords={"t": table["t"].to_numpy().astype("datetime64[ns]")},
    )


def tower_seasons(file: Path) -> pd.DataFrame:
    """SOSD, EOSD, MAXD of the tower's seasons as days since 1970-01-01."""
    rows = {}
    for line in file.read_text().splitlines()[1:]:
        key, _, value = line.partition(",")
        year, season, name = key.split("_")
        if name in ("SOSD", "EOSD", "MAXD") and value.strip():
            number = float(value)
            first = np.datetime64(f"{2000 + int(number // 1000):04d}-01-01", "D").astype(int)
            rows.setdefault((int(year), season), {})[name] = first + number % 1000 - 1
    return pd.DataFrame([r for r in rows.values() if len(r) == 3])


def default_seasons(cube: xr.DataArray) -> pd.DataFrame:
    """Dates of the default method, with its sigmas."""
    data = seasons(cube, start=SHARE, end=SHARE, max_seasons=3).isel(y=0, x=0)
    rows = []
    for year in data.year.values:
        zero = np.datetime64(f"{year}-01-01", "D").astype(int)
        one = data.sel(year=year)
        for k in range(one.sizes["season"]):
            if np.isfinite(one.MAXD.values[k]):
                rows.append({n: zero + float(one[n].values[k]) for n in ("SOSD", "EOSD", "MAXD")})
                rows[-1] |= {n: float(one[n].values[k]) for n in ("SOSD_SIGMA", "EOSD_SIGMA", "FLAG")}
    return pd.DataFrame(rows)


def within_a_year(found: pd.DataFrame) -> pd.DataFrame:
    """The seasons without the flag ``over_a_year``."""
    return found[found.FLAG.astype(int) & FLAGS["over_a_year"] == 0] if len(found) else found


def original_seasons(cube: xr.DataArray, maxima: pd.DataFrame) -> pd.DataFrame:
    """Dates of the original method, one per year; it has no maximum, so that of the tower in that year is used."""
    rows = []
    for year in np.unique(cube.t.dt.year):
        part = cube.sel(t=slice(f"{year - 1}-12-15", f"{year + 1}-01-15"))
        try:
            one = seasons(part, method="reference", year=int(year)).isel(y=0, x=0, season=0)
        except ContractError:  # the observations begin or end in the middle of the year
            continue
        if np.isfinite(one.SOSD):
            zero = np.datetime64(f"{year}-01-01", "D").astype(int)
            row = {n: zero + float(one[n]) for n in ("SOSD", "EOSD")}
            own = maxima["MAXD"].to_numpy()
            own = own[(own >= zero) & (own < zero + 366)]
            if len(own):
                rows.append(row | {"MAXD": own[np.abs(own - zero - 182).argmin()]})
    return pd.DataFrame(rows)


def matched_errors(found: pd.DataFrame, tower: pd.DataFrame) -> pd.DataFrame:
    """Errors in days, one row per tower season; NaN where no season matches, or the matching one has no date."""
    rows = []
    for _, true in tower.iterrows():
        row = {"SOSD": np.nan, "EOSD": np.nan}
        if len(found):
            distance = (found["MAXD"] - true["MAXD"]).abs()
            if distance.min() <= MATCH_DAYS:
                best = found.loc[distance.idxmin()]
                row = {n: best[n] - true[n] for n in ("SOSD", "EOSD")}
        rows.append(row)
    return pd.DataFrame(rows, columns=["SOSD", "EOSD"])


def summary(errors: pd.DataFrame) -> dict[str, float]:
    """RMSE, median absolute deviation (of the error from its median) and median absolute error, days."""
    out = {"matched": int(errors.notna().all(axis=1).sum())}
    for name in ("SOSD", "EOSD"):
        e = errors[name].dropna()
        out |= {
            f"{name}_rmse": float(np.sqrt((e**2).mean())),
            f"{name}_mad": float((e - e.median()).abs().median()),
            f"{name}_median_abs": float(e.abs().median()),
            f"{name}_bias": float(e.median()),
        }
    return out


def main() -> None:
    """Run over all sites and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/phenology_flux.json"))
    arguments = parser.parse_args()
    root = os.environ.get("NDVI_FUSION_REAL_DATA")
    if not root or not (Path(root) / "flux_sites").is_dir():
        print("flux_sites is absent: set NDVI_FUSION_REAL_DATA to the folder that holds it; nothing was measured")
        return
    errors = {"default": [], "default, without those flagged over a year": [], "original": []}
    total = 0
    for file in sorted((Path(root) / "flux_sites" / "ndvi").glob("*.csv")):
        cube, tower = site_ndvi(file), tower_seasons(file.parents[1] / "gpp_seasons" / file.name)
        covered = cube.t.values.astype("datetime64[D]").astype(int)
        tower = tower[(covered[0] <= tower.MAXD) & (covered[-1] >= tower.MAXD)]
        total += len(tower)
        found = default_seasons(cube)
        errors["default"].append(matched_errors(found, tower))
        errors["default, without those flagged over a year"].append(matched_errors(within_a_year(found), tower))
        errors["original"].append(matched_errors(original_seasons(cube, tower), tower))
    tables = {k: pd.concat(v, ignore_index=True) for k, v in errors.items()}
    both = tables["default"].notna().all(axis=1) & tables["original"].notna().all(axis=1)
    tables |= {f"{k}, seasons that both date": tables[k][both] for k in ("default", "original")}
    result = {"tower_seasons": total} | {k: summary(v) for k, v in tables.items()}
    print(f"{total} tower seasons\n")
    print("| method | matched | RMSE SOS/EOS | MAD SOS/EOS | median abs. error | median error |")
    print("|---|---|---|---|---|---|")
    for k in tables:
        r = result[k]
        cells = [f"{r['SOSD_' + c]:.1f} / {r['EOSD_' + c]:.1f}" for c in ("rmse", "mad", "median_abs", "bias")]
        print(f"| {k} | {r['matched']} | " + " | ".join(cells) + " |")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
