"""The public call :func:`view`."""

import os
from typing import TYPE_CHECKING, Any

from fusion.extras import missing_library
from fusion.viewer.layers import Source, open_content

if TYPE_CHECKING:
    import geopandas


class ViewerMissingError(ImportError):
    """The packages of the viewer are not installed; the message names the extra."""


def view(
    source: Source,
    *,
    observations: Source | None = None,
    other: Source | None = None,
    seasons: Source | None = None,
    fields: "str | os.PathLike | geopandas.GeoDataFrame | None" = None,
) -> Any:
    """Look at a result: a map with a time slider, and the series of the pixel or field that is clicked.

    Parameters
    ----------
    source : path, DataArray or Dataset
        Fused NDVI (bands ``NDVI`` and ``NDVI_SIGMA``), or any images with dims ``(t, y, x)``; a folder with
        ``ndvi.nc``, as the demo writes it. Of a file, only what is on the screen is read: one date at the screen's
        resolution, and the series of the clicked pixel or field.
    observations : path or DataArray, optional
        The merged cube, whose ``S2NDVI`` is drawn as dots.
    other : path, DataArray or Dataset, optional
        A second result on the same grid, drawn beside the first, with a map of the difference.
    seasons : path or Dataset, optional
        Result of :func:`fusion.seasons` or ``seasons.nc``, for maps of the season parameters. Without it, the seasons
        of the clicked series are computed at the click, with the default settings.
    fields : path or GeoDataFrame, optional
        Polygons (GeoPackage, GeoJSON, GeoParquet) in any CRS. A click inside one shows its series as
        :func:`fusion.fields.series.field_series` has it, with the default rules.

    Returns
    -------
    panel.viewable.Viewable
        The last line of a notebook cell shows it; ``.show()`` opens it in a browser.

    Raises
    ------
    ViewerMissingError
        Panel is not installed: ``pip install 'ndvi-fusion[view]'``.
    fusion.contract.ContractError, fusion.data.cube_files.CubeFileError
        There is nothing to show, or the grids differ; the message says what to give instead.
    """
    check_installed()
    import panel

    from fusion.viewer.app import Viewer

    panel.extension(inline=True)  # nothing is fetched from another host
    return Viewer(open_content(source, observations=observations, other=other, seasons=seasons, fields=fields)).layout()


def check_installed() -> None:
    """Refuse to start without the packages of the extra ``view``."""
    from importlib.util import find_spec

    missing = [name for name in ("panel", "bokeh") if find_spec(name) is None]
    if missing:
        raise ViewerMissingError(missing_library(missing[0], "the viewer"))
