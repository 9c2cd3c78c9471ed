"""Raw files as they are: one file read into bands with dims (t, y, x), the role of each band, the raw cubes."""
