"""``ndvi-fusion predict source=stac`` on the command line: a STAC API on this machine, several windows, the answer of
``cube`` and ``predict`` of the same area at once."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from rasterio.warp import transform_bounds

import fusion
from data_prep.cube import build_cube
from fusion.cli.app import main
from fusion.commands import predict_regions
from fusion.data.cube_files import read_cube
from tests.unit.data_prep.test_stac import LEFT, TOP, Catalogue, sentinel2

pystac = pytest.importorskip("pystac")
pytest.importorskip("pystac_client")
pytest.importorskip("odc.stac")

SIDE, AREA_PX = 96, 78  # the area in whole cells of 20 m of its bounds
BBOX = transform_bounds("EPSG:32631", "EPSG:4326", LEFT + 107, TOP - 823, LEFT + 821, TOP - 103)
CONFORMS = [f"https://api.stacspec.org/v1.0.0/{part}" for part in ("core", "item-search")]


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> Catalogue:
    """Five dates of Sentinel-2 with clouds, eight of Sentinel-1 in two passes that differ by 3 dB."""
    made, rng = Catalogue(tmp_path_factory.mktemp("items")), np.random.default_rng(0)
    for k in range(5):
        images = sentinel2(k, SIDE)
        images["scl"][8 * k : 8 * k + 6, 20:26] = 9
        made.add(f"s2_{k}", "sentinel-2-l2a", f"2022-05-{5 * k + 1:02d}T10:50:00", images, pixels={"scl": 20.0},
                 properties={"s2:processing_baseline": "03.01"})  # fmt: skip
    for k in range(8):
        vv = 10 ** (rng.normal(-1.1, 0.1, (SIDE, SIDE)) - 0.3 * (k % 2)).astype("float32")
        told = {"sat:orbit_state": ("ascending", "descending")[k % 2], "platform": "sentinel-1a"}
        images = {"vv": vv, "vh": (vv / 5).astype("float32")}
        made.add(f"s1_{k}", "s1", f"2022-05-{3 * k + 1:02d}T17:30:00", images, properties=told)
    return made


@pytest.fixture
def api(items) -> Iterator[str]:
    """Address of a STAC API that answers searches by collection."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            link = {"rel": "search", "href": f"{address}/search", "method": "POST", "type": "application/geo+json"}
            root = {"type": "Catalog", "id": "local", "stac_version": "1.0.0", "description": "of a test"}
            self.answer(root | {"conformsTo": CONFORMS, "links": [link, {"rel": "root", "href": address}]})

        def do_POST(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["collections"]
            found = [item.to_dict() for item in items.items if item.collection_id in wanted]
            self.answer({"type": "FeatureCollection", "features": found, "links": []})

        def answer(self, told: dict) -> None:
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *told: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield address
    server.shutdown()
    server.server_close()


def test_windows_of_a_catalogue_give_the_answer_of_cube_and_predict(api, items, tmp_path: Path, monkeypatch, capsys):
    words = [f"source.catalog={api}", f"source.bbox=[{','.join(map(str, BBOX))}]", "source.start=2022-05-01",
             "source.end=2022-05-31", "source.s1_collection=s1", "source.s1_units=linear", "source=stac"]  # fmt: skip
    seen = []
    fuse_window = predict_regions.fuse_window
    monkeypatch.setattr(
        predict_regions,
        "fuse_window",
        lambda part, *args, **more: (seen.append(part), fuse_window(part, *args, **more))[1],
    )
    assert main(["predict", *words, "region=40", f"out={tmp_path / 'windows.zarr'}"]) == 0, capsys.readouterr().err
    assert len(seen) == 4 and max(part.sizes["x"] for part in seen) < AREA_PX
    assert main(["cube", *words, f"out={tmp_path / 'cube.zarr'}"]) == 0, capsys.readouterr().err
    whole = [f"cube={tmp_path / 'cube.zarr'}", f"out={tmp_path / 'whole.zarr'}"]
    assert main(["predict", *whole]) == 0, capsys.readouterr().err

    windows, at_once = (read_cube(tmp_path / name) for name in ("windows.zarr", "whole.zarr"))
    assert windows.sizes["y"] == windows.sizes["x"] == AREA_PX and windows.rio.crs.to_epsg() == 32631
    assert float(windows.sel(bands="NDVI").notnull().mean()) > 0.99
    np.testing.assert_allclose(windows, at_once, atol=5e-4)  # the cube in between holds NDVI in steps of 1e-4
    source = items.source(bbox=BBOX, start="2022-05-01", end="2022-05-31", s1_collection="s1", s1_units="linear")
    np.testing.assert_allclose(windows, fusion.fuse(build_cube(source.load())), atol=1e-4)
