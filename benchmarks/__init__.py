"""Benchmarks: acceptance of the project's own weights, realism of the simulator, speed. Not installed."""
