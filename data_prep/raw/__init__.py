"""Reading of raw files: one file to bands with dims (t, y, x), the role of each band, and the raw cubes."""
