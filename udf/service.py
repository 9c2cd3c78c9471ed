"""The service folder of ESA's APEx algorithm catalogue: records of service, provider and platform, process, scenario.

``algorithm_catalog/<provider>/record.json``, ``algorithm_catalog/<provider>/<id>/{records,openeo_udp,
benchmark_scenarios}/<id>.json`` and ``platform_catalog/<platform>.json``, with relative links between them.
"""

from pathlib import Path
from typing import Any

from fusion.whole_file import whole_file, write_json
from udf.cost import StatedCost
from udf.publish import PublishedProcess
from udf.reference import TOLERANCES
from udf.settings import PLACEHOLDER, ServiceSettings
from udf.targets import TargetSettings
from udf.thumbnail import THUMBNAIL

# the service's own versions, newest first: (version, date, what changed for those who call it)
CHANGES = (
    (
        "1.0.0",
        "2026-11-28",
        (
            "Parameters `spatial_extent` and `temporal_extent` (its end excluded) instead of `area`, `start`, `end`; "
            "`latitude` is taken from the area.",
            "Output `fused` (NDVI and its standard deviation) beside `smoothed` and `seasons`.",
        ),
    ),
    ("0.1.0", "2026-11-23", ("First version: season maps and the smoothed series.",)),
)
CONFORMS = "https://www.opengis.net/spec/ogcapi-records-1/1.0/req/record-core"
KEYWORDS = ("Sentinel-1", "Sentinel-2", "Vegetation", "Normalized Difference Vegetation Index (NDVI)", "Agriculture")
THEMES = [
    {
        "concepts": [{"id": "Normalised vegetation difference index (NDVI)"}, {"id": "Plant phenology"}],
        "scheme": "https://gcmd.earthdata.nasa.gov/kms/concepts/concept_scheme/sciencekeywords",
    }
]
LANGUAGE = {"code": "en-GB", "name": "English (United Kingdom)"}


def refuse_placeholders(service: ServiceSettings) -> None:
    """Refuse to publish a service whose provider has not been filled in.

    Raises
    ------
    ValueError
        Names every such setting.
    """
    left = [f"service.{name}" for name, value in service if value == PLACEHOLDER]
    if left:
        raise ValueError(f"{', '.join(left)}: {PLACEHOLDER!r} cannot be published; set {left[0]}=VALUE, and so on")
    for name in ("website", "logo_light", "logo_dark", "code", "reference"):
        value = getattr(service, name)
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError(f"service.{name} is {value!r}; expected a URL that begins with https://")
    if not service.provider.replace("-", "").replace("_", "").isalnum():
        raise ValueError(
            f"service.provider is {service.provider!r}; expected letters, digits, - and _, as a folder name"
        )


def write_service(
    folder: Path, process: PublishedProcess, target: TargetSettings, service: ServiceSettings, base_url: str,
    archives_url: str, example: dict[str, Any], cost: StatedCost | None = None,
) -> list[Path]:  # fmt: skip
    """Write the service folder below ``folder``; ``base_url`` is the raw URL of the repository at a commit.

    ``example``: arguments of the benchmark scenario. The package at ``archives_url`` holds the thumbnail. ``cost`` is
    what the record states.
    """
    refuse_placeholders(service)
    name = process.id
    root = folder / "algorithm_catalog" / service.provider
    raw = f"{base_url.rstrip('/')}/algorithm_catalog/{service.provider}/{name}"
    content = {
        root / name / f"openeo_udp/{name}.json": process.definition,
        root / name / f"records/{name}.json": service_record(process, target, service, raw, archives_url, cost),
        root / name / f"benchmark_scenarios/{name}.json": [benchmark_scenario(process, target, service, raw, example)],
        root / "record.json": provider_record(service),
        folder / "platform_catalog" / f"{target.platform}.json": platform_record(target, service),
    }
    written = [write_json(path, value) for path, value in content.items()]
    changes = root / name / "CHANGELOG.md"
    with whole_file(changes) as partial:
        partial.write_text(changelog(), encoding="utf-8", newline="\n")
    return [*written, changes]


def changelog() -> str:
    """Changes of the service as Markdown; versions follow semantic versioning."""
    parts = [f"## {version} ({day})\n\n" + "\n".join(f"- {line}" for line in lines) for version, day, lines in CHANGES]
    return "# Changelog\n\n" + "\n\n".join(parts) + "\n"


