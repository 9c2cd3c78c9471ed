"""Settings and entry of each command of this package; `fusion.cli` imports them when they are asked for."""
