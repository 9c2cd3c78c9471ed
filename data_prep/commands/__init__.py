"""Settings and entry point of each command of this package; `fusion.cli.app` imports them on demand."""
