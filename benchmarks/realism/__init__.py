"""Realism of the simulator: statistics and difficulty of simulated scenes against real cubes."""
