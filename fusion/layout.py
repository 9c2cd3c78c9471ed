"""How the data of a user lie: kind of object and names of dimensions, brought to those of the contract and back.

The public calls of ``fusion`` take data as xarray, rioxarray, odc-stac and pandas give them: dimensions such as
``time``, ``band``, ``latitude``, a Dataset with one variable per band, a table or series with dates as index, a single
pixel, or points. Their answers have the names, the orientation and the kind of what was given. The input is never
changed.
"""

import functools
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import (
    CUBE_BANDS,
    DIM_NAMES,
    DIMS,
    NDVI,
    NDVI_SIGMA,
    S2NDVI,
    ContractError,
    check_dates,
    dim_renaming,
)
from fusion.place import LONLAT

Data: TypeAlias = xr.DataArray | xr.Dataset | pd.Series | pd.DataFrame
P = ParamSpec("P")
R = TypeVar("R")
Grid = TypeVar("Grid", xr.DataArray, xr.Dataset)


@dataclass(frozen=True)
class Layout:
    """What :func:`plain_names` and :func:`as_grid` changed: kind of object, the user's names, added dimensions."""

    kind: Literal["array", "dataset", "table"]
    names: dict[str, Hashable]
    added: tuple[str, ...] = ()

    def restore(self, result: Any) -> Any:
        """An answer with the user's names; a fused cube of a Dataset or a table as such. Others stay as they are."""
        if not isinstance(result, xr.DataArray | xr.Dataset):
            return result
        result = result.squeeze([dim for dim in self.added if dim in result.dims], drop=self.kind == "table")
        if isinstance(result, xr.DataArray) and self.kind != "array" and "bands" in result.dims:
            attrs = result.attrs
            result = result.to_dataset(dim="bands").assign_attrs(attrs)
        if self.kind == "table" and set(result.dims) == {"t"}:
            plain = result.reset_coords(drop=True).to_pandas()
            plain.index.name, plain.attrs = self.names.get("t"), dict(result.attrs)
            return plain
        known = {*result.dims, *result.coords}
        return result.rename({plain: own for plain, own in self.names.items() if plain in known and plain != own})


def any_layout(
    call: Callable[Concatenate[xr.DataArray, P], R], *, roles: bool = False
) -> Callable[Concatenate[Data, P], R]:
    """The call, for data of any layout: its cube and further cubes get the contract's names, its answer the user's.

    With ``roles`` the bands of the cube get theirs (:func:`with_roles`).
    """

    @functools.wraps(call)
    def wrapped(cube: Data, *args: P.args, **options: P.kwargs) -> R:
        plain, layout = plain_names(cube)
        more: Any = {k: plain_names(v)[0] if isinstance(v, Data) else v for k, v in options.items()}
        others: Any = [plain_names(v)[0] if isinstance(v, Data) else v for v in args]
        return layout.restore(call(with_roles(plain) if roles else plain, *others, **more))

    return wrapped


def plain_names(data: Data) -> tuple[xr.DataArray, Layout]:
    """Data as one array whose dimensions have the contract's names, in any order; other dimensions stay.

    Variables of a Dataset and columns of a table become ``bands``. A grid of latitude and longitude without a CRS gets
    WGS 84.

    Raises
    ------
    ContractError
        No such object, or no dates.
    """
    if isinstance(data, pd.Series | pd.DataFrame):
        return _table(data)
    if isinstance(data, xr.Dataset):
        array, kind = _stacked(data), "dataset"
    elif isinstance(data, xr.DataArray):
        array, kind = data, "array"
    else:
        raise ContractError(
            f"the cube is a {type(data).__name__}; expected an xarray.DataArray with dims {DIMS}, an xarray.Dataset, "
            "or a pandas Series or DataFrame with dates as index"
        )
    renaming = dim_renaming(array.dims)
    for axis in ("y", "x"):  # of a selected pixel, or of points: labels that are no dimension
        if not {axis, *DIM_NAMES[axis]} & {str(dim).lower() for dim in array.dims} and axis not in array.coords:
            own = [c for c in array.coords if array.coords[c].ndim <= 1 and str(c).lower() in DIM_NAMES[axis]]
            renaming |= {own[0]: axis} if own else {}
    names: dict[str, Hashable] = {plain: own for own, plain in renaming.items()}
    if names:
        taken = [plain for plain in names if plain in array.coords]
        array = with_degrees(array.drop_vars(taken).rename(renaming), renaming)
        _check_dates_as_named(array, str(names.get("t", "t")))
    refuse_exchanged(array, renaming)
    return array, Layout(kind, names)  # type: ignore[arg-type]


