"""Memory of the running process."""

from pathlib import Path


def peak_mib() -> float:
    """Peak resident memory of this process, MiB."""
    # not ru_maxrss, which a process inherits from the one that started it (a large pytest worker, for instance)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024
