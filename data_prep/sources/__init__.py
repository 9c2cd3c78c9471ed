"""Where raw data come from: openEO, STAC/COG, local files, the simulator. Each gives the same three raw cubes."""