def with_roles(cube: xr.DataArray) -> xr.DataArray:
    """The cube with a ``bands`` dimension labelled by role; the user's own NDVI becomes ``S2NDVI``.

    Its name holds "ndvi" in any case and is the only such, or it is an array without a name. ``vv``, ``vh`` and
    ``coarse_ndvi`` are known in any case.

    Raises
    ------
    ContractError
        A fused cube, or no NDVI that could be meant.
    """
    if "bands" not in cube.dims:
        given = str(cube.bands.item() if "bands" in cube.coords else cube.name or NDVI)
        if "ndvi" not in given.lower():
            raise ContractError(
                f"the cube is named {given!r}; expected NDVI; call cube.rename('NDVI') if it holds that"
            )
        cube = cube.drop_vars("bands", errors="ignore").expand_dims(bands=[given])
    if "bands" not in cube.coords:
        return cube
    labels = [str(label) for label in cube.bands.values]
    if S2NDVI in labels:
        return cube
    if NDVI_SIGMA in labels:
        raise ContractError(
            f"the cube has bands {labels}: it is fused already; give the cube of observations, or rename the band of "
            f"your own NDVI to {S2NDVI}"
        )
    known = {band.lower(): band for band in CUBE_BANDS}
    labels = [known.get(label.lower(), label) for label in labels]
    own = [k for k, label in enumerate(labels) if "ndvi" in label.lower() and label not in CUBE_BANDS]
    if S2NDVI not in labels and len(own) == 1:
        labels[own[0]] = S2NDVI
    return cube.assign_coords(bands=labels)


def as_grid(cube: xr.DataArray, layout: Layout) -> tuple[xr.DataArray, Layout]:
    """The cube with the dimensions ``y`` and ``x``, of size 1 where a pixel or a row of pixels has none."""
    added = tuple(axis for axis in ("y", "x") if axis not in cube.dims)
    return cube.expand_dims(added) if added else cube, replace(layout, added=added)


def _table(data: pd.Series | pd.DataFrame) -> tuple[xr.DataArray, Layout]:
    """A series, or a table with a column per band, in the order of its dates."""
    if not isinstance(data.index, pd.DatetimeIndex):
        raise ContractError(
            f"the {type(data).__name__} has an index of type {data.index.dtype}; expected dates; set it with "
            "data.index = pandas.to_datetime(...)"
        )
    data = data.tz_convert("UTC").tz_localize(None) if data.index.tz is not None else data
    data = data.sort_index()
    days = data.index.floor("D")
    if days.has_duplicates:
        raise ContractError(
            f"date {days[days.duplicated()][0].date()} occurs twice; merge the observations of one day, for example "
            "data.groupby(data.index.floor('D')).mean()"
        )
    dates = data.index.to_numpy().astype("datetime64[ns]")
    attrs = dict(data.attrs)
    if isinstance(data, pd.Series):
        name = None if data.name is None else str(data.name)
        array = xr.DataArray(data.to_numpy(np.float32, na_value=np.nan), {"t": dates}, ("t",), name, attrs)
    else:
        coords = {"t": dates, "bands": [str(column) for column in data.columns]}
        array = xr.DataArray(data.to_numpy(np.float32, na_value=np.nan), coords, ("t", "bands"), None, attrs)
    return array, Layout("table", {"t": data.index.name} if data.index.name is not None else {})


