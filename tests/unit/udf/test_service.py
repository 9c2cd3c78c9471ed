"""The service folder of the APEx catalogue: valid by its schemas, linked within, and never with placeholders."""

import json
import os
from pathlib import Path

import jsonschema
import pytest

from udf.commands.workflow import WorkflowSettings, run
from udf.cost import Probe
from udf.publish import build_process
from udf.season_chunk import season_bands
from udf.service import CHANGES, PLACEHOLDER, ServiceSettings, changelog
from udf.settings import PriceSettings
from udf.targets import load_target

SERVICE = {
    "provider": "my-institute",
    "organization": "My Institute",
    "website": "https://example.org",
    "investigator": "A. Person",
    "logo_light": "https://example.org/light.png",
    "logo_dark": "https://example.org/dark.png",
    "cost_km2": 4.0,
    "reference": "https://example.org/openEO.nc",
}
KINDS = ("record", "provider", "platform", "benchmark_scenario")
TARGETS = ("cdse", "terrascope")
REAL_DATA = os.environ.get("NDVI_FUSION_REAL_DATA")


@pytest.fixture(autouse=True)
def known_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No UDF is timed here: a millisecond per pixel."""
    monkeypatch.setattr("udf.cost.probe_seconds", lambda *_: Probe(1e-3, 0.0, 0))


def written(out: Path, target: str = "cdse", **changes: object) -> Path:
    """The service folder as the command writes it."""
    given = {
        "target": load_target(target), "out": out, "archives_url": "https://x.org/p", "start": "2021", "end": "2021",
        "service_url": "https://raw.example.org/commit", "service": ServiceSettings(**SERVICE), **changes,
    }  # fmt: skip
    run(WorkflowSettings(**given))
    return out / "service"


def files(service: Path, target: str = "cdse") -> dict[str, Path]:
    """Kind of content -> its file."""
    provider = service / "algorithm_catalog" / "my-institute"
    own = provider / "ndvi_fusion"
    return {
        "record": own / "records" / "ndvi_fusion.json",
        "openeo_udp": own / "openeo_udp" / "ndvi_fusion.json",
        "benchmark_scenario": own / "benchmark_scenarios" / "ndvi_fusion.json",
        "provider": provider / "record.json",
        "platform": service / "platform_catalog" / f"{load_target(target).platform}.json",
    }


def schemas() -> dict[str, dict]:
    """The catalogue's schemas beside the real data."""
    if not REAL_DATA or not (Path(REAL_DATA) / "apex").is_dir():
        pytest.skip("the schemas of the APEx catalogue are not here: NDVI_FUSION_REAL_DATA names no folder with apex/")
    folder = Path(REAL_DATA) / "apex"
    return {kind: json.loads((folder / f"{kind}.schema.json").read_text(encoding="utf-8")) for kind in KINDS}


def errors(content: object, schema: dict) -> list[str]:
    """What the schema refuses."""
    return [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(content)]


@pytest.mark.parametrize("target", TARGETS)
def test_the_catalogue_accepts_every_file(target: str, tmp_path: Path) -> None:
    wanted = schemas()
    found = files(written(tmp_path, target), target)
    for kind in KINDS:
        content = json.loads(found[kind].read_text(encoding="utf-8"))
        for part in content if isinstance(content, list) else [content]:
            assert errors(part, wanted[kind]) == [], kind


def test_the_schemas_do_find_mistakes(tmp_path: Path) -> None:
    wanted = schemas()
    record = json.loads(files(written(tmp_path))["record"].read_text(encoding="utf-8"))
    del record["properties"]["created"]
    record["properties"]["keywords"] = ["phenology"]
    assert len(errors(record, wanted["record"])) == 2


