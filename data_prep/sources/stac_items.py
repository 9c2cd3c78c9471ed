"""Items of a STAC catalogue: an API, or a catalogue or item collection on this machine."""

import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data_prep.raw.cubes import SourceError
from fusion.place import Bounds


class Search(Protocol):
    """What is searched for: the part of the STAC source's settings that concerns the catalogue."""

    @property
    def catalog(self) -> str: ...
    @property
    def bbox(self) -> Bounds: ...
    @property
    def start(self) -> datetime.date: ...
    @property
    def end(self) -> datetime.date: ...
    @property
    def sign(self) -> str: ...


def find_items(settings: Search, collection: str) -> list[Any]:
    """Items of a collection that touch the area and the period, in order of time and name.

    Raises
    ------
    SourceError
        Catalogue not reachable or not a catalogue, or no item.
    """
    try:
        found = _search(settings, collection)
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(
            f"{settings.catalog} cannot be searched ({type(error).__name__}: {error}); "
            "check the address and the network"
        ) from error
    if not found:
        raise SourceError(
            f"{settings.catalog} has no item of {collection} in {settings.bbox} from {settings.start} "
            f"to {settings.end}; "
            "check the collection's name, the area (west, south, east, north) and the dates"
        )
    for item in found:
        _resolve_addresses(item, settings.catalog)
        if item.datetime is not None and item.datetime.tzinfo is not None:
            item.datetime = item.datetime.astimezone(datetime.UTC)
        if item.geometry is None:
            item.geometry = {"type": "Polygon", "coordinates": [_outline(item.bbox or settings.bbox)]}
    return sorted(found, key=lambda item: (item.datetime or item.common_metadata.start_datetime, item.id))


def _resolve_addresses(item: Any, catalog: str) -> None:
    """Relative addresses of assets are meant from the item's own place, or without one from the catalogue's."""
    from pystac.utils import is_absolute_href, make_absolute_href

    start = item.get_self_href() or catalog.removeprefix("file://")
    for asset in item.assets.values():
        if not is_absolute_href(asset.href):
            asset.href = make_absolute_href(asset.href, start)


def _outline(box: Any) -> list[list[float]]:
    west, south, east, north = box if len(box) == 4 else (box[0], box[1], box[3], box[4])
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _file_reader() -> Any:
    """Reads files of a catalogue as UTF-8, with or without a byte order mark."""
    from pystac.stac_io import DefaultStacIO

    class Reader(DefaultStacIO):
        def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
            return super().read_text(source, *args, **kwargs).removeprefix("\ufeff")

    return Reader()


def _search(settings: Search, collection: str) -> list[Any]:
    import pystac

    if "://" in settings.catalog and not settings.catalog.startswith("file:"):
        import pystac_client

        modifier = None
        if settings.sign == "planetary_computer":
            import planetary_computer

            modifier = planetary_computer.sign_inplace
        client = pystac_client.Client.open(settings.catalog, modifier=modifier)
        period = f"{settings.start}/{settings.end}"
        return list(client.search(collections=[collection], bbox=settings.bbox, datetime=period).items())
    path = Path(settings.catalog.removeprefix("file://"))
    if not path.is_file():
        raise SourceError(f"{path} does not exist; name a catalog.json or the address of a STAC API")
    io = _file_reader()
    made = None if '"FeatureCollection"' in io.read_text(str(path))[:2000] else io.read_stac_object(str(path))
    if made is not None and not isinstance(made, pystac.Catalog):
        raise SourceError(f"{path} is a {type(made).__name__}; name a catalog, a collection or an item collection")
    if made is not None:
        made._stac_io = io  # its children are read by it too
    items = pystac.ItemCollection.from_file(str(path), io) if made is None else made.get_items(recursive=True)
    west, south, east, north = settings.bbox
    first, last = np.datetime64(settings.start), np.datetime64(settings.end)
    kept = []
    for item in items:
        box = item.bbox
        when = item.datetime or item.common_metadata.start_datetime
        if when is None:
            raise SourceError(f"item {item.id} has neither datetime nor start_datetime; mend its metadata")
        when = when.astimezone(datetime.UTC) if when.tzinfo is not None else when
        day = np.datetime64(when.strftime("%Y-%m-%d"))
        touches = not box or (box[0] < east and box[2] > west and box[1] < north and box[3] > south)
        if item.collection_id == collection and touches and first <= day <= last:
            kept.append(item)
    return kept
