"""Patch store, cube files, training samples."""