def test_links_lead_to_files_of_the_folder(tmp_path: Path) -> None:
    """Names equal stems, relative links resolve, the record names the process by its address."""
    found = files(written(tmp_path))
    content = {kind: json.loads(path.read_text(encoding="utf-8")) for kind, path in found.items()}
    links = {link["rel"]: link["href"] for link in content["record"]["links"]}
    for kind in ("platform", "provider"):
        assert (found["record"].parent / links[kind]).resolve() == found[kind].resolve()
    address = "https://raw.example.org/commit/" + found["openeo_udp"].relative_to(tmp_path / "service").as_posix()
    assert links["application"] == address
    (scenario,) = content["benchmark_scenario"]
    call = scenario["process_graph"]["ndvi_fusion"]
    assert call["namespace"] == address
    assert call["arguments"]["temporal_extent"] == ["2021-01-01", "2022-01-01"]
    assert set(call["arguments"]) <= {p["name"] for p in content["openeo_udp"]["parameters"]}
    assert scenario["reference_data"] == {"openEO.nc": SERVICE["reference"]}
    assert content["record"]["id"] == content["openeo_udp"]["id"] == scenario["id"] == "ndvi_fusion"
    properties = content["record"]["properties"]
    assert properties["cost_unit"] == "platform credits per km²"
    assert properties["contacts"][0]["name"] == "A. Person"
    assert "principal investigator" in properties["contacts"][0]["roles"]


def test_no_cost_and_no_reference_are_left_out(tmp_path: Path) -> None:
    service = ServiceSettings(**{**SERVICE, "cost_km2": None, "reference": None})
    found = files(written(tmp_path, service=service))
    assert "cost_estimate" not in json.loads(found["record"].read_text())["properties"]
    assert "reference_data" not in json.loads(found["benchmark_scenario"].read_text())[0]


def test_cost_is_measured_and_follows_area_and_price(tmp_path: Path) -> None:
    """A job of 2 credits on 4 and 100 km2, and CPU hours at the stated price, memory included."""
    found = {}
    for km2, hour in ((4.0, 1.5), (100.0, 1.5), (100.0, 15.0)):
        service = ServiceSettings(**{**SERVICE, "cost_km2": km2})
        out = written(tmp_path / f"{km2:g}_{hour:g}", service=service, price=PriceSettings(cpu_hour=hour, gb_hour=0))
        properties = json.loads(files(out)["record"].read_text())["properties"]
        found[km2, hour] = properties["cost_estimate"]
        assert f"Cost of one year on {km2:g} km²" in properties["description"]
        assert f"at {hour:g} credits per CPU hour" in properties["description"]
    assert 0.5 < found[4.0, 1.5] < 0.52 + found[100.0, 1.5] * 4  # the job dominates
    ratio = (found[100.0, 15.0] - 0.02) / (found[100.0, 1.5] - 0.02)
    assert ratio == pytest.approx(10, rel=0.1)


def test_placeholders_and_what_is_no_url_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("provider", "organization", "website", "investigator", "logo_light", "logo_dark"):
        left = ServiceSettings(**{k: v for k, v in SERVICE.items() if k != name})
        with pytest.raises(ValueError, match=f"service.{name}: '{PLACEHOLDER}' cannot be published"):
            written(tmp_path / "out", service=left)
    with pytest.raises(ValueError, match="service.website is 'example.org'; expected a URL"):
        written(tmp_path / "out", service=ServiceSettings(**{**SERVICE, "website": "example.org"}))
    with pytest.raises(ValueError, match="expected a folder name|letters, digits"):
        written(tmp_path / "out", service=ServiceSettings(**{**SERVICE, "provider": "../up"}))
    assert not (tmp_path / "out").exists()


def test_changelog_has_versions_in_order(tmp_path: Path) -> None:
    versions = [tuple(map(int, version.split("."))) for version, _, _ in CHANGES]
    assert versions == sorted(versions, reverse=True) and all(len(v) == 3 for v in versions)
    days = [day for _, day, _ in CHANGES]
    assert days == sorted(days, reverse=True)
    text = (files(written(tmp_path))["record"].parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text == changelog() and f"## {CHANGES[0][0]} ({CHANGES[0][1]})" in text


def test_the_process_names_the_bands_that_the_udf_returns() -> None:
    told = build_process(load_target("cdse"), None).definition["returns"]["description"]
    for band in season_bands({}, []) or ():
        assert band in told
