"""The Python code of openEO's GeoPySpark back-end around both UDFs, without a JVM; this project is not imported.

Run as ``python geopyspark_chunks.py REQUEST.json`` in a folder that holds the UDF files and the unpacked archives.
Real: ``openeogeotrellis.GeopysparkDataCube`` from ``apply_neighborhood`` and ``apply_dimension`` on (checks of size and
overlap, context of the parent process, ``apply_metadata``, cube from tiles, ``run_udf_code``, tiles from the result).
Replaced: Spark's RDDs by lists, the JVM's ``retile`` and ``remove_overlap`` by nothing (tiles come with their overlap),
and ``openeogeotrellis.backend``, which asks for a newer openeo_driver than the index has, by its five lines about UDFs.
"""

import datetime
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pyspark

os.environ.setdefault("SPARK_HOME", str(Path(pyspark.__file__).parent))
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")

import geopyspark as gps
from openeo_driver.utils import EvalEnv
from openeogeotrellis import geopysparkdatacube as back_end
from openeogeotrellis.geopysparkcubemetadata import GeopysparkCubeMetadata
from openeogeotrellis.processgraphvisiting import SingleNodeUDFProcessGraphVisitor

LEFT, TOP, PIXEL_M = 600_000.0, 5_700_000.0, 10.0
BANDS = ["S2NDVI", "VV", "VH", "COARSE_NDVI"]
FIRST = datetime.datetime(2018, 12, 1)


class Rdd:
    """Spark's RDD as a list."""

    def __init__(self, items: list) -> None:
        self.items = items

    def map(self, function: object) -> "Rdd":
        return Rdd([function(item) for item in self.items])

    def flatMap(self, function: object) -> "Rdd":
        return Rdd([out for item in self.items for out in function(item)])

    def groupByKey(self, numPartitions: int, partitionFunc: object) -> "Rdd":
        groups: dict = {}
        for key, value in self.items:
            assert 0 <= partitionFunc(key) < numPartitions
            groups.setdefault(key, []).append(value)
        return Rdd(list(groups.items()))

    def collect(self) -> list:
        return self.items


class Layer:
    """A tiled raster layer that lies in this process."""

    layer_type = gps.LayerType.SPACETIME

    def __init__(self, rdd: Rdd, metadata: gps.Metadata) -> None:
        self.rdd, self.layer_metadata = rdd, metadata

    def convert_data_type(self, cell_type: object) -> "Layer":
        cells = [(key, tile._replace(cells=tile.cells.astype(np.float32))) for key, tile in self.rdd.items]
        return Layer(Rdd(cells), self.layer_metadata)

    def to_numpy_rdd(self) -> Rdd:
        return self.rdd

    @classmethod
    def from_numpy_rdd(cls, layer_type: object, rdd: Rdd, metadata: gps.Metadata) -> "Layer":
        return cls(rdd, metadata)


class Pyramid:
    """Levels of a cube."""

    def __init__(self, levels: dict) -> None:
        self.levels, self.max_zoom = levels, max(levels)


class Context:
    """What the back-end asks of Spark's context and of the task that it runs in."""

    def setLocalProperty(self, *_: object) -> None:
        """Nothing."""

    def parallelize(self, items: list) -> Rdd:
        return Rdd(items)


class Implementation:
    """The part of the back-end's implementation that reads a child graph of a single UDF."""

    @staticmethod
    def accept_process_graph(process_graph: dict, **_: object) -> SingleNodeUDFProcessGraphVisitor:
        assert [node["process_id"] for node in process_graph.values()] == ["run_udf"]
        return SingleNodeUDFProcessGraphVisitor().accept_process_graph(process_graph)


def replace_the_jvm() -> None:
    """Put the stand-ins above into the back-end's module."""
    sys.modules["openeogeotrellis.backend"] = types.ModuleType("backend")
    sys.modules["openeogeotrellis.backend"].GeoPySparkBackendImplementation = Implementation
    gps.get_spark_context = Context
    gps.TiledRasterLayer = Layer
    back_end.Pyramid, back_end.get_jvm = Pyramid, lambda: None
    back_end.ensure_executor_logging = lambda function: function
    back_end.GeopysparkDataCube._apply_to_levels_geotrellis_rdd = lambda self, *_, **__: self
    pyspark.TaskContext._taskContext = pyspark.TaskContext.__new__(pyspark.TaskContext)  # "running in an executor"


