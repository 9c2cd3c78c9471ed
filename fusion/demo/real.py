"""The demo on a real cube: fusion, smoothing, season dates and the report, without training."""

from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.cube import clear_share
from fusion.data.cube_files import open_dataset, read_cube, write_cube
from fusion.demo.chain import call
from fusion.demo.content import ReportContent, build_report
from fusion.demo.maps import main_season, write_maps
from fusion.demo.settings import DemoSettings
from fusion.demo.skill import accuracy, score_cube
from fusion.demo.steps import StepRunner

FILES = (
    ("ndvi.nc", "dense NDVI and its standard deviation"),
    ("seasons/", "season dates and parameters as NetCDF, GeoTIFF and maps; smoothed.nc"),
    ("maps/sos.tif, maps/eos.tif", "start and end of each pixel's main season, day of the year, 1 = 1 January"),
    ("cube.nc", "the merged cube (input of the fusion)"),
    ("evaluation/", "errors at withheld observations of this cube, as JSON and CSV"),
)


def run_real(settings: DemoSettings, runner: StepRunner) -> Path:
    """The demo on ``settings.cube``; returns the path of the report."""
    return RealDemo(settings, runner).run()


class RealDemo:
    """The steps in order; each method is one step and returns figures for the report."""

    def __init__(self, settings: DemoSettings, runner: StepRunner) -> None:
        assert settings.cube is not None
        self.settings, self.runner, self.source = settings, runner, settings.cube
        out = settings.out
        self.cube, self.fused, self.seasons = out / "cube.nc", out / "ndvi.nc", out / "seasons" / "seasons.nc"
        self.maps = (out / "maps" / "sos.tif", out / "maps" / "eos.tif")

    def run(self) -> Path:
        """Run every step; returns the path of the report."""
        do, s = self.runner.do, self.settings
        given = {"cube": str(self.source.resolve()), "s1_units": s.s1_units}
        do("cube", "Make the merged cube", self.make_cube, settings=given, products=(self.cube,))
        fusing = {"step_days": s.step_days, "model": s.model}
        do("predict", "Fuse", self.predict, settings=fusing, products=(self.fused,))
        products = (self.seasons, *self.maps)
        do("phenology", "Smooth, and extract season dates", self.phenology, settings=None, products=products)
        scored = do("evaluate", "Score on withheld observations", self.evaluate, settings=s.model)
        return self.report(scored)

    def make_cube(self) -> dict[str, Any]:
        """Merged cube from raw files; a merged cube is copied."""
        from data_prep.cube import open_cube

        cube = open_cube(self.source)
        if self.settings.s1_units is not None:
            cube.attrs["s1_units"] = self.settings.s1_units
        write_cube(cube, self.cube, title="Merged cube")
        share = 100 * clear_share(cube, cube.t.values[0], cube.t.values[-1])
        dates = cube.t.values.astype("datetime64[D]")
        return {"dates": f"{cube.sizes['t']}, {dates[0]} to {dates[-1]}", "clear": f"{share:.0f} %"}

    def predict(self) -> dict[str, Any]:
        """Dense NDVI of the whole cube."""
        settings = {"cube": self.cube, "out": self.fused, "step_days": self.settings.step_days}
        call("predict", {**settings, "model": self.settings.model, "overwrite": True})
        return {"dates": read_cube(self.fused).sizes["t"]}

    def phenology(self) -> dict[str, Any]:
        """Smoothed series, and the season dates of the year in the middle of the cube."""
        call("phenology", {"cube": self.fused, "out": self.seasons.parent, "smoother": "whittaker", "overwrite": True})
        with open_dataset(self.seasons) as data:
            maps = main_season(one_year(data.load()))
        write_maps(maps, self.settings.out / "maps", read_cube(self.fused).rio.crs)
        found = {str(b).upper(): maps.sel(bands=b).values for b in maps.bands.values}
        return {
            f"median {b}, day of the year": f"{np.nanmedian(v):.0f}" for b, v in found.items() if np.isfinite(v).any()
        }

    def evaluate(self) -> dict[str, Any]:
        """Leave-gap-out on this cube beside linear interpolation."""
        return score_cube(self.cube, self.settings.out / "evaluation", self.settings.model)

    def report(self, scored: dict[str, Any]) -> Path:
        """Read all results and write the report."""
        cube, fused = read_cube(self.cube), read_cube(self.fused)
        with open_dataset(self.seasons) as data:
            all_seasons = data.load()
        content = ReportContent(
            cube=cube,
            fused=fused,
            simulated=False,
            source=str(cube.attrs.get("source") or self.source.name),
            model=self.settings.model or "the shipped one",
            seasons=main_season(one_year(all_seasons)),
            all_seasons=all_seasons,
            **accuracy(scored),
            steps=self.runner.records,
            files=FILES,
        )
        return build_report(content).write(self.settings.out / "report.html", footer="Made by ndvi-fusion demo.")


def one_year(data: xr.Dataset) -> xr.Dataset:
    """The middle year of a data set with several years."""
    return data.isel(year=data.sizes["year"] // 2) if "year" in data.dims else data
