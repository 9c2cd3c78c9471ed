"""Sentinel-1 in the process graph: backscatter on the Sentinel-2 grid, its passes levelled to one another."""

from functools import reduce
from typing import Any

from openeo.rest.datacube import DataCube

from fusion.contract import RADAR_DB_RANGE, RADAR_POWER_RANGE, VH, VV
from udf.graph_loading import load
from udf.graph_options import WorkflowOptions
from udf.targets import TargetSettings


def radar(target: TargetSettings, options: WorkflowOptions, grid: DataCube) -> DataCube:
    """VV and VH on the Sentinel-2 grid, in the units that the collection delivers.

    Each pass is loaded apart and levelled, where the target knows the property that tells the pass.
    """
    passes = _passes(target, options)
    if len(passes) < 2 or not options.radar_levelled:
        return _backscatter(target, options, grid, passes if options.radar_pass != "all" else None)
    return _levelled([_backscatter(target, options, grid, (one,)) for one in passes], target.s1_units)


def _passes(target: TargetSettings, options: WorkflowOptions) -> tuple[str, ...]:
    """Values of the pass property to load; none where it is not known and all passes are wanted."""
    if options.radar_pass == "all":
        return target.s1_passes if target.s1_pass_property is not None else ()
    wanted = options.radar_pass.upper()
    return tuple(one for one in target.s1_passes if one.split()[0] == wanted) or (wanted,)  # "ASCENDING 88" is one


def _backscatter(
    target: TargetSettings, options: WorkflowOptions, grid: DataCube, passes: tuple[str, ...] | None
) -> DataCube:
    """VV and VH of some passes, or of all (None), on the Sentinel-2 grid."""
    assert target.s1_collection is not None
    conditions = _acquisitions(target, options, passes)
    cube = load(target.s1_collection, [target.vv_band, target.vh_band], options, properties=conditions)
    if target.s1_process == "sar_backscatter":
        cube = cube.process(
            "sar_backscatter", data=cube, coefficient=target.s1_coefficient, elevation_model="COPERNICUS_30",
            noise_removal=True,
        )  # fmt: skip
    cube = cube.mask(cube.apply(_no_backscatter(target.s1_units)))
    cube = cube.resample_cube_spatial(grid, method=target.s1_resampling)
    return (
        cube.rename_labels(dimension="bands", target=[VV, VH]) if [target.vv_band, target.vh_band] != [VV, VH] else cube
    )


def _no_backscatter(units: str):
    """What is outside the limits is removed before resampling spreads it."""
    limits = RADAR_DB_RANGE if units == "dB" else RADAR_POWER_RANGE
    return lambda x: (x < limits.low).or_(x > limits.high)


def _levelled(passes: list[DataCube], units: str) -> DataCube:
    """All passes, each moved per pixel by the difference in dB of its median over t from the mean level of the passes.

    The ratio of medians of power is the difference of medians in dB, so no logarithm is needed.
    """
    away, back = ("divide", "multiply") if units == "linear" else ("subtract", "add")
    levels = [cube.reduce_dimension(dimension="t", reducer="median") for cube in passes]
    common = reduce(_mean_of, levels)
    shifts = [common.merge_cubes(level, overlap_resolver=away) for level in levels]
    moved = [cube.merge_cubes(shift, overlap_resolver=back) for cube, shift in zip(passes, shifts, strict=True)]
    return reduce(_mean_of, moved)


def _mean_of(first: DataCube, second: DataCube) -> DataCube:
    """Mean where both have a value, else the value of one: half of largest plus smallest, since back-ends know no mean
    as overlap resolver and these two ignore no data."""
    highest, lowest = (first.merge_cubes(second, overlap_resolver=name) for name in ("max", "min"))
    return highest.merge_cubes(lowest, overlap_resolver="add").apply(lambda x: x * 0.5)


def _acquisitions(
    target: TargetSettings, options: WorkflowOptions, passes: tuple[str, ...] | None
) -> dict[str, Any] | None:
    """Conditions on the items of Sentinel-1."""
    conditions = {}
    for option, values in (("radar_pass", passes), ("radar_satellites", options.radar_satellites)):
        if values is None:
            continue
        setting = {"radar_pass": "s1_pass_property", "radar_satellites": "s1_satellite_property"}[option]
        name = getattr(target, setting)
        if name is None:
            raise ValueError(
                f"{option} is {getattr(options, option)!r}, but target {target.name} does not know which property of "
                f"{target.s1_collection} tells it; set target.{setting}, or {option}="
                f"{'all' if option == 'radar_pass' else 'null'}"
            )
        conditions[name] = _one_of(values)
    return conditions or None


def _one_of(values: tuple[str, ...]):
    """Condition that a property equals one of ``values``."""
    return lambda value: reduce(lambda found, other: found.or_(value == other), values[1:], value == values[0])
