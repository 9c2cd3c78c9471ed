"""``load_collection`` nodes of the process graph: an extent and a period that are wider than those requested."""

import datetime
from typing import Any

from openeo.api.process import Parameter
from openeo.internal.graph_building import PGNode
from openeo.rest.datacube import DataCube

from fusion.cloud_mask import SCL_PIXEL_M, WIDE
from udf.graph_options import WorkflowOptions

MASK_REACH_M = WIDE.reach_m + SCL_PIXEL_M  # radius of the wide dilation kernel, and one pixel as margin


def load(
    collection: str, bands: list[str], options: WorkflowOptions, first: datetime.date | None = None,
    last: datetime.date | None = None, properties: dict[str, Any] | None = None,
) -> DataCube:  # fmt: skip
    """Bands of a collection over the widened area and period; ``first`` and ``last`` are the dates that it covers."""
    if options.source is not None:
        collection = str(options.source / collection)
    return DataCube.load_collection(
        collection_id=collection, connection=None, fetch_metadata=False, bands=bands,
        spatial_extent=_extent(options), temporal_extent=_period(options, first, last), properties=properties,
    )  # fmt: skip


def _extent(options: WorkflowOptions) -> Any:
    margin = MASK_REACH_M + 10.0 * options.overlap_px
    if isinstance(options.area, Parameter):
        node = PGNode("vector_buffer", geometries={"from_parameter": options.area.name}, distance=margin)
        return options.shared.setdefault("extent", node)
    return None if options.area is None else options.area.bbox(margin_m=margin)


def _period(options: WorkflowOptions, first: datetime.date | None, last: datetime.date | None) -> list:
    """Left-closed interval to load: the period with its margin, cut to the dates that the collection covers."""
    if options.period is not None:
        ends = [
            _shifted_end(options.period, 0, -options.margin_days - options.lead_days),
            _shifted_end(options.period, 1, options.margin_days),
        ]
        return options.shared.setdefault("period", ends)
    assert options.start is not None and options.end is not None
    start = options.start - datetime.timedelta(days=options.margin_days + options.lead_days)
    end = options.end + datetime.timedelta(days=options.margin_days + 1)
    start = max(start, first) if first else start
    end = min(end, last + datetime.timedelta(days=1)) if last else end
    return [start.isoformat(), end.isoformat()]


def _shifted_end(period: Parameter, index: int, days: int) -> PGNode:
    """One end of an interval that is a parameter, moved by ``days``."""
    date = PGNode("array_element", data={"from_parameter": period.name}, index=index)
    return PGNode("date_shift", date=date, value=days, unit="day")
