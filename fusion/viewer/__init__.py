"""The viewer: a map with a time slider and the series of a clicked pixel or field, in the browser or a notebook."""