def instant(day: int) -> datetime.datetime:
    """The date ``day`` days after the first."""
    return FIRST + datetime.timedelta(days=day)


def cube(pixels: int, tiles: int, labels: bool, time_steps: tuple[int, ...]) -> "back_end.GeopysparkDataCube":
    """A row of tiles; tile k has its own number of dates, ``time_steps[k % len]``."""
    width = pixels * tiles
    extent = gps.Extent(LEFT, TOP - PIXEL_M * pixels, LEFT + PIXEL_M * width, TOP)
    layout = gps.LayoutDefinition(extent, gps.TileLayout(tiles, 1, pixels, pixels))
    bounds = gps.Bounds(gps.SpaceTimeKey(0, 0, instant(0)), gps.SpaceTimeKey(tiles - 1, 0, instant(0)))
    metadata = gps.Metadata(bounds, "+proj=utm +zone=31 +datum=WGS84 +units=m +no_defs", "float32", extent, layout)
    items = []
    for column in range(tiles):
        rng = np.random.default_rng(column)
        for step in range(time_steps[column % len(time_steps)]):
            day = 5 * step
            values = np.full((len(BANDS), pixels, pixels), np.nan, np.float32)
            green = 0.5 - 0.3 * np.cos(2 * np.pi * (day - 31) / 365)
            if step % 2 == 0:
                values[0] = green + rng.normal(0, 0.01, (pixels, pixels))
                values[3] = green
            values[1], values[2] = (level + rng.normal(0, 0.3, (pixels, pixels)) for level in (-12, -18))
            items.append((gps.SpaceTimeKey(column, 0, instant(day)), gps.Tile(values, "FLOAT32", float("nan"))))
    dimensions = {
        "x": {"type": "spatial", "axis": "x"}, "y": {"type": "spatial", "axis": "y"},
        "t": {"type": "temporal", "extent": ["2018-12-01", "2020-03-01"]},
    }  # fmt: skip
    if labels:
        dimensions["bands"] = {"type": "bands", "values": BANDS}
    rng = np.random.default_rng(9)
    rng.shuffle(items)  # Spark gives no order
    return back_end.GeopysparkDataCube(
        pyramid=Pyramid({0: Layer(Rdd(items), metadata)}),
        metadata=GeopysparkCubeMetadata({"cube:dimensions": dimensions}),
    )


def collected(found: "back_end.GeopysparkDataCube") -> dict:
    """Bands of the metadata; dates, shapes, and shares of values per tile."""
    tiles: dict = {}
    for key, tile in found.pyramid.levels[0].rdd.items:
        tiles.setdefault(key.col, []).append((str(key.instant)[:10], tile.cells))
    return {
        "bands": list(found.metadata.band_names) if found.metadata.has_band_dimension() else None,
        "metadata": type(found.metadata).__name__,
        "tiles": {
            str(column): {
                "dates": sorted(day for day, _ in parts),
                "shapes": sorted({str(cells.shape) for _, cells in parts}),
                "seen": float(np.mean([np.isfinite(cells).mean() for _, cells in parts])),
                "first_band": float(np.nanmean([cells[0] for _, cells in parts])),
            }
            for column, parts in tiles.items()
        },
    }


def main(request: dict) -> dict:
    """Run the two nodes of a workflow's graph, as the back-end would."""
    replace_the_jvm()
    graph, environment = request["graph"], EvalEnv({"version": "1.2.0"})
    start = cube(request["pixels"], request["tiles"], request["labels"], tuple(request["time_steps"]))
    given = graph["applyneighborhood1"]["arguments"]
    context = given["context"] | request["context"]
    fused = start.apply_neighborhood(
        process=given["process"]["process_graph"], size=given["size"], overlap=given["overlap"], context=context,
        env=environment,
    )  # fmt: skip
    answer = {"fused": collected(fused)}
    if "applydimension1" in graph:
        given = graph["applydimension1"]["arguments"]
        done = fused.apply_dimension(
            process=given["process"]["process_graph"], dimension="t", context=given["context"], env=environment
        )
        answer["phenology"] = collected(done)
    return answer


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))) + "\n")
