"""Several runs of one command (``-m``): settings with several values, in Hydra's sweep syntax, multiplied out."""

import re
from itertools import product
from pathlib import Path

from fusion.cli.settings import SettingsError

_NOT_IN_NAMES = re.compile(r"[^\w.,=+-]+")


def jobs(overrides: list[str]) -> list[tuple[str, list[str]]]:
    """(label, overrides) of every run; each has an ``out`` of its own below or beside the given one.

    ``out=sweep seed=1,2`` runs into ``sweep/seed=1`` and ``sweep/seed=2``; ``out=a.nc`` gives ``a/seed=1.nc``.

    Raises
    ------
    SettingsError
        No setting has several values, or ``out`` is missing.
    """
    fixed, swept = [], []
    out = ""
    for text in overrides:
        values = _values(text)
        key = text.partition("=")[0]
        if key == "out":
            out = text.partition("=")[2]
        elif values:
            swept.append([f"{key}={value}" for value in values])
        else:
            fixed.append(text)
    if not swept:
        raise SettingsError("-m runs several values of a setting, but none has; write seed=1,2 or seed=range(1,3)")
    if not out:
        raise SettingsError("out: no value given; -m needs out=FOLDER, in which every run gets a folder of its own")
    found = []
    for chosen in product(*swept):
        label = _NOT_IN_NAMES.sub("_", ",".join(chosen))
        path = Path(out)
        own = path.with_suffix("") / f"{label}{path.suffix}" if path.suffix else path / label
        found.append((", ".join(chosen), [*fixed, *chosen, f"out={own}"]))
    return found


def _values(text: str) -> list[str]:
    """The values of a sweep; empty for a single value."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    try:
        override = OverridesParser.create().parse_override(text)
    except OverrideParseException:
        return []
    return list(override.sweep_string_iterator()) if override.is_sweep_override() else []
