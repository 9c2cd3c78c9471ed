"""``ndvi-fusion view PATH``: a result in the browser, served on this machine only."""

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field


class ViewSettings(BaseModel):
    """``ndvi-fusion view``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    POSITIONAL: ClassVar[str] = "path"

    path: Path = Field(description="fused NDVI or any images (t, y, x) as .nc or .zarr, or the output folder of a demo")
    observations: Path | None = Field(None, description="merged cube, whose Sentinel-2 observations are drawn as dots")
    other: Path | None = Field(None, description="a second result on the same grid, to compare with")
    seasons: Path | None = Field(
        None, description="seasons.nc, for maps of season dates; computed per click when empty"
    )
    fields: Path | None = Field(None, description="polygons (.gpkg, .geojson, .parquet); a click shows a field's mean")
    port: int = Field(5006, ge=0, le=65535, description="port on this machine; 0: any free one")
    browser: bool = Field(True, description="open the browser")


def run(settings: ViewSettings) -> None:
    """Serve until interrupted by Ctrl+C."""
    from fusion.viewer.view import check_installed

    check_installed()
    from rich.console import Console

    from fusion.viewer.app import serve
    from fusion.viewer.layers import open_content

    content = open_content(
        settings.path, observations=settings.observations, other=settings.other, seasons=settings.seasons,
        fields=settings.fields,
    )  # fmt: skip
    say = Console(stderr=True).print
    serve(content, port=settings.port, show=settings.browser, title=f"ndvi-fusion: {settings.path.name}",
          ready=lambda address: say(f"viewer at {address} (Ctrl+C ends it)", highlight=False))  # fmt: skip
