"""Sources of raw data: openEO, STAC/COG, local files, the simulator. Each returns :class:`RawCubes`."""
