"""The demo: the whole chain in one command, and a report that explains it."""
