"""Smoothing of NDVI series, and season dates and parameters."""
