"""numba, without which the simulator's loops over pixels and days would take minutes."""

from fusion.extras import needs

njit = needs("numba", "the simulator").njit
