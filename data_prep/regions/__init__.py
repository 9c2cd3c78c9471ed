"""Large areas region by region: the store of an unfinished output, and the processes that share it."""
