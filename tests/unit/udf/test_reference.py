"""Reference results of a scene, and the command that compares a later result with them."""

import json
import os
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import xarray as xr

from tests.unit.udf.raw_scene import write_raw
from udf.commands.package import OUTPUTS, PackageSettings, reference_period, run
from udf.commands.workflow import WorkflowSettings
from udf.commands.workflow import run as run_workflow
from udf.reference import ResultDiffersError
from udf.targets import load_target


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files of a fake scene."""
    return write_raw(tmp_path_factory.mktemp("raw"), height=10, width=12)


@pytest.fixture(scope="module")
def package(scene: Path, tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A package with the results of the scene."""
    out = tmp_path_factory.mktemp("package") / "p"
    run(PackageSettings(out=out, model=str(model), dependencies=False, scene=scene))
    return out


def check(package: Path, result: Path) -> str:
    """What the command says."""
    return run(PackageSettings(out=package, check=result))


def changed(package: Path, out: Path, band: str, by: float, share: float, name: str = "fused") -> Path:
    """The reference with a band changed in a share of its values."""
    with xr.open_dataset(package / "reference" / f"{name}.nc", decode_coords="all") as data:
        data = data.load()
    flat = data[band].values.reshape(-1)
    flat[: round(share * flat.size)] += by
    data.to_netcdf(out)
    return out


def test_the_workflow_agrees_with_the_reference_of_its_scene(
    package: Path, scene: Path, model: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(scene / "s2.nc") as data:
        start, end = (str(data.t.values[k].astype("datetime64[D]")) for k in (0, -1))
    given = {"target": load_target("local"), "source": scene, "model": str(model), "start": start, "end": end}
    run_workflow(WorkflowSettings(**given, out=tmp_path / "o", output="seasons"))
    assert "at least 100.00% of the values" in check(package, tmp_path / "o" / "openEO.nc")


def test_a_difference_is_found_and_named(package: Path, tmp_path: Path) -> None:
    assert "agrees" in check(package, changed(package, tmp_path / "a.nc", "NDVI", 0.004, 1.0))
    assert "agrees" in check(package, changed(package, tmp_path / "b.nc", "NDVI", 0.5, 0.009))
    with pytest.raises(ResultDiffersError, match=r"98.0% of the values of NDVI agree.*at least 99%"):
        check(package, changed(package, tmp_path / "c.nc", "NDVI", 0.5, 0.02))
    with pytest.raises(ResultDiffersError, match="of the values of NDVI_SIGMA"):
        check(package, changed(package, tmp_path / "d.nc", "NDVI_SIGMA", np.nan, 0.5))
    assert "agrees" in check(package, changed(package, tmp_path / "e.nc", "SOSD_s1", 1.9, 1.0, "seasons"))


def test_dates_and_grids_have_to_be_the_same(package: Path, tmp_path: Path) -> None:
    with xr.open_dataset(package / "reference" / "fused.nc", decode_coords="all") as data:
        data.load().isel(t=slice(1, None)).to_netcdf(tmp_path / "short.nc")
        data.load().assign_coords(x=data.x + 10).to_netcdf(tmp_path / "moved.nc")
    for name in ("short", "moved"):
        with pytest.raises(ResultDiffersError, match="use the scene, the period and the step of the reference"):
            check(package, tmp_path / f"{name}.nc")


def test_what_cannot_be_compared_is_said(package: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no NetCDF file"):
        check(package, tmp_path / "none.nc")
    shutil.copyfile(package / "reference" / "scene" / "s1.nc", tmp_path / "other.nc")
    with pytest.raises(ValueError, match=r"holds no result with the bands \['VH', 'VV'\]"):
        check(package, tmp_path / "other.nc")


def test_scenario_names_the_files_and_is_one_of_the_catalogue(package: Path) -> None:
    content = json.loads((package / "reference" / "scenario.json").read_text(encoding="utf-8"))
    assert [part["reference_data"]["openEO.nc"] for part in content] == [f"{name}.nc" for name in OUTPUTS]
    assert (package / "thumbnail.png").read_bytes().startswith(b"\x89PNG")
    listed = (package / "SHA256SUMS").read_text()
    assert "reference/scene/s2.nc" in listed and "reference/seasons.nc" in listed
    data = os.environ.get("NDVI_FUSION_REAL_DATA")
    if not data:
        pytest.skip("the schemas of the APEx catalogue are not here: NDVI_FUSION_REAL_DATA is not set")
    schema = json.loads((Path(data) / "apex" / "benchmark_scenario.schema.json").read_text(encoding="utf-8"))
    for part in content:
        jsonschema.validate(part, schema)


def test_the_reference_covers_a_calendar_year_where_the_scene_does() -> None:
    days = np.arange(np.datetime64("2022-09-03"), np.datetime64("2024-01-20"), 7).astype("datetime64[ns]")
    assert [str(day) for day in reference_period(days)] == ["2023-01-01", "2023-12-31"]
    assert [str(day) for day in reference_period(days[:20])] == ["2022-09-03", "2023-01-14"]
