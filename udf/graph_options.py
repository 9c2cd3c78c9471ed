"""Options of the process graph that do not depend on the target, checked before a graph is built."""

import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from openeo.api.process import Parameter

from fusion.contract import SEASON_METHOD, STEP_DAYS, WINDOW_PX
from fusion.dates import first_date, last_date
from fusion.phenology.settings import METHODS
from udf.area import Area
from udf.context import check_context
from udf.season_chunk import NOT_IN_UDF, season_bands
from udf.settings import LEAD_DAYS, MARGIN_DAYS, OVERLAP_PX

SET_BY_THE_GRAPH = (
    "start", "end", "temporal_extent", "spatial_extent", "step_days", "lead_days", "window_px", "overlap_px", "method",
    "output",
)  # fmt: skip


@dataclass(frozen=True)
class WorkflowOptions:
    """Options of the graph that do not depend on the target.

    ``start`` and ``end`` are dates, both included; a published process has ``period`` instead, a parameter that holds
    an openEO interval (its end excluded). ``area`` is None for the whole extent of local files; ``latitude`` is that of
    its centre when not given. ``output``: "fused" (NDVI and sigma), "smoothed" (daily series), "seasons" (season maps).
    ``radar_pass`` takes one pass of Sentinel-1, ``radar_satellites`` some of its satellites, as the collection names
    them. ``radar_levelled`` levels the passes to one another, where the target X

    Raises
    ------
    ValueError
        Anything that the UDFs would refuse later, inside a job: method, output, context, dates.
    """

    start: datetime.date | None = None
    end: datetime.date | None = None
    area: Area | Parameter | None = None
    step_days: int | Parameter = STEP_DAYS
    output: Literal["fused", "smoothed", "seasons"] | Parameter = "seasons"
    method: str | Parameter = SEASON_METHOD
    window_px: int = WINDOW_PX
    overlap_px: int = OVERLAP_PX
    format: Literal["GTiff", "NetCDF", "Zarr"] = "NetCDF"
    source: Path | None = None
    margin_days: int = MARGIN_DAYS
    radar_pass: Literal["all", "ascending", "descending"] = "all"
    radar_satellites: tuple[str, ...] | None = None
    radar_levelled: bool = True
    latitude: float | None = None
    context: dict[str, Any] = field(default_factory=dict)
    own_phenology: bool = False  # a phenology UDF of the user's, which is given the period alone
    period: Parameter | None = None
    shared: dict[str, Any] = field(
        default_factory=dict, repr=False, compare=False
    )  # graph nodes shared by several loads

    def __post_init__(self) -> None:
        if self.period is None:
            for name, read in (("start", first_date), ("end", last_date)):
                object.__setattr__(self, name, read(getattr(self, name), name))
            if self.end < self.start:  # type: ignore[operator]
                raise ValueError(f"the period ends ({self.end}) before it starts ({self.start}); swap start and end")
        if self.overlap_px > self.window_px:
            raise ValueError(
                f"overlap_px is {self.overlap_px} and window_px {self.window_px}; back-ends shift results when the "
                "overlap exceeds the window"
            )
        taken = sorted(set(self.context) & set(SET_BY_THE_GRAPH))
        if taken:
            raise ValueError(f"context sets {taken}, which the graph sets for both UDFs; give it outside of context")
        given = {"step_days": self.step_days, "method": self.method, "output": self.output, "latitude": self.latitude}
        check_udf_context({**given, **self.context})

    @property
    def lead_days(self) -> int:
        """Days of the fused series before the period, for season maps, also where a parameter may request them."""
        none = self.own_phenology or self.output in ("fused", "smoothed") or self.method == "reference"
        return 0 if none else LEAD_DAYS

    def dates(self) -> dict[str, Any]:
        """The period as the UDFs read it: ``start`` and ``end``, or ``temporal_extent`` of a published process."""
        if self.period is not None:
            return {"temporal_extent": self.period}
        assert self.start is not None and self.end is not None
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}


def check_udf_context(context: dict[str, Any]) -> None:
    """Refuse what either UDF would refuse: unknown keys, wrong values, unknown methods and options of them.

    Parameters of a published process are left out; :func:`udf.publish.call_process` checks their values.

    Raises
    ------
    ContractError
        One sentence with the value and the nearest one that exists.
    """
    given = {key: value for key, value in context.items() if not isinstance(value, Parameter)}
    check_context(given)
    season_bands({**given, "output": "seasons"}, [])  # the method has to exist, whatever is returned


def udf_methods() -> tuple[str, ...]:
    """Methods of the season dates that the phenology UDF knows."""
    return tuple(method for method in METHODS if method not in NOT_IN_UDF)
