"""openEO processes missing from or wrong in client-side processing, one topic per file, lazy on Dask."""
