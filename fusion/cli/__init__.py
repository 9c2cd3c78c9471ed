"""The command line `ndvi-fusion COMMAND key=value ...`."""
