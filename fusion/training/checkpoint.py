"""Trained generators as files that hold tensors and plain settings only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fusion.features.calibration import Calibration
from fusion.features.features import FEATURE_NAMES, FEATURE_VERSION
from fusion.model.generator import Generator
from fusion.training.settings import GeneratorSettings
from fusion.whole_file import whole_file

WEIGHTS_FORMAT = 1
SAME_MEANING = (2,)  # earlier feature versions: fewer channels, each computed as today
_PARTS: dict[str, Any] = {
    "features": list, "feature_version": int, "generator": dict, "calibration": dict | None, "record": dict,
    "state": dict,
}  # fmt: skip


def build_generator(settings: GeneratorSettings) -> Generator:
    """The generator that these settings describe, fed by the current features."""
    return Generator(len(FEATURE_NAMES), settings.width, tuple(settings.dilations), settings.spatial_every)


class WeightsError(ValueError):
    """A checkpoint cannot be used; the message gives the reason and the fix."""


@dataclass(frozen=True)
class TrainedGenerator:
    """Averaged weights with architecture, calibration tables (None if uncalibrated) and the record of the run."""

    generator: Generator
    settings: GeneratorSettings
    calibration: dict[str, list[float]] | None
    record: dict[str, Any]


def save_weights(file: Path, trained: TrainedGenerator) -> Path:
    """Write the weights; on an error no partial file is left."""
    content = {
        "format": WEIGHTS_FORMAT,
        "feature_version": FEATURE_VERSION,
        "features": list(FEATURE_NAMES),
        "generator": trained.settings.model_dump(mode="json"),
        "calibration": trained.calibration,
        "record": trained.record,
        "state": {k: v.detach().cpu().contiguous() for k, v in trained.generator.state_dict().items()},
    }
    with whole_file(file) as partial:
        torch.save(content, partial)
    return file


def load_weights(file: Path) -> TrainedGenerator:
    """Read weights; only tensors and plain settings are accepted.

    Raises
    ------
    WeightsError
        The file is missing, corrupted, of another format, or was trained on other features.
    """
    if not file.is_file():
        raise WeightsError(f"there is no checkpoint {file}; give the generator.pt of a training run")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a bad file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{file} cannot be read as tensors and plain settings ({reason}); it is damaged or not a generator.pt; "
            "train again or download it again"
        ) from error
    if not isinstance(content, dict) or content.get("format") != WEIGHTS_FORMAT:
        seen = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise WeightsError(f"{file} has format {seen!r}; expected {WEIGHTS_FORMAT}; give the generator.pt of a run")
    for name, kinds in _PARTS.items():
        if name not in content or not isinstance(content[name], kinds):
            seen = type(content[name]).__name__ if name in content else "missing"
            raise WeightsError(f"{file}: {name} is {seen}; expected {kinds}; give the generator.pt of a run")
    known, version = tuple(content["features"]), content["feature_version"]
    if version not in (FEATURE_VERSION, *SAME_MEANING) or not set(known) <= set(FEATURE_NAMES):
        raise WeightsError(
            f"{file} was trained on feature version {version} "
            f"({len(known)} features); this package computes version {FEATURE_VERSION} "
            f"({len(FEATURE_NAMES)}); train again or use the package version that made it"
        )
    try:
        settings = GeneratorSettings.model_validate(content["generator"])
        generator = build_generator(settings)
        generator.load_state_dict(with_all_features(content["state"], known))
        if content["calibration"] is not None:
            Calibration.from_tables(content["calibration"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{file} cannot be used ({reason}); train again or download it again") from error
    return TrainedGenerator(generator.eval(), settings, content["calibration"], content["record"])


def with_all_features(state: dict[str, torch.Tensor], known: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """The weights with all channels of ``FEATURE_NAMES``; those that they were not trained on have weight 0."""
    old = state["stem.weight"]
    stem = old.new_zeros(old.shape[0], len(FEATURE_NAMES), *old.shape[2:])
    stem[:, [FEATURE_NAMES.index(name) for name in known]] = old
    return {**state, "stem.weight": stem}
