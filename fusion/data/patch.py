"""A training patch and its packing: observations and truth to int16 frames plus JSON attributes, and back."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusion.contract import PACK_NODATA, PACK_SCALE
from fusion.data.settings import SPLITS
from fusion.features.observations import Observations

RADAR_PACK_SCALE = 0.002  # dB per digital number: +-65 dB in int16, far finer than the noise of any radar acquisition
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,180}")
# name of a layer -> scale of its digital numbers (0: whole numbers, kept as they are)
_LAYERS = {
    "s2_ndvi": PACK_SCALE,
    "vv_db": RADAR_PACK_SCALE,
    "vh_db": RADAR_PACK_SCALE,
    "coarse_ndvi": PACK_SCALE,
    "truth": PACK_SCALE,
    "suspect": 0.0,
    "cover": 0.0,
    "parcel": 0.0,
}


class StoreError(ValueError):
    """The store or one of its patches cannot be used; the message names it, the value seen, and the fix."""


@dataclass(frozen=True)
class Patch:
    """One training window: the observations of the three sensors, and the truth where it is simulated.

    ``truth_days`` int64 (n,) days since 1970 and ``truth`` float32 (n, H, W) clean NDVI; None on real data.
    ``cover``, ``parcel`` int16 (H, W) and ``suspect`` bool (n_s2, H, W): from the simulator, else None.
    ``extra`` holds plain JSON facts (crs, bounds, row, column, source, seed).
    """

    observations: Observations
    split: str
    site: str
    year: int
    key: str
    truth_days: np.ndarray | None = None
    truth: np.ndarray | None = None
    suspect: np.ndarray | None = None
    cover: np.ndarray | None = None
    parcel: np.ndarray | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def check_patch(patch: Patch) -> None:
    """Refuse a patch that cannot be stored: bad key or split, no observation, truth without days."""
    if not _KEY.fullmatch(patch.key):
        raise StoreError(f"patch key is {patch.key!r}; expected letters, digits, '.', '_' and '-' only")
    if patch.split not in SPLITS:
        raise StoreError(f"split of patch {patch.key} is {patch.split!r}; expected one of {SPLITS}")
    if patch.observations.s2_ndvi.size == 0:
        raise StoreError(f"patch {patch.key} holds no Sentinel-2 observation; drop such windows before writing")
    if (patch.truth is None) != (patch.truth_days is None):
        raise StoreError(f"patch {patch.key} has truth without days or days without truth; give both or neither")


def _layers(patch: Patch) -> dict[str, np.ndarray]:
    found = {name: getattr(patch.observations, name) for name in ("s2_ndvi", "vv_db", "vh_db", "coarse_ndvi")}
    found |= {name: getattr(patch, name) for name in ("truth", "suspect") if getattr(patch, name) is not None}
    found |= {name: getattr(patch, name)[None] for name in ("cover", "parcel") if getattr(patch, name) is not None}
    shape = patch.observations.shape
    for name, values in found.items():
        if values.ndim != 3 or values.shape[1:] != shape:
            expected = f"(n, {shape[0]}, {shape[1]})"
            raise StoreError(f"layer {name} of patch {patch.key} has shape {values.shape}; expected {expected}")
    return found


def pack(patch: Patch) -> tuple[np.ndarray, dict[str, Any]]:
    """Frames int16 (n, H, W) and JSON attributes that describe them and hold the content hash."""
    layers = _layers(patch)
    frames = np.concatenate([_encode(values, name, patch.key) for name, values in layers.items()])
    observations = patch.observations
    days = {f"{s}_days": getattr(observations, f"{s}_days").tolist() for s in ("s2", "s1", "coarse")}
    if patch.truth_days is not None:
        days["truth_days"] = np.asarray(patch.truth_days).tolist()
    attributes: dict[str, Any] = {
        "key": patch.key,
        "split": patch.split,
        "site": patch.site,
        "year": int(patch.year),
        "shape": [int(n) for n in observations.shape],
        "layers": [[name, int(values.shape[0])] for name, values in layers.items()],
        "days": days,
        "extra": patch.extra,
    }
    if observations.latitude is not None:
        attributes["latitude"] = observations.latitude
    return frames, attributes | {"sha256": content_hash(frames, attributes)}


def _encode(values: np.ndarray, name: str, key: str) -> np.ndarray:
    scale = _LAYERS[name]
    if scale == 0.0:
        if values.size and (values.min() <= PACK_NODATA or values.max() > 32767):
            raise StoreError(f"layer {name} of patch {key} spans {values.min()}..{values.max()}; int16 expected")
        return values.astype(np.int16)
    scaled = np.rint(values / np.float32(scale))
    finite = np.isfinite(scaled)
    if name in ("vv_db", "vh_db"):  # below -65 dB is only numerical noise of a power near zero
        scaled = np.clip(scaled, -32767, 32767)
    if finite.any() and np.abs(scaled[finite]).max() > 32767:
        seen, limit = np.nanmax(np.abs(values)), 32767 * scale
        raise StoreError(f"layer {name} of patch {key} reaches {seen:.4g}; at most {limit:.4g} fits the packing")
    return np.where(finite, scaled, PACK_NODATA).astype(np.int16)


def _decode(numbers: np.ndarray, name: str) -> np.ndarray:
    scale = _LAYERS[name]
    if scale == 0.0:
        return numbers.astype(bool) if name == "suspect" else numbers
    values = numbers.astype(np.float32) * np.float32(scale)
    values[numbers == PACK_NODATA] = np.nan
    return values


def unpack(frames: np.ndarray, attributes: dict[str, Any]) -> Patch:
    """The inverse of :func:`pack`, up to the packing precision."""
    found: dict[str, np.ndarray] = {}
    start = 0
    for name, count in attributes["layers"]:
        found[name] = _decode(frames[start : start + count], name)
        start += count
    days = {name: np.asarray(values, np.int64) for name, values in attributes["days"].items()}
    observations = Observations(
        **{name: days[name] for name in ("s2_days", "s1_days", "coarse_days")},
        **{name: found[name] for name in ("s2_ndvi", "vv_db", "vh_db", "coarse_ndvi")},
        latitude=attributes.get("latitude"),
    )
    return Patch(
        observations=observations,
        truth_days=days.get("truth_days"),
        truth=found.get("truth"),
        suspect=found.get("suspect"),
        cover=found["cover"][0] if "cover" in found else None,
        parcel=found["parcel"][0] if "parcel" in found else None,
        **{name: attributes[name] for name in ("split", "site", "year", "key", "extra")},
    )


def content_hash(frames: np.ndarray, attributes: dict[str, Any]) -> str:
    """SHA-256 of the frames and of every attribute but the hash itself."""
    digest = hashlib.sha256(np.ascontiguousarray(frames).tobytes())
    hashed = {name: value for name, value in attributes.items() if name != "sha256"}
    digest.update(json.dumps(hashed, sort_keys=True).encode())
    return digest.hexdigest()
