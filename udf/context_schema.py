"""JSON Schema of context v1, made from the table of the UDFs and the descriptions of its keys."""

import json

from udf.context import KEYS, ROLES

DATE_PATTERN = r"^\d{4}(-\d{2}(-\d{2}([T ].*)?)?)?$"
SCHEMA_FILE = "context_v1.schema.json"
_TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}

DESCRIPTIONS = {
    "version": "version of this context",
    "model_dir": "folder that holds model.onnx and manifest.json: the #name of the model archive, or a path",
    "model_sha256": "SHA-256 of model.onnx that the caller expects; null checks the manifest's only",
    "deps_dir": "folder with onnxruntime unpacked: the #name of the dependency archive; null: onnxruntime is installed",
    "bands": "role -> label of the cube's bands, for cubes with other labels than the roles",
    "band_order": "roles in the order of the cube's bands, for cubes that arrive without labels",
    "start": "first date of the fused series: YYYY-MM-DD, or the first of a month YYYY-MM or year YYYY",
    "end": "last date of the fused series: YYYY-MM-DD, or the last of a month YYYY-MM or year YYYY",
    "temporal_extent": "instead of start and end: first date and the day after the last, as in openEO",
    "step_days": "days between two dates of the fused series",
    "s1_units": "units of VV and VH; needed when the cube holds radar",
    "latitude": "degrees north of the area: gives the network the season (from 45 degrees on); null: season unknown",
    "spatial_extent": "instead of latitude: GeoJSON of the area in longitude and latitude",
    "ndvi_scale": "factor that turns the cube's S2NDVI into NDVI",
    "ndvi_offset": "added after the factor, S2NDVI",
    "coarse_scale": "factor that turns the cube's COARSE_NDVI into NDVI (PROBA-V digital numbers: 0.004)",
    "coarse_offset": "added after the factor, COARSE_NDVI (PROBA-V digital numbers: -0.08)",
    "min_observations": "clear Sentinel-2 observations that a pixel needs",
    "insufficient": "pixels with fewer observations than min_observations: nan = no data, keep = the model's estimate, "
    "error = stop",
    "sigma": "standard deviation of one observation or of the NDVI itself",
    "counts": "fusion: add the band OBS_COUNT, from which the phenology UDF gets QFLAG, counts and gaps",
    "lead_days": "days by which the fused series begins before start, so that seasons that start earlier are whole",
    "window_px": "size of apply_neighborhood; of chunks of window_px + 2 * overlap_px the inner pixels are computed",
    "overlap_px": "overlap of apply_neighborhood, which the back-end cuts off",
    "threads": "onnxruntime threads of one call; back-ends give one core per task",
    "method": "phenology: method of the season dates; 'reference' gives the two dates of the original workflow",
    "output": "phenology: season maps, the smoothed series, or the fused series as it came",
    "phenology": "options of the season extraction, by name",
    "smoothing": "options of the smoother, by name",
}


def context_schema() -> dict:
    """The JSON Schema (draft 2020-12) of context v1."""
    properties = {}
    for key, (types, default, allowed) in KEYS.items():
        names = sorted({_TYPES[t] for t in types} - ({"integer"} if float in types else set()))
        entry: dict = {
            "description": DESCRIPTIONS[key],
            "type": names[0] if len(names) == 1 else names,
            "default": default,
        }
        if allowed == "date":
            entry["pattern"] = DATE_PATTERN
        elif isinstance(allowed, tuple) and isinstance(allowed[0], str):
            entry["enum"] = [*allowed, None] if type(None) in types else list(allowed)
        elif isinstance(allowed, tuple):
            bounds = ("const",) if len(allowed) == 1 else ("minimum", "maximum")
            entry |= dict(zip(bounds, allowed, strict=True))
        properties[key] = entry
    properties["temporal_extent"] |= {
        "items": {"type": "string", "pattern": DATE_PATTERN},
        "minItems": 2,
        "maxItems": 2,
    }
    properties["bands"] |= {"propertyNames": {"enum": list(ROLES)}, "additionalProperties": {"type": "string"}}
    properties["band_order"] |= {"items": {"enum": list(ROLES)}, "uniqueItems": True}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ndvi-fusion UDF context, version 1",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def schema_text() -> str:
    """The schema as JSON text, as in ``udf/context_v1.schema.json``."""
    return json.dumps(context_schema(), indent=2) + "\n"
