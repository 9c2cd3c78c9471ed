"""openEO processes that client-side processing lacks or gets wrong, one topic a file, lazy on Dask."""