def service_record(
    process: PublishedProcess, target: TargetSettings, service: ServiceSettings, raw: str, archives_url: str,
    cost: StatedCost | None = None,
) -> dict[str, Any]:  # fmt: skip
    """OGC API record of the service; ``raw`` is the URL of its folder, ``archives_url`` that of the package."""
    name = process.id
    stated = {} if cost is None else {
        "cost_estimate": cost.credits_per_km2, "cost_unit": "platform credits per km²"
    }  # fmt: skip
    about = [process.definition["description"], *([cost.basis] if cost else []), f"Version {CHANGES[0][0]}."]
    properties = {
        **_dates(), "type": "service", "title": "NDVI fusion and season maps",
        "description": " ".join(about), **stated,
        "keywords": list(KEYWORDS), "language": LANGUAGE, "languages": [LANGUAGE], "contacts": _contacts(service),
        "themes": THEMES, "formats": [{"name": "GeoTIFF"}, {"name": "netCDF"}], "license": "Apache-2.0",
    }  # fmt: skip
    process_url = f"{raw}/openeo_udp/{name}.json"
    links = [
        ("application", "application/vnd.openeo+json;type=process", "openEO process definition", process_url),
        ("service", "application/json", target.name, target.connection),
        ("platform", "application/json", target.name, f"../../../../platform_catalog/{target.platform}.json"),
        ("provider", "application/json", service.organization, "../../record.json"),
        ("about", "text/html", "Documentation", service.code),
        ("code", "text/html", "Source code", service.code),
        ("thumbnail", "image/png", "Thumbnail", f"{archives_url.rstrip('/')}/{THUMBNAIL}"),
    ]
    return _record(name, properties, links, "https://apex.esa.int/core/openeo-udp") | {"linkTemplates": []}


def provider_record(service: ServiceSettings) -> dict[str, Any]:
    """Record of the provider."""
    properties = {
        **_dates(), "type": "algorithm_provider", "title": service.organization,
        "description": f"{service.organization}, provider of algorithms.",
        "contacts": _contacts(service, "website")[-1:], "themes": THEMES, "acl": {"admin": []},
    }  # fmt: skip
    return _record(service.provider, properties, _logos(service))


def platform_record(target: TargetSettings, service: ServiceSettings) -> dict[str, Any]:
    """Record of the platform, so that the folder is complete; leave it out where the catalogue has one."""
    assert target.platform is not None
    properties = {
        **_dates(), "type": "openeo_backend", "title": target.name, "description": f"openEO at {target.connection}.",
        "contacts": _contacts(service, "website")[-1:], "themes": THEMES,
    }  # fmt: skip
    return _record(target.platform, properties, [*_logos(service), ("website", "text/html", "API", target.connection)])


def benchmark_scenario(
    process: PublishedProcess, target: TargetSettings, service: ServiceSettings, raw: str, example: dict[str, Any]
) -> dict[str, Any]:
    """A call of the published process by its URL, with save_result.

    ``reference_data`` is the accepted result of an earlier run there; without one the catalogue compares nothing.
    """
    name = process.id
    reference = {} if service.reference is None else {"reference_data": {"openEO.nc": service.reference}}
    return {
        "id": name,
        "type": "openeo",
        "description": "One field and one year of season maps.",
        "backend": (target.connection or "").removeprefix("https://"),
        "process_graph": {
            name: {"process_id": name, "namespace": f"{raw}/openeo_udp/{name}.json", "arguments": example},
            "save": {
                "process_id": "save_result",
                "arguments": {"data": {"from_node": name}, "format": "NetCDF"},
                "result": True,
            },
        },
        "job_options": process.definition.get("default_job_options", {}),
        **reference,
        "reference_options": {"rtol": TOLERANCES["relative"], "atol": TOLERANCES["days"]},
    }


def _record(
    name: str, properties: dict[str, Any], links: list[tuple[str, str, str, str | None]], *classes: str
) -> dict[str, Any]:
    keys = ("rel", "type", "title", "href")
    return {
        "id": name,
        "type": "Feature",
        "conformsTo": [CONFORMS, *classes],
        "geometry": None,
        "properties": properties,
        "links": [dict(zip(keys, link, strict=True)) for link in links],
    }


def _dates() -> dict[str, str]:
    return {"created": f"{CHANGES[-1][1]}T00:00:00Z", "updated": f"{CHANGES[0][1]}T00:00:00Z"}


def _contacts(service: ServiceSettings, relation: str = "about") -> list[dict[str, Any]]:
    about = {
        "links": [{"href": service.website, "title": service.organization, "rel": relation, "type": "text/html"}],
        "contactInstructions": service.instructions,
    }
    person = {"name": service.investigator, "organization": service.organization, "roles": ["principal investigator"]}
    return [person | about, {"name": service.organization, "roles": ["service provider", "processor"]} | about]


def _logos(service: ServiceSettings) -> list[tuple[str, str, str, str | None]]:
    return [
        ("logo-light", "image/png", "Logo on a light background", service.logo_light),
        ("logo-dark", "image/png", "Logo on a dark background", service.logo_dark),
        ("website", "text/html", service.organization, service.website),
    ]
