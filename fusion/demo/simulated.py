"""The demo on a simulated scene: every step of the processing chain, and the result against the truth."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)

import fusion
from data_prep.cube import clear_share
from fusion.contract import NDVI
from fusion.data.cube_files import open_dataset, read_cube
from fusion.demo.chain import call
from fusion.demo.content import ReportContent, build_report, sigma_share
from fusion.demo.maps import as_maps, main_season, season_maps, write_maps
from fusion.demo.settings import DemoSettings
from fusion.demo.steps import StepRunner
from fusion.inference.locate import SHIPPED

BINS = ("<15", "15-30", "30-60", "60-100", ">100")
FIRST_DAY = 273  # day of the previous year, so that the winter before the season is covered
N_DAYS = 520
# observations before and after the year: all that the scene has, so that graph and direct call get the same input
MARGIN_DAYS = 120
TRUTH_SIGMA = 0.01  # sigma of the true NDVI, small so that the fitted curve follows it


class SimulatedDemo:
    """The steps in order; each method is one step and returns figures for the report."""

    def __init__(self, settings: DemoSettings, runner: StepRunner) -> None:
        self.settings, self.runner, out = settings, runner, settings.out
        self.scene, self.cube, self.patches = out / "scene", out / "cube.nc", out / "patches.zarr"
        self.training, self.evaluation, self.model = out / "training", out / "evaluation", out / "model"
        self.package, self.workflow, self.fused = out / "package", out / "workflow", out / "ndvi.nc"
        self.seasons = out / "seasons" / "seasons.nc"
        self.start, self.end = f"{settings.year}-01-01", f"{settings.year}-12-31"

    @property
    def model_reference(self) -> str:
        """The model of this run: that of the settings, or the one trained here."""
        return self.settings.model or str(self.model)

    def run(self) -> Path:
        """Run every step; returns the path of the report."""
        do, s = self.runner.do, self.settings
        size = {"seed": s.seed, "year": s.year, "size_px": s.size_px}
        do("simulate", "Simulate a scene", self.simulate, settings=size, products=(self.scene / "truth.nc",))
        do("cube", "Make the merged cube", self.make_cube, settings=None, products=(self.cube,))
        if s.model is None:
            do("patches", "Cut training patches", self.cut_patches, settings=s.scenes, products=(self.patches,))
            do("train", "Train", self.train, settings=s.train_minutes, products=(self.training / "generator.pt",))
            do("export", "Export to ONNX", self.export, settings=None, products=(self.model / "model.onnx",))
        scoring = {"model": s.model, "scenes": s.evaluation_scenes}
        do("evaluate", "Evaluate", self.evaluate, settings=scoring, products=(self.evaluation / "scores.json",))
        do("package", "Package for openEO", self.make_package, settings=None, products=(self.package / "SHA256SUMS",))
        do("predict", "Fuse the scene", self.predict, settings=s.step_days, products=(self.fused,))
        do("phenology", "Extract season dates", self.phenology, settings=None, products=(self.seasons,))
        openeo = do("workflow", "Run the openEO workflow on this machine", self.run_workflow, settings=None,
                    products=(s.out / "maps" / "sos.tif", s.out / "maps" / "eos.tif"))  # fmt: skip
        return self.report(openeo)

    def simulate(self) -> dict[str, Any]:
        """A scene of the northern mid-latitudes, with a seed that training does not use."""
        s = self.settings
        call(
            "simulate",
            {
                "out": self.scene,
                "seed": 1_000_000 + s.seed,
                "overwrite": True,
                "++scene.height": s.size_px,
                "++scene.width": s.size_px,
                "++scene.n_days": N_DAYS,
                "++scene.first_year": s.year - 1,
                "++scene.last_year": s.year - 1,
                "++scene.start_day": [FIRST_DAY, FIRST_DAY],
                "++scene.phenology.southern_probability": 0,
                "++scene.phenology.latitude_deg": [46, 53],
            },
        )
        with open_dataset(self.scene / "truth.nc") as truth:
            parcels = int(np.unique(truth.parcel.values).size)
            days = truth.sizes["t"]
        return {"parcels": parcels, "days": days}

    def make_cube(self) -> dict[str, Any]:
        """Merged cube from raw files, without what the graph does otherwise (levels of radar) or not (S2 offset)."""
        as_graph = {"radar.orbit_offset": "none", "radar.satellite_steps": "off", "source.s2_offset_dn": 0}
        call("cube", {"input": self.scene, "out": self.cube, "overwrite": True, **as_graph})
        cube = read_cube(self.cube)
        share = 100 * clear_share(cube, self.start, self.end)
        return {"dates": cube.sizes["t"], "clear": f"{share:.0f} %"}

    def cut_patches(self) -> dict[str, Any]:
        """Patches of other simulated scenes, with truth."""
        s = self.settings
        call("patches", {"out": self.patches, "source.count": s.scenes, "source.seed": s.seed, "overwrite": True})
        manifest = json.loads((self.patches / "manifest.json").read_text(encoding="utf-8"))
        return {"patches": manifest["patches"]}

    def train(self) -> dict[str, Any]:
        """Fine-tune the shipped weights for a few minutes on the patches of this demo."""
        s = self.settings
        database = (s.out / "mlflow.db").resolve()
        call(
            "train",
            {
                "experiment": "demo",
                "store": self.patches,
                "start_from": SHIPPED / "generator.pt",
                "out": self.training,
                "seed": s.seed,
                "resume": False,
                "optimiser.max_minutes": s.train_minutes,
                "tracking.uri": f"sqlite:///{database}",
            },
        )
        return {"minutes": s.train_minutes}

    def export(self) -> dict[str, Any]:
        """Checkpoint to ONNX; parity with torch is checked."""
        call("export", {"checkpoint": self.training / "generator.pt", "out": self.model})
        return {"KiB": (self.model / "model.onnx").stat().st_size // 1024}

    def evaluate(self) -> dict[str, Any]:
        """Scores by gap length on further simulated scenes, for the model and the baselines."""
        call(
            "evaluate",
            {
                "out": self.evaluation,
                "model": self.model_reference,
                "scenes": self.settings.evaluation_scenes,
                "ablations": [],
                "baselines": ["linear", "whittaker"],
                "near_real_time.scenes": 0,
                "phenology.scenes": 0,
                "figures": False,
                "tracking.uri": f"sqlite:///{(self.settings.out / 'mlflow.db').resolve()}",
            },
        )
        rows = score_rows(self.evaluation)
        return {"rows": rows}

    def make_package(self) -> dict[str, Any]:
        """UDF files and the model archive; the onnxruntime archive, which needs a download, is left out."""
        call("package", {"out": self.package, "model": self.model_reference, "dependencies": False})
        return {"files": len(list(self.package.iterdir()))}

    def predict(self) -> dict[str, Any]:
        """Dense NDVI of the whole scene."""
        call(
            "predict",
            {"cube": self.cube, "out": self.fused, "model": self.model_reference, "start": self.start,
             "end": self.end, "step_days": self.settings.step_days, "overwrite": True},
        )  # fmt: skip
        return {"dates": read_cube(self.fused).sizes["t"]}

    def phenology(self) -> dict[str, Any]:
        """Season dates of the fused series."""
        given = {"cube": self.fused, "out": self.seasons.parent, "year": self.settings.year}
        call("phenology", {**given, "overwrite": True})
        with open_dataset(self.seasons) as data:
            return {"pixels with a dated season": f"{100 * float(data.SOSD.notnull().any('season').mean()):.0f} %"}

    def run_workflow(self) -> dict[str, Any]:
        """Run the openEO graph for fused NDVI and for season maps, and compare both with the direct calls."""
        common = {
            "target": "local", "source": self.scene, "start": self.start, "end": self.end,
            "model": self.model_reference, "step_days": self.settings.step_days,
            "margin_days": MARGIN_DAYS, "overwrite": True, "radar_levelled": False,  # as the cube
        }  # fmt: skip
        call("workflow", {**common, "out": self.workflow / "fused", "output": "fused", "format": "NetCDF"})
        maps_of = {"output": "seasons", "method": "reference", "format": "NetCDF"}
        call("workflow", {**common, "out": self.workflow / "seasons", **maps_of})
        direct = read_cube(self.fused)
        through = read_cube(self.workflow / "fused" / "openEO.nc")
        maps = as_maps(read_cube(self.workflow / "seasons" / "openEO.nc"))
        write_maps(maps, self.settings.out / "maps", direct.rio.crs)
        difference = np.abs(through.sel(bands=NDVI).values - direct.sel(bands=NDVI).values)
        days = np.abs(maps - season_maps(direct))
        graph = json.loads((self.workflow / "seasons" / "process_graph.json").read_text(encoding="utf-8"))
        return {
            "processes in the graph": len(graph["process_graph"]),
            "largest NDVI difference to the direct call": float(np.nanmax(difference)),
            "season dates that differ by more than a day": f"{int((days > 1).sum())} of {days.size}",
        }

    def report(self, openeo: dict[str, Any]) -> Path:
        """Read all results and write the report."""
        cube, fused = read_cube(self.cube), read_cube(self.fused)
        with open_dataset(self.scene / "truth.nc") as opened:
            truth = opened[NDVI].sel(t=slice(self.start, self.end)).load()
        with open_dataset(self.seasons) as data:
            all_seasons = data.load()
        content = ReportContent(
            cube=cube.sel(t=slice(self.start, self.end)),
            fused=fused,
            simulated=True,
            source="A simulated scene",
            model=self.settings.model or f"trained here for {self.settings.train_minutes:g} minutes",
            seasons=main_season(all_seasons),
            all_seasons=all_seasons,
            truth=truth.sel(t=truth.t.isin(fused.t)),
            true_seasons=main_season(fusion.seasons(truth, sigma=TRUTH_SIGMA, year=self.settings.year)),
            scores=score_rows(self.evaluation),
            bins=BINS,
            score_note=(
                f"On {self.settings.evaluation_scenes} further simulated scenes, outside the training data, all "
                "observations inside long windows were withheld, and each method was compared with the clean NDVI. "
                f"On the scene of this page {100 * sigma_share(fused, truth):.0f} % of the true values lie within the "
                "90 % band, which is that of single observations with their noise, so more than 90 % is expected."
            ),
            openeo=openeo,
            steps=self.runner.records,
            files=FILES,
        )
        return build_report(content).write(self.settings.out / "report.html", footer="Made by ndvi-fusion demo.")


FILES = (
    ("ndvi.nc", "dense NDVI and its standard deviation"),
    ("seasons/", "season dates and parameters as NetCDF, GeoTIFF and maps"),
    (
        "maps/sos.tif, maps/eos.tif",
        "start and end of season from the openEO graph (method of the original workflow), day of the year",
    ),
    ("cube.nc", "the merged cube (input of the fusion)"),
    ("scene/", "the raw simulated images and the truth"),
    ("model/", "model.onnx and its manifest"),
    ("training/", "checkpoint, learning curve"),
    ("evaluation/", "scores as JSON and CSV"),
    ("workflow/", "the openEO process graphs and their results"),
    ("package/", "files for an openEO back-end"),
    ("mlflow.db", "the training run, for `mlflow ui --backend-store-uri sqlite:///mlflow.db`"),
)


def score_rows(folder: Path) -> list[dict[str, Any]]:
    """Mean absolute error by gap bin, one row per method."""
    tables = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["tables"]["by_bin"]
    methods = list(dict.fromkeys(row["predictor"] for row in tables))
    found = {(row["predictor"], row["bin"]): row["mae"] for row in tables}
    return [{"method": m, **{b: found.get((m, b)) for b in BINS}} for m in methods]


def run_simulated(settings: DemoSettings, runner: StepRunner) -> Path:
    """The demo on a simulated scene; returns the path of the report."""
    return SimulatedDemo(settings, runner).run()
