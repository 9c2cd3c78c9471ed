"""Cold start of the UDFs as on a back-end: new environment, two unpacked archives, chunks of different dates.

``python benchmarks/bench_udf.py [chunks=50] [pixels=32] [large_pixels=288] [windows=0] [days=365] [method=reference]
[onnxruntime=1.20.1] [numpy=numpy] [python=PATH] [out=FILE.json]`` builds a virtual environment that holds openeo,
numpy, pandas, xarray and scipy only (or uses an existing one), unpacks the archives beside the UDFs,
and prints seconds per chunk, sessions opened and peak memory at one thread. 288 px is a window of 256 with its
overlap; observations reach 60 days beyond the period, as the graph loads them. ``chunks=0 large_pixels=0 windows=4
method=relative_amplitude`` measures the window of the graph of season maps, cold and warm.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from fusion.inference.locate import locate_model
from fusion.inference.manifest import read_model_files
from udf.archive import write_dependency_archive, write_model_archive
from udf.bundle import DIST, ENTRIES

PRELOADED = ("openeo", "pandas<3", "xarray", "scipy")  # preloaded on the back-ends, beside numpy


def fresh_python(folder: Path, numpy: str = "numpy", interpreter: str = sys.executable) -> Path:
    """A virtual environment with the packages of a back-end; ``numpy`` is a requirement, such as ``numpy<2``."""
    subprocess.run([interpreter, "-m", "venv", str(folder)], check=True, capture_output=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", numpy, *PRELOADED]
    subprocess.run(install, check=True, capture_output=True)
    return python


def lay_out(folder: Path, onnxruntime: str, python: str = "py311") -> Path:
    """A working directory as in a batch job: archives unpacked under their names, UDF files beside them."""
    archives = {
        "ndvi_fusion_model": write_model_archive(*read_model_files(locate_model(None)), folder / "zips"),
        "ndvi_fusion_deps": write_dependency_archive(folder / "zips", onnxruntime, python=python),
    }
    for name, archive in archives.items():
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder / name)
    for entry in ENTRIES:
        (folder / f"{entry}.py").write_bytes((DIST / f"{entry}.py").read_bytes())
    return folder


def cold_start(folder: Path, python: Path, request: dict) -> dict:
    """Run the chunks in a process of the new environment; returns its figures."""
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    script = Path(__file__).with_name("udf_chunks.py")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [str(python), "-W", "ignore", str(script), "request.json"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the chunks failed: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str]) -> None:
    """Print the figures."""
    given = dict(a.split("=", 1) for a in arguments)
    onnxruntime, numpy = given.pop("onnxruntime", "1.20.1"), given.pop("numpy", "numpy")
    ready, method, out = given.pop("python", None), given.pop("method", "reference"), given.pop("out", None)
    request = {"chunks": 50, "pixels": 32, "large_pixels": 288, "windows": 0, "days": 365} | {
        k: int(v) for k, v in given.items()
    }
    request["method"] = method
    with tempfile.TemporaryDirectory(prefix="ndvi-fusion-bench-") as scratch:
        python = Path(ready) if ready else fresh_python(Path(scratch) / "venv", numpy)
        folder = lay_out(Path(scratch) / "job", onnxruntime)
        found = cold_start(folder, python, request)
    for name, value in found.items():
        print(f"{name:24} {value}")
    if out:
        Path(out).write_text(json.dumps({"request": request, **found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