def _stacked(data: xr.Dataset) -> xr.DataArray:
    """The variables of a Dataset that have dates, as bands; or its only one, where that has bands itself."""
    known = {str(name): v for name, v in data.data_vars.items() if v.dtype.kind in "fiub"}
    dated = {name: v for name, v in known.items() if any(str(dim).lower() in DIM_NAMES["t"] for dim in v.dims)}
    dated = {name: v for name, v in dated.items() if v.ndim == max(other.ndim for other in dated.values())}
    if not dated:
        raise ContractError(
            f"the Dataset has variables {sorted(map(str, data.data_vars))[:6]} with dims {tuple(data.sizes)}; expected "
            "one variable per band, with a dimension of dates"
        )
    if len(dated) == 1 and any(str(d).lower() in DIM_NAMES["bands"] for d in next(iter(dated.values())).dims):
        array = next(iter(dated.values()))
    else:
        bare = [v.drop_attrs(deep=False) for v in dated.values()]
        array = xr.concat(bare, xr.Variable("bands", list(dated)), coords="minimal", compat="override")
    crs = [c for c in ("spatial_ref", "crs") if c in data and data[c].ndim == 0]
    return array.assign_coords({c: data[c] for c in crs}).assign_attrs({**data.attrs, **array.attrs})


def with_plain_dims(dataset: xr.Dataset) -> xr.Dataset:
    """Dimensions as the contract names them; a variable of such a name (temperature ``t``) is left out."""
    renaming = dim_renaming(dataset.dims)
    taken = [name for name in renaming.values() if name in dataset.variables]
    renamed = dataset.drop_vars(taken).rename(renaming)
    refuse_exchanged(renamed, renaming)
    return renamed


_SAYS = {
    "x": {"longitude", "projection_x_coordinate", "grid_longitude", "degrees_east", "degree_east", "degrees_e", "x"},
    "y": {"latitude", "projection_y_coordinate", "grid_latitude", "degrees_north", "degree_north", "degrees_n", "y"},
}


def refuse_exchanged(grid: Grid, names: Iterable[Hashable] = ()) -> None:
    """Refuse axes whose attributes (CF) say that they are the other one, or a latitude beyond 90 degrees.

    ``names``: what the user calls the dimensions. Two plausible latitudes cannot be told apart.

    Raises
    ------
    ContractError
    """
    advice = "exchange the names of the two: rename({'y': 'x', 'x': 'y'}), with your own names"
    for axis, other in (("y", "x"), ("x", "y")):
        attrs = grid[axis].attrs if axis in grid.coords else {}
        told = [str(attrs[key]) for key in ("standard_name", "units", "axis") if key in attrs]
        wrong = [text for text in told if text.strip().lower() in _SAYS[other]]
        if wrong:
            raise ContractError(
                f"axis {axis} of the grid says {wrong[0]!r} of itself: latitude and longitude, or y and x, seem "
                f"exchanged; {advice}"
            )
    if {str(name).lower() for name in names} & {"lat", "latitude"} and {"y", "x"} <= set(grid.coords):
        tall, wide = (float(abs(grid[axis]).max()) for axis in ("y", "x"))
        if wide <= 90 < tall <= 360:
            raise ContractError(f"latitude reaches {tall:.4g} degrees and longitude {wide:.4g}; {advice}")


def with_degrees(grid: Grid, names: Iterable[Hashable]) -> Grid:
    """With WGS 84 where the user's ``names`` of the axes say degrees, the numbers allow it, and there is no CRS."""
    degrees = any(str(name).lower() in ("lat", "latitude") for name in names)
    if not degrees or not {"y", "x"} <= set(grid.coords) or not bool((abs(grid.y) <= 90).all()):
        return grid
    import rioxarray  # noqa: F401  (the .rio accessor)

    return grid if grid.rio.crs is not None else grid.rio.write_crs(LONLAT)


def _check_dates_as_named(array: xr.DataArray, name: str) -> None:
    """Refuse wrong dates in the user's own name of the dimension, so that the advice works."""
    if "t" not in array.dims:
        return
    try:
        check_dates(array)
    except ContractError as error:
        said = (
            str(error)
            .replace("'t'", f"{name!r}")
            .replace("cube.t.", f"cube.{name}.")
            .replace("t=pandas", f"{name}=pandas")
        )
        raise ContractError(said) from None
