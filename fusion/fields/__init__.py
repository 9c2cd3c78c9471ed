"""Fields: polygons and tables instead of pixels. Series of field means with standard deviations, seasons, tables."""
