"""openEO without a network: the graphs, and jobs against a server on localhost that answers with recorded files."""

import datetime
import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from data_prep.cube import PrepareSettings, build_cube
from data_prep.optical import OpticalSettings
from data_prep.raw.cubes import SourceError
from data_prep.sources.openeo import OpenEOSource, fetch
from data_prep.sources.openeo_graphs import download_graph
from tests.unit.data_prep.openeo_server import Backend, serve
from tests.unit.data_prep.raw_files import cdse_like, coarse_file

pytest.importorskip("openeo")
REAL = os.environ.get("NDVI_FUSION_REAL_DATA")
BBOX = (5.0, 51.2, 5.01, 51.21)
APRIL = {"start": datetime.date(2023, 4, 1), "end": datetime.date(2023, 4, 30)}


def nodes(graph: dict, process: str) -> list[dict]:
    return [node["arguments"] for node in graph.values() if node["process_id"] == process]


def test_sentinel2_graph_names_bands_area_and_a_closed_period():
    graph = download_graph("cdse", "s2", BBOX, **APRIL)
    (load,) = nodes(graph, "load_collection")
    assert load["id"] == "SENTINEL2_L2A" and load["bands"] == ["B04", "B08", "SCL"]
    assert load["spatial_extent"] == {"west": 5.0, "south": 51.2, "east": 5.01, "north": 51.21}
    assert load["temporal_extent"] == ["2023-04-01", "2023-05-01"]  # openEO leaves the end out
    (resample,) = nodes(graph, "resample_spatial")
    assert (resample["resolution"], resample["projection"], resample["method"]) == (10, 32631, "near")
    (save,) = nodes(graph, "save_result")
    assert save["format"] == "NetCDF" and sum(bool(n.get("result")) for n in graph.values()) == 1


def test_sentinel1_graph_asks_for_the_coefficient_only_where_the_back_end_makes_it():
    cdse, terrascope = (download_graph(b, "s1", BBOX, **APRIL) for b in ("cdse", "terrascope"))
    assert nodes(cdse, "sar_backscatter")[0]["coefficient"] == "sigma0-ellipsoid"
    assert not nodes(terrascope, "sar_backscatter")
    assert nodes(terrascope, "load_collection")[0]["id"] == "TERRASCOPE_S1_GAMMA0_V1"


def test_a_download_of_both_passes_tells_them_by_its_bands():
    cdse, terrascope = (download_graph(b, "s1", BBOX, **APRIL) for b in ("cdse", "terrascope"))
    conditions = [load["properties"]["sat:orbit_state"]["process_graph"] for load in nodes(cdse, "load_collection")]
    assert [next(iter(c.values()))["arguments"]["y"] for c in conditions] == ["ASCENDING", "DESCENDING"]
    labels = [node["target"] for node in nodes(cdse, "rename_labels")]
    assert labels == [["ASCENDING_VV", "ASCENDING_VH"], ["DESCENDING_VV", "DESCENDING_VH"]]
    assert len(nodes(cdse, "merge_cubes")) == 1
    assert not nodes(terrascope, "rename_labels") and "properties" not in nodes(terrascope, "load_collection")[0]


def test_coarse_graph_changes_from_proba_v_to_its_successor():
    def collections(start: str, end: str) -> list[str]:
        days = (datetime.date.fromisoformat(start), datetime.date.fromisoformat(end))
        return sorted(
            load["id"] for load in nodes(download_graph("terrascope", "coarse", BBOX, *days), "load_collection")
        )

    assert collections("2019-01-01", "2019-12-31") == ["PROBAV_L3_S10_TOC_333M"]
    assert collections("2021-01-01", "2021-12-31") == ["CGLS_NDVI300_V2_GLOBAL"]
    assert collections("2020-01-01", "2020-12-31") == ["CGLS_NDVI300_V2_GLOBAL", "PROBAV_L3_S10_TOC_333M"]
    (load,) = nodes(download_graph("cdse", "coarse", BBOX, **APRIL), "load_collection")
    assert load["spatial_extent"]["west"] < 5.0 - 0.008  # neighbours for the interpolation at the edge


@pytest.fixture
def recorded(tmp_path):
    folder = tmp_path / "recorded"
    folder.mkdir()
    cdse_like(folder)
    coarse_file(folder / "coarse.nc", np.full((3, 4, 4), 145, np.uint8), first="2023-04-01")
    return Backend({"s2": folder / "sentinel2.nc", "s1": folder / "sentinel1.nc", "coarse": folder / "coarse.nc"})


def source(folder: Path, backend: Backend, **changes: object) -> OpenEOSource:
    told = {
        "areas": {"field": BBOX},
        **APRIL,
        "folder": folder / "jobs",
        "url": backend.url,
        "login": "none",
        "poll_s": 0.05,
    }
    return OpenEOSource(**{**told, **changes})


def test_jobs_are_run_downloaded_and_become_a_cube(recorded, tmp_path):
    with serve(recorded) as backend:
        raw = source(tmp_path, backend).load()
        assert len(backend.jobs) == 3
        cube = build_cube(raw, PrepareSettings(optical=OpticalSettings(mask="none")))
        assert list(cube.bands.values) == ["S2NDVI", "VV", "VH", "COARSE_NDVI"]
        assert float(cube.sel(bands="COARSE_NDVI").max()) == pytest.approx(0.5)
        assert -30 < float(cube.sel(bands="VV").median()) < 15
        assert (tmp_path / "jobs" / "field" / "s2" / "job.json").is_file()
        source(tmp_path, backend).load()  # nothing is asked for twice
        assert len(backend.jobs) == 3


