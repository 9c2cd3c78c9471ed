"""A Dask cluster as a user starts it: a scheduler and workers by command line, in processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def started_cluster(folder: Path, workers: int = 2) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """The address of a scheduler whose workers of one thread have joined, and the processes of the workers.

    Workers have no nanny, so one that a test kills is gone.
    """
    from distributed import Client

    file = folder / "scheduler.json"
    more = ["--no-dashboard", "--scheduler-file", str(file)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    processes: list[subprocess.Popen] = []

    def start(name: str, *words: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *words, *more]
        processes.append(subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL))

    try:
        start("scheduler", "--port", "0")
        while not file.exists():
            assert processes[0].poll() is None
            time.sleep(0.1)
        for _ in range(workers):
            start("worker", "--nthreads", "1", "--no-nanny")
        address = json.loads(file.read_text())["address"]
        with Client(address) as client:
            client.wait_for_workers(workers, timeout=60)
        yield address, processes[1:]
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:  # a worker of Dask, rarely, on a busy machine
                process.kill()
                process.wait()
