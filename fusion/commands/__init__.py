"""One module per command, with its settings class and its `run`; `fusion.cli` imports a module when it is used."""
