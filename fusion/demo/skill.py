"""The accuracy of the demo on a real cube: leave-gap-out on this cube beside linear interpolation."""

import json
from pathlib import Path
from typing import Any

from fusion.contract import ContractError
from fusion.data.cube_files import read_cube, write_cube
from fusion.demo.chain import call

GAPS_DAYS = (10, 30)  # withheld days on each side of a scored date
CARD_DAYS = 10  # the gap of the key figure
SCORED_DATES = 12
SCORED_PX = 64  # of a larger cube, its middle is scored
MODEL, LINEAR = "model", "linear"


def score_cube(cube: Path, folder: Path, model: str | None) -> dict[str, Any]:
    """Score the model and linear interpolation at withheld observations of a cube.

    Returns
    -------
    dict
        ``dates`` and ``pixels`` scored, ``rows`` with ``method`` and a mean absolute error per gap, ``differences`` to
        linear with their bootstrap intervals; or ``not scored`` with the reason, where no date is clear enough.
    """
    whole = read_cube(cube, lazy=True)
    starts = {axis: max(0, (whole.sizes[axis] - SCORED_PX) // 2) for axis in ("y", "x")}
    middle = whole.isel({axis: slice(start, start + SCORED_PX) for axis, start in starts.items()})
    folder.mkdir(parents=True, exist_ok=True)
    part = write_cube(middle, folder / "scored_cube.nc", title="Merged cube, the part that is scored")
    settings = {
        "cube": part, "out": folder, "model": model or "shipped", "ablations": [], "baselines": [LINEAR],
        "leave_gap_out.gaps_days": GAPS_DAYS, "leave_gap_out.max_dates": SCORED_DATES, "figures": False,
        "tracking.enabled": False,
    }  # fmt: skip
    try:
        call("evaluate", settings)
    except ContractError as error:
        return {"not scored": str(error)}
    found = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    errors = {(row["predictor"], row["gap_days"]): row["mae"] for row in found["tables"]["by_gap"]}
    return {
        "dates": sum(len(dates) for dates in found["scored_dates"].values()),
        "pixels": middle.sizes["y"] * middle.sizes["x"],
        "rows": [{"method": m, **{_bin(g): errors[m, g] for g in GAPS_DAYS}} for m in (MODEL, LINEAR)],
        "differences": found["tables"]["against_linear"],
    }


def accuracy(scored: dict[str, Any]) -> dict[str, Any]:
    """The result of :func:`score_cube` as fields of the report's content: table, note and key figure."""
    if "not scored" in scored:
        return {"score_note": f"This cube could not be scored: {scored['not scored']}"}
    model, linear = (row[_bin(CARD_DAYS)] for row in scored["rows"])
    change = 100 * (model / linear - 1)
    (interval,) = (row for row in scored["differences"] if row["gap_days"] == CARD_DAYS)
    low, high = interval["low"], interval["high"]
    if low is None or high is None:
        meaning = "Too few dates were scored for an interval of the difference."
    else:
        clear = "the interval does not contain 0" if low * high > 0 else "the interval contains 0: no clear difference"
        meaning = (
            f"At +-{CARD_DAYS} days the model's error differs from that of linear interpolation by "
            f"{interval['difference']:+.3f} "
            f"(interval over the dates: {low:+.3f} to {high:+.3f}; {clear})."
        )
    note = (
        f"On {scored['dates']} clear dates of this cube, all observations within the stated number of days before and "
        f"after the date were withheld, and each method predicted the date; {scored['pixels']:,} pixels took part. "
        f"The error contains that of the withheld observation itself. {meaning}"
    )
    return {
        "scores": scored["rows"],
        "bins": tuple(_bin(gap) for gap in GAPS_DAYS),
        "bin_label": "days withheld on each side of the scored date",
        "score_note": note,
        "skill": (
            f"{change:+.0f} %",
            f"error relative to linear interpolation, on {scored['dates']} dates of this cube with {CARD_DAYS} days "
            "withheld on each side",
        ),
    }


def _bin(gap: int) -> str:
    return f"+-{gap}"
