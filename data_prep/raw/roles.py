"""Roles of bands: one table of the band names that archives use."""

import re

# role -> pattern of the whole upper-case name; prefixes such as "S2-L2A-" or "TOC-" and suffixes "_10M" are accepted
_PREFIX = r"(?:.*[-_. ])?"
_SUFFIX = r"(?:[-_. ]\d+M)?"
_OTHER_RADAR = re.compile(r"BETA|AMPLITUDE|V[VH][-_./ ]V[VH]")  # uncalibrated, or a ratio of both bands
_ROLES = {
    "B04": r"B0?4|RED",
    "B08": r"B0?8|NIR",
    "SCL": r"SCL|SCENECLASSIFICATION|SCENE_CLASSIFICATION",
    "VV": r"VV(?:[-_. ]DB)?",
    "VH": r"VH(?:[-_. ]DB)?",
    # Copernicus Global Land names its GeoTIFFs c_gls_NDVI300-NDVI_<date>_GLOBE_OLCI_V3.0.1
    "NDVI": r"NDVI(?:300|1K)?(?:_+GLOBE_[A-Z0-9-]+_V\d[\d.]*)?(?:_COG)?|NDVI_UNFILTERED",
    "STATUS": r"SM|STATUS|STATUS_MAP",
}
_PATTERNS = {role: re.compile(rf"{_PREFIX}(?:{names}){_SUFFIX}") for role, names in _ROLES.items()}
_COEFFICIENTS = {
    f"{name}0": re.compile(rf"(?:^|[^a-z]){name}(?:[-_ ]?(?:0|nought|naught))?(?![a-z])", re.IGNORECASE)
    for name in ("sigma", "gamma")
}
COARSE_MIN_PIXEL_M = 90.0  # smallest pixel size of a coarse NDVI band; finer NDVI bands derive from S2


def role_of(name: str, pixel_m: float) -> str | None:
    """Role of a band (B04, B08, SCL, VV, VH, NDVI, STATUS), or None; ``pixel_m`` is its pixel size in metres.

    >>> role_of("TOC-B04_10M", 10.0), role_of("S2-L2A-B08", 10.0), role_of("B8A", 20.0), role_of("VH_VV", 10.0)
    ('B04', 'B08', None, None)
    """
    upper = name.upper()
    if _OTHER_RADAR.search(upper):
        return None
    for role, pattern in _PATTERNS.items():
        if pattern.fullmatch(upper):
            if role in ("NDVI", "STATUS") and pixel_m < COARSE_MIN_PIXEL_M:
                return None
            return role
    return None


def coefficient_of(text: str) -> str | None:
    """The backscatter coefficient that a name tells: "sigma0", "gamma0", or None.

    >>> coefficient_of("Gamma0_VV_db"), coefficient_of("sigma0_VH"), coefficient_of("VV")
    ('gamma0', 'sigma0', None)
    """
    found = [name for name, pattern in _COEFFICIENTS.items() if pattern.search(text)]
    return found[0] if len(found) == 1 else None


def may_play(name: str) -> bool:
    """Whether a band of this name has a role at some pixel size."""
    return role_of(name, float("inf")) is not None
