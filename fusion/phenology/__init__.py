"""Smoothing of NDVI series and season parameters."""
