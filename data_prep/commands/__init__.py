"""Settings and entry of each command of this package; `fusion.cli.app` imports them when they are asked for."""
