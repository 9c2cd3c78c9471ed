"""The demo: the whole processing chain in one command, with a report of the results."""