def test_a_failed_job_is_named_the_rest_is_kept_and_a_second_run_retries_only_it(recorded, tmp_path):
    with serve(recorded) as backend:
        backend.failing = {"s1"}
        with pytest.raises(SourceError, match=r"field s1: .*no space for 2021-13-45"):
            source(tmp_path, backend).load()
        assert sorted(p.name for p in (tmp_path / "jobs" / "field").iterdir()) == ["coarse", "s2"]
        raw = source(tmp_path, backend, on_error="skip").load()
        assert raw.s1 is None and "s1 was not downloaded" in raw.notes
        backend.failing = set()
        assert source(tmp_path, backend).load().s1 is not None
        assert [job["sensor"] for job in backend.jobs.values()].count("s2") == 1


def test_a_partial_download_leaves_nothing_and_is_fetched_again_without_a_new_job(recorded, tmp_path):
    with serve(recorded) as backend:
        backend.cut_short = {"s2"}
        with pytest.raises(SourceError, match=r"field s2: .*download failed"):
            source(tmp_path, backend).load()
        left = {p.name for p in (tmp_path / "jobs" / "field").iterdir()}
        assert left == {"coarse", "s1"}
        backend.cut_short = set()
        assert source(tmp_path, backend).load().s2.sizes["t"] == 4
        assert len(backend.jobs) == 3


def test_an_expired_login_stops_at_once_and_says_what_to_do(recorded, tmp_path):
    with serve(recorded) as backend:
        settings = source(tmp_path, backend, login="oidc")
        import openeo

        connection = openeo.connect(backend.url)
        backend.logged_in = False
        with pytest.raises(SourceError, match="has expired; log in with"):
            fetch(settings, connect=lambda: connection)
        backend.logged_in = True
        assert fetch(settings, connect=lambda: connection) == {}


def test_a_login_that_ends_in_the_middle_keeps_what_was_done(recorded, tmp_path):
    """The token runs out after the first job was started: the run stops, the next one goes on where it stood."""
    import openeo

    with serve(recorded) as backend:
        settings = source(tmp_path, backend, login="oidc", parallel_jobs=1)
        connection = openeo.connect(backend.url)
        backend.login_ends_after_jobs = 1
        with pytest.raises(SourceError, match=r"has expired; log in with `openeo-auth oidc-auth http://127"):
            fetch(settings, connect=lambda: connection)
        assert len(backend.jobs) == 1 and (tmp_path / "jobs" / "jobs.csv").is_file()
        backend.logged_in = True
        assert fetch(settings, connect=lambda: connection) == {}
        assert [job["sensor"] for job in backend.jobs.values()] == ["s2", "s1", "coarse"]  # none was started twice


def test_a_back_end_without_data_for_the_area_is_named(recorded, tmp_path):
    with serve(recorded) as backend:
        backend.empty = {"coarse"}
        with pytest.raises(SourceError, match=r"field coarse: .*no result file.*no data"):
            source(tmp_path, backend).load()
        assert sorted(p.name for p in (tmp_path / "jobs" / "field").iterdir()) == ["s1", "s2"]
        raw = source(tmp_path, backend, on_error="skip").load()
        assert raw.coarse is None and raw.s1 is not None and "coarse was not downloaded" in raw.notes


def test_a_damaged_job_table_is_set_aside_and_downloads_are_kept(recorded, tmp_path):
    with serve(recorded) as backend:
        source(tmp_path, backend, sensors=("s2", "s1")).load()
        (tmp_path / "jobs" / "jobs.csv").write_bytes(b"")  # as a full disk or a kill while it is written may leave it
        assert source(tmp_path, backend).load().coarse is not None
        assert [job["sensor"] for job in backend.jobs.values()] == ["s2", "s1", "coarse"]
        assert (tmp_path / "jobs" / "jobs.csv.damaged").is_file()


def test_new_areas_join_the_old_ones(recorded, tmp_path):
    with serve(recorded) as backend:
        first = source(tmp_path, backend, sensors=("s2",))
        first.load()
        both = source(tmp_path, backend, sensors=("s2",), areas={"field": BBOX, "wood": BBOX})
        assert [name for name, _ in both.downloaded()] == ["field", "wood"]
        assert len(backend.jobs) == 2
        with pytest.raises(SourceError, match="2 areas"):
            both.load()


def test_no_back_end_and_bad_settings(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda *_: None)  # the client tries for half a minute
    unreachable = Backend({})
    unreachable.url = "http://127.0.0.1:9"
    with pytest.raises(SourceError, match="cannot connect"):
        source(tmp_path, unreachable).load()
    for changes, word in (
        ({"areas": {"a/b": BBOX}}, "letters"),
        ({"areas": {"a": (5.1, 51.0, 5.0, 51.2)}}, "west < east"),
        ({"sensors": ("s1",)}, "required"),
        ({"password": "x"}, "password"),
    ):
        with pytest.raises(ValidationError, match=word):
            source(tmp_path, unreachable, **changes)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL, reason="NDVI_FUSION_REAL_DATA is not set")
def test_files_that_cdse_really_delivered(tmp_path):
    folder = Path(REAL) / "cdse_april_2023"
    recorded = Backend({"s2": folder / "sentinel2_l2a.nc", "s1": folder / "sentinel1_grd.nc"})
    with serve(recorded) as backend:
        raw = source(tmp_path, backend, sensors=("s2", "s1")).load()
    assert raw.s2.sizes["t"] == 12 and raw.s1.sizes["t"] == 10
    assert -14 < float(build_cube(raw).sel(bands="VV").median()) < -8
