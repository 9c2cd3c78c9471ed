"""One module a command: its settings and its `run`; `fusion.cli` imports them when they are requested."""
