"""Which Python objects settings may name (``_target_``): those of this project, unless the user allows any."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

ALLOW_VARIABLE = "NDVI_FUSION_FOREIGN_CODE"
TARGETS = frozenset(
    {
        "data_prep.cube.PrepareSettings",
        "data_prep.cube.open_cube",
        "data_prep.simulator.stream.SimulatedScenes",
        "fusion.data.ndvi_files.open_ndvi",
        "fusion.data.store.PatchStore.open",
    }
)


def is_allowed() -> bool:
    """Whether the user trusts the settings like code."""
    return os.environ.get(ALLOW_VARIABLE, "") not in ("", "0")


def foreign_code(values: Mapping[str, Any], overrides: list[str]) -> str | None:
    """What the settings would run that is not in :data:`TARGETS`, as a sentence; None where there is nothing.

    A search path of Hydra is foreign too: it imports the packages that it names.
    """
    if is_allowed():
        return None
    advice = f"; set {ALLOW_VARIABLE}=1 where you trust these settings like a program of your own"
    for text in overrides:
        if text.lstrip("+~").partition("=")[0].replace("/", ".").split(".")[0] == "hydra":
            return f"{text.partition('=')[0]}: settings of Hydra itself are not taken{advice}"
    for key, target in _targets(values, ""):
        if target not in TARGETS:
            return f"{key}: {target!r} is not one of {', '.join(sorted(TARGETS))}{advice}"
    return None


def _targets(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Dotted key and value of every ``_target_``, at any depth."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name == "_target_":
                yield f"{key}{name}", str(inner)
            else:
                yield from _targets(inner, f"{key}{name}.")
    elif isinstance(value, list | tuple):
        for k, inner in enumerate(value):
            yield from _targets(inner, f"{key}{k}.")
